"""Counts steps from 0 after a whole detector was restored as `fine_tune_checkpoint`.

A checkpoint that `train_loop` wrote holds its step twice: as `step`, and as the `_training_step`
that `eager_train_step` sets on the model. `fine_tune_checkpoint_type: "full"` restores the model
with all that hangs on it, and what it does not have yet as soon as it gets it: with the first step,
the new training's global step becomes the old one's. The loop still takes as many steps as it was
told to; the schedule goes on where the old one stood, which may be behind its end, at a rate of 0.
"""

from __future__ import annotations

from typing import Any


def enable() -> None:
    """Lets a variable of no consequence take what would be restored into the global step."""
    import tensorflow as tf
    from object_detection import model_lib_v2

    original = model_lib_v2.load_fine_tune_checkpoint

    def load(model: Any, *args: Any, **kwargs: Any) -> None:
        original(model, *args, **kwargs)
        taken = tf.Variable(0, dtype=tf.int64, trainable=False)
        model._training_step = taken
        # The first checkpoint still holds it: 0, should a training go on from there.
        taken.assign(0)
        model._training_step = None

    model_lib_v2.load_fine_tune_checkpoint = load
