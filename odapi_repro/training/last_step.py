"""The last step of a training is saved, whatever the interval between its checkpoints.

`train_loop` saves by whole intervals only (model_lib_v2.py): what it trains after the last of them
would be lost, and the evaluation would be of an earlier step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

_STEP = "step/.ATTRIBUTES/VARIABLE_VALUE"


@contextlib.contextmanager
def last_step_saved(strategy: Any) -> Iterator[None]:
    """Saves once more after a `train_loop` inside has ended well, unless it has just saved.

    Args:
        strategy: that the loop trains under; its workers save together.
    """
    import tensorflow as tf
    from object_detection import model_lib_v2

    train = model_lib_v2.tf.compat.v2.train
    original = train.CheckpointManager
    managers: list[Any] = []

    def recorded(*args: Any, **kwargs: Any) -> Any:
        managers.append(original(*args, **kwargs))
        return managers[-1]

    train.CheckpointManager = recorded
    try:
        yield
    finally:
        train.CheckpointManager = original
    for manager in managers:
        latest = manager.latest_checkpoint
        saved = tf.train.load_variable(latest, _STEP) if latest else -1
        # A loop that had no step left has not built its model, and must not save what there is.
        if int(saved) < int(manager.checkpoint.step.value()):
            manager.save()
            # The loop has removed the folder of a worker that is not the chief before.
            model_lib_v2.clean_temporary_directories(strategy, manager.directory)
