"""`model_main_tf2`'s training, with a seed, a chosen strategy and an ear on its losses."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.training.seeds import ops_in_fixed_order
from odapi_repro.training.training_job import Job

# --- Watches the OD API's training loop from outside: every reported loss, and the first NaN ---


TOTAL_LOSS = "Loss/total_loss"
_NOT_FINITE = "odapi_repro: the total loss is not finite"


class Diverged(Exception):
    """The loss became NaN or infinite; an outcome of the trial, not an error of ours."""

    def __init__(self, step: int, loss: float, *, in_graph: bool = False) -> None:
        self.step = step
        self.loss = loss
        # Found inside a compiled call, whose first step `step` then is.
        self.in_graph = in_graph
        super().__init__(f"loss {loss} at step {step}")


@dataclass(frozen=True)
class StepReport:
    """What the loop reports after each call of the compiled training function.

    Attributes:
        step: steps done.
        losses: by the OD API's names, e.g. `Loss/total_loss`, of the call's last step.
        learning_rate: the rate of the next step (the OD API logs it after counting up).
        elapsed_seconds: since the previous report, so the first one holds the tracing.
    """

    step: int
    losses: dict[str, float]
    learning_rate: float
    elapsed_seconds: float


@contextlib.contextmanager
def observe_training(
    on_step: Callable[[StepReport], None], *, steps_per_iteration: int, in_graph: bool
) -> Iterator[None]:
    """Calls `on_step` for each report of `train_loop` while the context is open.

    `train_loop` has no callback, but after each call of its compiled function it writes all
    losses and, last, the learning rate as scalar summaries from the host. These are listened to.

    Args:
        on_step: gets every report, in order.
        steps_per_iteration: above 1, a NaN inside the compiled function would be seen only at
            its end, so the function itself checks the total loss of every step.
        in_graph: whether the device can check in the graph (a TPU cannot).

    Raises:
        Diverged: from within the context, when a total loss is NaN or infinite.
    """
    import tensorflow as tf
    from object_detection import model_lib_v2

    summary = model_lib_v2.tf.compat.v2.summary
    original_scalar = summary.scalar
    original_step = model_lib_v2.eager_train_step
    pending: dict[str, float] = {}
    last_report = time.monotonic()
    last_step = 0

    def scalar(name: str, data: Any, step: Any = None, **kwargs: Any) -> Any:
        nonlocal last_report, last_step
        result = original_scalar(name, data, step=step, **kwargs)
        if not tf.executing_eagerly() or step is None:
            return result
        if name.startswith("Loss/"):
            pending[name] = float(data)
        elif name == "learning_rate":
            now = time.monotonic()
            last_step = int(step.numpy() if hasattr(step, "numpy") else step)
            report = StepReport(last_step, dict(pending), float(data), now - last_report)
            last_report = now
            pending.clear()
            loss = report.losses.get(TOTAL_LOSS, math.nan)
            on_step(report)
            if not math.isfinite(loss):
                raise Diverged(last_step, loss)
        return result

    def checked_train_step(*args: Any, **kwargs: Any) -> Any:
        losses = original_step(*args, **kwargs)
        checked = tf.debugging.assert_all_finite(losses[TOTAL_LOSS], _NOT_FINITE)
        return {**losses, TOTAL_LOSS: checked}

    summary.scalar = scalar
    if steps_per_iteration > 1 and in_graph:
        model_lib_v2.eager_train_step = checked_train_step
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if _NOT_FINITE not in str(error):
            raise
        loss = math.inf if "Inf" in str(error) and "NaN" not in str(error) else math.nan
        # The exact step is inside the compiled call; the call's first step bounds it from below.
        raise Diverged(last_step + 1, loss, in_graph=True) from error
    finally:
        summary.scalar = original_scalar
        model_lib_v2.eager_train_step = original_step


# --- Shortens the time until the first step, for trials of minutes ---


# `_dist_train_step` loops over a tensor and needs the conversion; the rest of the OD API is graph
# code from before AutoGraph (tf.cond, tf.while_loop, map_fn) and is only copied by it.
_CONVERTED = ("object_detection.model_lib_v2",)
_NOT_CONVERTED = ("object_detection", "tf_slim", "official")


def skip_autograph_in_od_api() -> bool:
    """Keeps AutoGraph from converting the OD API's own modules; gives whether it could.

    AutoGraph rewrites every function that is called while a graph is traced: on two cores, half of
    the 85 s until the first step of an EfficientDet. Code that did need the conversion would fail
    with "Using a symbolic tf.Tensor as a Python bool".

    The random numbers are others, though from the same generators: TensorFlow derives the seed of
    an op from the number of ops before it in its graph. So whether this is done follows from the
    trial's spec (trials with the proxies' backbones), never from how it is run. At full scale,
    where a minute is nothing, graphs are traced as the OD API does it.
    """
    try:
        from tensorflow.python.autograph.core import config
    except ImportError:
        return False
    config.CONVERSION_RULES = (
        *(config.Convert(name) for name in _CONVERTED),
        *(config.DoNotConvert(name) for name in _NOT_CONVERTED),
        *config.CONVERSION_RULES,
    )
    return True


# --- `model_main_tf2`'s training, with a seed, a chosen strategy and an ear on its losses ---


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
            mend="choose a TPU runtime, or leave --use_tpu out",
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
