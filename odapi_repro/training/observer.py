"""Watches the OD API's training loop from outside: every reported loss, and the first NaN."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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
