"""What a training's history says about it: pure functions on `RunHistory`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from odapi_repro.diagnosis.finished_run.evaluations import Evaluation
from odapi_repro.diagnosis.finished_run.history import TOTAL_LOSS, RunHistory, Series

_CLASSIFICATION = "classification_loss"
_REGULARIZATION = "regularization_loss"
_FEWEST_REPORTS = 6
# A sigmoid focal loss that only learns how rare objects are falls by about an eighth; the worst
# training of the embedded shapes that learnt anything (AP 4.6) by three tenths.
_LEAVES_BY = 0.25
_EXPLODES_BY = 3.0
# The share of the peak rate below which a difference is rounding: the OD API computes a cosine in
# float32, whose error of 6e-8 of the peak is all there is of a rate near the end.
_RATE_FLOOR = 1e-3


@dataclass(frozen=True)
class Plateau:
    """A loss that never left its starting level.

    Attributes:
        loss: `classification_loss`, or `total_loss` (then without the regularisation).
        start_level: median of the first reports.
        lowest_level: the lowest median of a window of later reports.
        first_step: of the reports that were looked at.
        last_step: of the same.
        reports: their number.
    """

    loss: str
    start_level: float
    lowest_level: float
    first_step: int
    last_step: int
    reports: int

    @property
    def fall(self) -> float:
        """The share of the starting level by which it fell at most; negative where it rose."""
        return 1.0 - self.lowest_level / self.start_level


@dataclass(frozen=True)
class LearningRateMismatch:
    """The report whose learning rate differs most from the config's schedule.

    Attributes:
        step: as logged.
        logged: the rate that the run had after `step` steps.
        expected: the schedule's at `step`.
        relative: their difference as a share of the larger one.
        reports_off: how many of the reports differ by more than the tolerance.
        reports: how many there are.
    """

    step: int
    logged: float
    expected: float
    relative: float
    reports_off: int
    reports: int


@dataclass(frozen=True)
class Divergence:
    """A training that blew up.

    Attributes:
        kind: `not_finite` for NaN or infinity, `exploded` for a total loss that stays at more than
            three times its lowest level and above its starting level to the end.
        step: of the first bad report.
        last_good_step: of the report before; None where the first report is bad. The first bad
            step lies between, because only the last step of each report is logged.
        losses: which went first, where the report tells them apart.
    """

    kind: Literal["not_finite", "exploded"]
    step: int
    last_good_step: int | None
    losses: tuple[str, ...]


@dataclass(frozen=True)
class BestAndLast:
    """The best and the last evaluation of a run by one metric."""

    metric: str
    best: Evaluation
    last: Evaluation

    @property
    def lost(self) -> float:
        """Points by which the last is worse than the best."""
        return self.best.metrics[self.metric] - self.last.metrics[self.metric]


def loss_plateau(history: RunHistory) -> Plateau | None:
    """Gives the starting plateau that the loss never left, None where it did or none can tell.

    The loss is the classification loss of a one-stage detector, else the total without the
    regularisation, which moves by itself. Its starting level is the median of the first reports
    (a tenth of them, three to five); its lowest level is the lowest median of a window of later
    reports (a tenth, at least three). It has left when the lowest is at least a quarter below the
    start. Both are levels of the same loss, so scale, loss weights and batch size cancel, and a
    single lucky report moves no median.

    A detector that starts from random heads and stays on its plateau did not train. One that
    continues from a checkpoint of the same task has nowhere to fall, and a first report that comes
    late (100 steps) may lie below the fall: read the plateau beside the AP.

    At least six finite reports are needed; those from the first that is not finite on are left out.
    """
    loss, points = _judged_loss(history)
    points = _until_not_finite(points)
    if len(points) < _FEWEST_REPORTS:
        return None
    values = [value for _, value in points]
    first = min(5, max(3, len(values) // 10))
    start = statistics.median(values[:first])
    lowest = min(_window_medians(values[first:], max(3, len(values) // 10)))
    if start <= 0 or lowest <= (1.0 - _LEAVES_BY) * start:
        return None
    return Plateau(loss, start, lowest, points[0][0], points[-1][0], len(points))


def applied_lr_mismatch(
    history: RunHistory, lr_at: Callable[[int], float], *, tolerance: float = 0.01
) -> LearningRateMismatch | None:
    """Gives the largest relative difference between logged rates and a schedule.

    The OD API counts the step up and then logs, so the rate logged at `step` is compared with
    `lr_at(step)`, the rate of the step to come. Rates under a thousandth of the peak are compared
    with that thousandth.

    Args:
        history: of the run.
        lr_at: the rate of each step, counted from 0; NaN where there is none.
        tolerance: the relative difference up to which they agree.

    Returns:
        None where no rate is logged or all agree.
    """
    pairs = [(step, rate, lr_at(step)) for step, rate in history.learning_rates]
    pairs = [pair for pair in pairs if math.isfinite(pair[1]) and math.isfinite(pair[2])]
    floor = _RATE_FLOOR * max((max(abs(a), abs(b)) for _, a, b in pairs), default=0.0)
    if floor == 0:
        return None
    relative = [abs(a - b) / max(abs(a), abs(b), floor) for _, a, b in pairs]
    worst = max(range(len(pairs)), key=lambda place: relative[place])
    if relative[worst] <= tolerance:
        return None
    off = sum(one > tolerance for one in relative)
    return LearningRateMismatch(*pairs[worst], relative[worst], off, len(pairs))


def divergence(history: RunHistory) -> Divergence | None:
    """Gives where a training blew up, None where it did not."""
    total = history.losses.get(TOTAL_LOSS, ())
    if history.first_nonfinite_step is not None:
        step = history.first_nonfinite_step
        good = [at for points in history.losses.values() for at, _ in points if at < step]
        return Divergence(
            "not_finite", step, max(good, default=None), history.first_nonfinite_losses
        )
    values = [value for _, value in total]
    if len(values) < _FEWEST_REPORTS:
        return None
    lowest = min(_window_medians(values, 3))
    limit = max(_EXPLODES_BY * abs(lowest), *values[:3])
    bad = len(values)
    while bad and values[bad - 1] > limit:
        bad -= 1
    # One high report at the end may be a spike.
    if len(values) - bad < 3:
        return None
    return Divergence("exploded", total[bad][0], total[bad - 1][0], (TOTAL_LOSS,))


def best_and_last(
    history: RunHistory, metric: str = "AP", *, reader: str | None = None
) -> BestAndLast | None:
    """Gives the best and the last evaluation, None where none has the metric.

    Args:
        history: of the run.
        metric: by COCO's names, e.g. `AP50`, `mask_AP`.
        reader: whose evaluations; by default those of the reader that was evaluated last, since
            metrics on different images are not compared.
    """
    having = [one for one in history.evaluations if metric in one.metrics]
    if not having:
        return None
    wanted = having[-1].reader if reader is None else reader
    of_reader = [one for one in having if one.reader == wanted]
    if not of_reader:
        return None
    best = max(of_reader, key=lambda one: (one.metrics[metric], -one.step))
    return BestAndLast(metric, best, of_reader[-1])


def steps_missing(history: RunHistory, num_steps: int) -> int:
    """Gives how many of `num_steps` steps the run has not reached; 0 where it has."""
    return max(0, num_steps - (history.steps_reached or 0))


def steps_not_saved(history: RunHistory) -> int:
    """Gives how many steps were trained after the last whole checkpoint, and are lost."""
    last = history.last_checkpoint
    return max(0, (history.steps_reached or 0) - ((last.step or 0) if last else 0))


def _judged_loss(history: RunHistory) -> tuple[str, Series]:
    points = history.losses.get(_CLASSIFICATION, ())
    if points:
        return _CLASSIFICATION, points
    regularization = dict(history.losses.get(_REGULARIZATION, ()))
    total = history.losses.get(TOTAL_LOSS, ())
    return TOTAL_LOSS, tuple((step, value - regularization.get(step, 0.0)) for step, value in total)


def _until_not_finite(points: Series) -> Series:
    bad = (place for place, (_, value) in enumerate(points) if not math.isfinite(value))
    return points[: next(bad, len(points))]


def _window_medians(values: Sequence[float], width: int) -> list[float]:
    """Gives the medians of windows of `width` values, a quarter apart; of all where fewer."""
    width = min(width, len(values))
    ends = range(len(values), width - 1, -max(1, width // 4))
    return [statistics.median(values[end - width : end]) for end in ends]
