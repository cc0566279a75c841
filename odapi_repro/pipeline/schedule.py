"""Learning rate schedules as plain functions of the step, as the OD API computes them.

Source: object_detection/utils/learning_schedules.py and builders/optimizer_builder.py. The OD API
computes in float32 and these in float64, so they agree to about 1e-6 of the base rate.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

_Rate = Callable[[int], float]
_SAMPLES = 2000


@dataclass(frozen=True)
class Schedule:
    """A learning rate over steps.

    Attributes:
        kind: `cosine`, `exponential`, `manual_step`, `constant`, or `` without a schedule.
        base: the rate after warm-up, before any decay.
        warmup_steps: steps of linear (or constant, `burnin`) warm-up; 0 without one.
        end_step: the step from which the rate no longer changes; None when it always does.
        refusal: why the OD API stops at this schedule, empty when it does not.
        corners: steps at which the rate changes its course, for whoever looks for extremes.
    """

    kind: str
    base: float
    warmup_steps: int
    end_step: int | None
    refusal: str
    _rate: _Rate
    corners: tuple[int, ...] = ()

    def at(self, step: int) -> float:
        """Gives the rate that step `step` (from 0) is trained with; NaN where it has none.

        The optimizer reads the rate before the step is counted, so the first step of a run has
        the rate of 0 and the last that of num_steps - 1 (model_lib_v2.train_loop).
        """
        return self._rate(step)

    def peak_within(self, num_steps: int) -> float:
        """Gives the highest rate of the steps 0 to num_steps - 1; NaN without a step.

        A schedule is monotone between its corners, so only they are looked at.
        """
        if num_steps < 1:
            return math.nan
        steps = {0, self.warmup_steps - 1, self.warmup_steps, num_steps - 1, *self.corners}
        rates = [self.at(step) for step in sorted(steps) if 0 <= step < num_steps]
        return max((rate for rate in rates if not math.isnan(rate)), default=math.nan)

    def sum_within(self, num_steps: int) -> float:
        """Gives the sum of the rates of the steps 0 to num_steps - 1; NaN where a step has none.

        Between corners long stretches are sampled, so a sum is good to about 1 % of the peak's.
        """
        corners = {step for step in (self.warmup_steps, *self.corners) if 0 < step < num_steps}
        edges = sorted({0, max(0, num_steps), *corners})
        most = max(1, _SAMPLES // len(edges))
        total = 0.0
        for first, after in pairwise(edges):
            count = min(after - first, most)
            stride = (after - first) / count
            total += stride * sum(self.at(first + int((i + 0.5) * stride)) for i in range(count))
        return total


def read_schedule(proto: pipeline_pb2.TrainEvalPipelineConfig) -> Schedule:
    """Gives the schedule of `train_config.optimizer`, unset fields at their defaults.

    A pipeline without an optimizer or a schedule gives one of kind `` whose rates are NaN.
    """
    optimizer = proto.train_config.optimizer
    kind = optimizer.WhichOneof("optimizer")
    rate = getattr(optimizer, kind).learning_rate if kind else None
    name = rate.WhichOneof("learning_rate") if rate is not None else None
    if rate is None or name is None:
        refusal = "no optimizer" if rate is None else "an optimizer without a learning rate"
        return Schedule("", math.nan, 0, None, refusal, lambda step: math.nan)
    short = name.removesuffix("_learning_rate").removesuffix("_decay")
    return _READERS[short](getattr(rate, name))


def _constant(message: Message) -> Schedule:
    base = float(message.learning_rate)  # type: ignore[attr-defined]
    return Schedule("constant", base, 0, 0, "", lambda step: base)


def _cosine(message: Message) -> Schedule:
    base = float(message.learning_rate_base)  # type: ignore[attr-defined]
    total = int(message.total_steps)  # type: ignore[attr-defined]
    start = float(message.warmup_learning_rate)  # type: ignore[attr-defined]
    warmup = int(message.warmup_steps)  # type: ignore[attr-defined]
    hold = int(message.hold_base_rate_steps)  # type: ignore[attr-defined]
    span = total - warmup - hold
    refusal = ""
    if total < warmup:
        refusal = f"total_steps ({total}) is smaller than warmup_steps ({warmup})"
    elif warmup and base < start:
        refusal = f"learning_rate_base ({base:g}) is below warmup_learning_rate ({start:g})"

    def rate(step: int) -> float:
        if step > total:
            return 0.0
        if step < warmup:
            return start + (base - start) / warmup * step
        if hold > 0 and step <= warmup + hold:
            return base
        if span == 0:  # 0 / 0 at step == total, the only one that gets here
            return math.nan
        return 0.5 * base * (1 + math.cos(math.pi * (step - warmup - hold) / span))

    return Schedule("cosine", base, warmup, total, refusal, rate, (warmup + hold, total))


def _exponential(message: Message) -> Schedule:
    base = float(message.initial_learning_rate)  # type: ignore[attr-defined]
    every = int(message.decay_steps)  # type: ignore[attr-defined]
    factor = float(message.decay_factor)  # type: ignore[attr-defined]
    staircase = bool(message.staircase)  # type: ignore[attr-defined]
    burnin = int(message.burnin_steps)  # type: ignore[attr-defined]
    burnin_rate = float(message.burnin_learning_rate) or base  # type: ignore[attr-defined]
    floor = float(message.min_learning_rate)  # type: ignore[attr-defined]

    def rate(step: int) -> float:
        if step < burnin:
            return _at_least(burnin_rate, floor)
        decays = _quotient(step - burnin, every)
        if staircase and math.isfinite(decays):
            decays = math.floor(decays)
        return _at_least(base * _power(factor, decays), floor)

    return Schedule("exponential", base, burnin, None, "", rate, (burnin + 1,))


def _quotient(dividend: int, divisor: int) -> float:
    """`dividend / divisor` as tf.divide has it: NaN for 0 / 0, infinity for others by 0."""
    if divisor:
        return dividend / divisor
    return math.inf if dividend > 0 else math.nan


def _power(base: float, exponent: float) -> float:
    """`base ** exponent` as tf.pow has it: NaN and infinity where Python raises or goes complex."""
    try:
        return math.pow(base, exponent)
    except ValueError:  # a negative base to a fraction, or 0 to a negative exponent
        return math.inf if base == 0 else math.nan
    except OverflowError:
        return math.inf


def _at_least(rate: float, floor: float) -> float:
    """The larger of two, NaN where either is, as tf.maximum."""
    return math.nan if math.isnan(rate) or math.isnan(floor) else max(rate, floor)


def _manual_step(message: Message) -> Schedule:
    entries = list(message.schedule)  # type: ignore[attr-defined]
    boundaries = [int(entry.step) for entry in entries]
    rates = [float(message.initial_learning_rate)]  # type: ignore[attr-defined]
    rates += [float(entry.learning_rate) for entry in entries]
    warmup = boundaries[0] if boundaries and message.warmup else 0  # type: ignore[attr-defined]
    # The OD API sums all rates times a one-hot vector, so one that is not finite makes the others
    # NaN; and with a warm-up, which is as many rates made of the first two, either of those all.
    spoilt = [index for index, rate in enumerate(rates) if not math.isfinite(rate)]
    refusal = ""
    if not boundaries:
        refusal = "an empty learning rate schedule"
    elif any(later <= earlier for earlier, later in pairwise(boundaries)):
        refusal = f"its boundaries {_listed(boundaries)} do not increase"
    elif boundaries[0] == 0:
        refusal = "the first boundary is step 0"

    def rate(step: int) -> float:
        index = bisect_right(boundaries, step)
        if spoilt and (spoilt != [index] or (warmup and index < 2)):
            return math.nan
        if step < warmup:
            return rates[0] + (rates[1] - rates[0]) / warmup * step
        return rates[index]

    base = rates[1] if warmup else rates[0]
    end = boundaries[-1] if boundaries else 0
    return Schedule("manual_step", base, warmup, end, refusal, rate, tuple(boundaries))


def _listed(boundaries: list[int]) -> str:
    shown = ", ".join(map(str, boundaries[:8]))
    return f"{shown} ..." if len(boundaries) > 8 else shown


_READERS: dict[str, Callable[[Message], Schedule]] = {
    "constant": _constant,
    "cosine": _cosine,
    "exponential": _exponential,
    "manual_step": _manual_step,
}
