"""From a device name and a number of replicas to a distribution strategy."""

from __future__ import annotations

from typing import Any

from odapi_repro.errors import EnvironmentMissing, UserError


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
