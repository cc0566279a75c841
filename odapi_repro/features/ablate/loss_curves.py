"""Training loss against images seen, a curve a trial and a colour a level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.page.plot_style import legible, level_colours, title

_LOG_ABOVE_RATIO = 6.0
_SMOOTHING_SHARE = 0.04


def loss_figure(report: StudyReport) -> Figure | None:
    """A panel a factor; None when no curve is known."""
    panels = [(axis, _curves(report, axis)) for axis in report.axes]
    panels = [(axis, curves) for axis, curves in panels if curves]
    if not panels:
        return None
    figure = Figure(figsize=(8, 0.6 + 3.5 * len(panels)), layout="constrained")
    for index, (axis, curves) in enumerate(panels):
        _draw(figure.add_subplot(len(panels), 1, index + 1), report, axis, curves)
    return figure


def smoothed(
    images_seen: npt.NDArray[np.float64], loss: npt.NDArray[np.float64], span: float
) -> npt.NDArray[np.float64]:
    """Exponential mean of the loss with a memory of `span` images, without a bias at the start.

    Memory is in images, so that curves of different batch sizes are smoothed alike.
    """
    out = np.empty_like(loss)
    total = weight = 0.0
    before = images_seen[0] if len(images_seen) else 0.0
    for i, (at, value) in enumerate(zip(images_seen, loss, strict=True)):
        keep = float(np.exp(-(at - before) / span)) if span > 0 else 0.0
        total, weight, before = keep * total + value, keep * weight + 1.0, at
        out[i] = total / weight
    return out


class _Curve:
    """The finite part of one trial's curve, and whether it ended by diverging."""

    def __init__(
        self, level: str, points: Sequence[tuple[int, float, float]], *, diverged: bool
    ) -> None:
        table = np.asarray([(at, loss) for _, at, loss in points], dtype=float).reshape(-1, 2)
        table = table[np.isfinite(table[:, 1])]
        self.level = level
        self.diverged = diverged
        self.images_seen, self.loss = table[:, 0], table[:, 1]


def _curves(report: StudyReport, axis: Axis) -> list[_Curve]:
    """The curves of the trials in which `axis` varies and the rest is held."""
    table = report.table
    chosen = table[axis.name].isin(list(axis.levels))
    in_context = chosen & False
    for context in axis.contexts(report.axes):
        here = chosen.copy()
        for name, label in context.items():
            if name in table.columns:
                here &= table[name].astype(str) == label
        in_context |= here
    curves = [
        _Curve(
            str(row[axis.name]),
            report.loss_curves[str(row["trial_id"])],
            diverged=row["status"] == "diverged",
        )
        for _, row in table[in_context].iterrows()
        if report.loss_curves.get(str(row["trial_id"]))
    ]
    return [curve for curve in curves if len(curve.loss)]


def _draw(axes: Axes, report: StudyReport, axis: Axis, curves: Sequence[_Curve]) -> None:
    colours = level_colours(axis)
    end = max(float(curve.images_seen[-1]) for curve in curves)
    smooth = [smoothed(curve.images_seen, curve.loss, _SMOOTHING_SHARE * end) for curve in curves]
    for curve, line in zip(curves, smooth, strict=True):
        colour = colours[curve.level]
        reference = curve.level == axis.reference_level
        axes.plot(curve.images_seen, curve.loss, color=colour, lw=0.5, alpha=0.15, zorder=1)
        width = 2.0 if reference else 1.3
        axes.plot(curve.images_seen, line, color=colour, lw=width, alpha=0.9, zorder=2)
        if curve.diverged:
            last = curve.images_seen[-1], line[-1]
            axes.plot(*last, "x", color=colour, ms=9, mew=2.2, zorder=4)
    _scale(axes, np.concatenate([curve.loss for curve in curves]), np.concatenate(smooth))
    drawn = {curve.level for curve in curves}
    handles = [
        Line2D([], [], color=colours[level], lw=2, label=_name(axis, level))
        for level in axis.levels
        if level in drawn
    ]
    if any(curve.diverged for curve in curves):
        handles.append(
            Line2D([], [], color="0.4", ls="none", marker="x", ms=8, mew=2, label="diverged")
        )
    axes.legend(handles=handles, title=axis.name, loc="upper right", fontsize=9, ncols=2)
    axes.set_xlim(0, end)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("images seen")
    axes.set_ylabel("total loss")
    axes.set_title(f"{legible(report.study)}: training loss by {title(axis)}, {report.scale} scale")


def _scale(axes: Axes, raw: npt.NDArray[np.float64], smooth: npt.NDArray[np.float64]) -> None:
    """A log axis where the smoothed losses span much; raw spikes do not set the range."""
    if smooth.min() > 0 and smooth.max() / smooth.min() > _LOG_ABOVE_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(0.85 * max(float(np.quantile(raw, 0.005)), 1e-9), 1.25 * float(smooth.max()))
    else:
        low, high = float(np.quantile(raw, 0.005)), float(smooth.max())
        axes.set_ylim(max(0.0, low - 0.1 * (high - low)), high + 0.1 * (high - low))


def _name(axis: Axis, level: str) -> str:
    return legible(level) + (" (reference)" if level == axis.reference_level else "")
