"""The last step of a training is saved, whatever the interval between its checkpoints.

`train_loop` saves by whole intervals only (model_lib_v2.py): what it trains after the last of them
would be lost, and the evaluation would be of an earlier step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["last_step_saved"]


@contextlib.contextmanager
def last_step_saved(strategy: Any) -> Iterator[None]:
    """Saves once more after a `train_loop` inside has ended well, unless it has just saved.

    Args:
        strategy: that the loop trains under; its workers save together.
    """
    from object_detection import model_lib_v2

    train = model_lib_v2.tf.compat.v2.train
    original = train.CheckpointManager
    managers: list[Any] = []

    class Manager(original):  # type: ignore[misc, valid-type]
        """A checkpoint manager that knows which step it has saved."""

        saved_step = -1

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            managers.append(self)

        def save(self, *args: Any, **kwargs: Any) -> Any:
            path = super().save(*args, **kwargs)
            self.saved_step = int(self.checkpoint.step.value())
            return path

    train.CheckpointManager = Manager
    try:
        yield
    finally:
        train.CheckpointManager = original
    for manager in managers:
        if manager.saved_step != int(manager.checkpoint.step.value()):
            manager.save()
            # The loop has removed the folder of a worker that is not the chief before.
            model_lib_v2.clean_temporary_directories(strategy, manager.directory)
