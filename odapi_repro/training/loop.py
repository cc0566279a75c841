"""`model_main_tf2`'s training, with a seed, a chosen strategy and an ear on its losses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.training.job import Job
from odapi_repro.training.observer import StepReport, observe_training
from odapi_repro.training.seeds import ops_in_fixed_order

_STEP = "step/.ATTRIBUTES/VARIABLE_VALUE"


def make_strategy(
    *,
    device: str,
    num_replicas: int,
    use_tpu: bool = False,
    tpu_name: str | None = None,
    num_workers: int = 1,
) -> Any:
    """Gives the strategy `model_main_tf2` would use, with as many replicas as asked for.

    Replicas beyond the physical devices are logical ones on the first device: batch-norm
    statistics and loss normalisation are per replica all the same, which is what the
    `sync_replicas` factor studies. Must be called before TensorFlow has touched a device.

    Args:
        device: `cpu`, `gpu` or `tpu`.
        num_replicas: replicas in sync; 0 takes every physical device of the kind.
        use_tpu: as the OD API's flag; implied by `device="tpu"`.
        tpu_name: for the cluster resolver; None lets it find the TPU by itself.
        num_workers: above 1, MultiWorkerMirroredStrategy over the workers of `TF_CONFIG`.

    Raises:
        EnvironmentMissing: when the device is not there.
        UserError: when a TPU or the workers make another number of replicas than asked for.
    """
    import tensorflow as tf

    if use_tpu or device == "tpu":
        return _tpu_strategy(tf, tpu_name, num_replicas)
    if num_workers > 1:
        strategy = tf.distribute.experimental.MultiWorkerMirroredStrategy()
        _check_replicas(strategy, num_replicas, "these workers")
        return strategy
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    physical = tf.config.list_physical_devices(device.upper())
    if not physical:
        raise EnvironmentMissing(
            f"no {device.upper()} that TensorFlow {tf.__version__} can use",
            expected=f"at least one {device.upper()} device",
            mend="choose --device cpu, or see what `odapi-repro doctor` says of drivers and CUDA",
        )
    replicas = num_replicas or (1 if device == "cpu" else len(physical))
    if replicas > len(physical):
        _split_first_device(tf, physical[0], device, replicas)
        tf.config.set_visible_devices(physical[0], device.upper())
    names = [f"/{device}:{index}" for index in range(replicas)]
    # NCCL cannot reduce between logical devices of one GPU; on CPU it is not there at all.
    shared = replicas > len(physical)
    reduction = tf.distribute.ReductionToOneDevice() if shared or device == "cpu" else None
    if replicas == 1:
        return tf.distribute.MirroredStrategy(names)
    return tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)


def _split_first_device(tf: Any, physical: Any, device: str, replicas: int) -> None:
    if device == "cpu":
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(replicas)]
    else:
        memory = _gpu_memory_mib(tf, physical)
        parts = [
            tf.config.LogicalDeviceConfiguration(memory_limit=int(memory * 0.9 / replicas))
            for _ in range(replicas)
        ]
    tf.config.set_logical_device_configuration(physical, parts)


def _gpu_memory_mib(tf: Any, physical: Any) -> int:
    """Gives the memory of a GPU in MiB without initialising it, as nvidia-smi has it."""
    import subprocess

    index = int(str(physical.name).rsplit(":", 1)[1])
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
        return int(lines[index])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError) as error:
        raise EnvironmentMissing(
            f"the memory of {physical.name} could not be read from nvidia-smi ({error})",
            expected="nvidia-smi on the PATH, to share one GPU between logical replicas",
            mend="install it, or ask for no more replicas than there are GPUs",
        ) from error


def _tpu_strategy(tf: Any, tpu_name: str | None, num_replicas: int) -> Any:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu_name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise EnvironmentMissing(
            f"no TPU could be reached ({str(error).splitlines()[0]})",
            expected="a TPU runtime, found by itself (Colab) or named by --tpu_name",
            mend="choose a TPU runtime, or leave --use_tpu away",
        ) from error
    strategy = tf.distribute.TPUStrategy(resolver)
    _check_replicas(strategy, num_replicas, "this TPU")
    return strategy


def _check_replicas(strategy: Any, num_replicas: int, what: str) -> None:
    there = int(strategy.num_replicas_in_sync)
    if num_replicas not in (0, there):
        raise UserError(
            f"{num_replicas} replicas were asked for, and {what} make {there}",
            expected=f"--replicas {there}, and no other level of sync_replicas here",
            mend="study sync_replicas on one machine, or on a TPU of another size",
        )


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
