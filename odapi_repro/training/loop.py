"""`model_main_tf2`'s training, with a seed, a chosen strategy and an ear on its losses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from odapi_repro.training.devices import make_strategy
from odapi_repro.training.job import Job
from odapi_repro.training.observer import StepReport, observe_training
from odapi_repro.training.seeds import ops_in_fixed_order

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


def train(job: Job, on_step: Callable[[StepReport], None]) -> int:
    """Runs `model_lib_v2.train_loop` as `model_main_tf2` does and gives the number of replicas.

    Compatibility patches and seeds must have been applied before.

    Raises:
        Diverged: at the first non-finite loss.
        UserError, EnvironmentMissing: from the devices.
        tf.errors.ResourceExhaustedError: out of memory.
    """
    import tensorflow as tf
    from object_detection import model_lib_v2

    tf.config.set_soft_device_placement(True)
    strategy = make_strategy(
        device=job.device,
        num_replicas=job.num_replicas,
        use_tpu=job.use_tpu,
        tpu_name=job.tpu_name,
        num_workers=job.num_workers,
    )
    on_tpu = job.use_tpu or job.device == "tpu"
    with (
        strategy.scope(),
        ops_in_fixed_order(job.fixed_op_order),
        observe_training(on_step, steps_per_iteration=job.steps_per_iteration, in_graph=not on_tpu),
        last_step_saved(strategy),
    ):
        model_lib_v2.train_loop(
            pipeline_config_path=job.pipeline_path,
            model_dir=job.model_dir,
            train_steps=job.num_steps,
            use_tpu=on_tpu,
            checkpoint_every_n=job.checkpoint_every_n,
            checkpoint_max_to_keep=job.checkpoint_max_to_keep,
            record_summaries=job.record_summaries,
            num_steps_per_iteration=job.steps_per_iteration,
        )
    return int(strategy.num_replicas_in_sync)
