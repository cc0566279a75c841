"""The plot of learning rates over images seen: a config's beside its reference's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter

from odapi_repro.diagnosis.subject import Subject
from odapi_repro.errors import UserError
from odapi_repro.files import write_whole
from odapi_repro.page.plot_style import INK, drawing
from odapi_repro.pipeline import Quantities, Schedule, read_schedule

if TYPE_CHECKING:
    from odapi_repro.diagnosis.finished_run import RunHistory


_OWN = "#d55e00"
_REFERENCE = "#9aa3ac"
_RULE = "#0072b2"
_APPLIED = "#009e73"
# Where totals or peaks differ by more, a linear axis would hide the smaller one.
_FAR_APART = 4.0
_DECADES_BELOW_PEAK = 2.5
_POINTS = 1200


@dataclass(frozen=True)
class _Curve:
    """A learning rate over images: `run` while the run lasts, `rest` where it would have gone on.

    Points are (images seen, rate).
    """

    label: str
    colour: str
    run: Sequence[tuple[float, float]]
    rest: Sequence[tuple[float, float]]
    dashes: str = "-"
    width: float = 1.8

    @property
    def peak(self) -> float:
        """The highest rate of the run."""
        return max(rate for _, rate in self.run)

    @property
    def peak_at(self) -> float:
        """Images at which the highest rate is first reached: the end of a warm-up."""
        return max(self.run, key=lambda point: point[1])[0]

    @property
    def end(self) -> float:
        """Images at the end of what is drawn."""
        return (self.rest or self.run)[-1][0]


def write_schedule_plot(subject: Subject, history: RunHistory | None, path: Path) -> Path:
    """Writes the plot as PNG or SVG, by the ending of `path`.

    Raises:
        UserError: no step or no learning rate to draw, it cannot be drawn, or the file cannot be
            written.
    """
    kind = path.suffix.lower().removeprefix(".")
    one = drawing(path.stem, lambda: schedule_figure(subject, history), (kind,))
    try:
        (content,) = one.render().values()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the plot cannot be drawn: {type(error).__name__}: {error}",
            expected="a config with a schedule that fits a plot",
            mend="see the findings without --plot",
        ) from error
    return write_whole(path, content)


def schedule_figure(subject: Subject, history: RunHistory | None = None) -> Figure:
    """Draws the config's rate, its reference's, and the reference's by the linear rule.

    Args:
        subject: the config and its reference.
        history: of a finished run, whose logged rates are drawn as dots.

    Raises:
        UserError: no step or no learning rate to draw.
    """
    own, reference = subject.quantities, subject.reference_quantities
    theirs = read_schedule(subject.reference_pipeline.proto)
    curves = [
        # The wider line shows beside the narrow one where the two agree.
        _curve(subject.reference.name, _REFERENCE, theirs, reference, width=4.5),
        _curve("this config", _OWN, subject.schedule, own, width=2.2),
    ]
    ratio = own.global_batch / reference.global_batch
    if not math.isclose(ratio, 1.0):
        curves.insert(1, _by_linear_rule(curves[0], ratio, own.global_batch))
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        _draw(axes, curve)
    if history is not None and history.learning_rates:
        _draw_applied(axes, history, own.global_batch)
    _decorate(axes, curves)
    figure.legend(loc="outside lower left", fontsize=9, labelcolor=INK)
    axes.set_title(f"Learning rate over images seen, against {subject.reference.name}")
    return figure


def _curve(
    name: str, colour: str, schedule: Schedule, quantities: Quantities, *, width: float
) -> _Curve:
    batch, steps = quantities.global_batch, quantities.num_steps
    run = [
        (step * batch, rate)
        for step in _steps(0, steps, schedule)
        if math.isfinite(rate := schedule.at(step))
    ]
    if not batch or len(run) < 2:
        raise UserError(
            f"{name} has no learning rate to plot: {schedule.refusal or 'no step is taken'}",
            expected="a batch, steps and a learning rate schedule",
            mend="see the findings without --plot",
        )
    rest = [
        (step * batch, rate)
        for step in _steps(steps, schedule.end_step or 0, schedule)
        if math.isfinite(rate := schedule.at(step))
    ]
    label = (
        f"{name}: batch {batch:,}, {_millions(batch * steps)} images, "
        f"peak {max(rate for _, rate in run):.3g}"
    )
    return _Curve(label, colour, run, rest, width=width)


def _by_linear_rule(reference: _Curve, ratio: float, batch: int) -> _Curve:
    points = [(images, rate * ratio) for images, rate in reference.run]
    peak = reference.peak * ratio
    label = f"the reference's rate at batch {batch:,} by the linear rule: peak {peak:.3g}"
    return _Curve(label, _RULE, points, [], dashes=":")


def _steps(start: int, stop: int, schedule: Schedule) -> Iterator[int]:
    """Gives steps evenly and by factors, so that either axis has enough, and every corner."""
    if stop <= start:
        return
    last = stop - 1 if start == 0 else stop
    even = {start + (last - start) * i // _POINTS for i in range(_POINTS + 1)}
    factors = {round(last ** (i / _POINTS)) for i in range(_POINTS + 1)} if last > 1 else set()
    corners = {schedule.warmup_steps, schedule.warmup_steps - 1, schedule.end_step or 0}
    yield from sorted(step for step in even | factors | corners if start <= step <= last)


def _draw(axes: Axes, curve: _Curve) -> None:
    x, y = zip(*curve.run, strict=True)
    axes.plot(
        x, y, color=curve.colour, lw=curve.width, ls=curve.dashes, label=curve.label, zorder=3
    )
    axes.plot(x[-1], y[-1], "o", color=curve.colour, ms=5, zorder=4)
    if curve.rest:
        x, y = zip(*curve.rest, strict=True)
        label = "planned after the end of the run" if curve.colour == _OWN else None
        axes.plot(x, y, color=curve.colour, lw=1.3, ls=(0, (2, 2)), label=label, zorder=2)


def _draw_applied(axes: Axes, history: RunHistory, batch: int) -> None:
    logged = [(step * batch, rate) for step, rate in history.learning_rates]
    x, y = zip(*logged[:: max(1, len(logged) // 60)], strict=True)
    axes.plot(x, y, "o", ms=4, mfc="none", mec=_APPLIED, label="logged by the run", zorder=5)


def _decorate(axes: Axes, curves: Sequence[_Curve]) -> None:
    ends = [curve.end for curve in curves]
    peaks = [curve.peak for curve in curves if curve.peak > 0]
    axes.set_xlabel("images seen (steps x batch)")
    axes.set_ylabel("learning rate")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    if max(ends) > _FAR_APART * min(ends):
        axes.set_xscale("log")
        warm_ups = [curve.peak_at / 10 for curve in curves if curve.peak_at]
        axes.set_xlim(min(min(ends) / 300, *warm_ups), max(ends) * 1.3)
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.set_xlabel("images seen (steps x batch), log scale")
    else:
        axes.set_xlim(0, max(ends) * 1.02)
    if peaks and max(peaks) > _FAR_APART * min(peaks):
        axes.set_yscale("log")
        axes.set_ylim(min(peaks) / 10**_DECADES_BELOW_PEAK, max(peaks) * 2)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylabel("learning rate, log scale")
    else:
        axes.set_ylim(bottom=0)


def _millions(images: int) -> str:
    return f"{images / 1e6:,.3g} million" if images >= 10**6 else f"{images:,}"
