"""The plots of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from odapi_repro.analysis.level_effects import LevelSummary, summarize_levels
from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.page.numbers import number
from odapi_repro.page.plot_style import (
    MUTED,
    drawing,
    legible,
    level_colours,
    numeric_levels,
    title,
)
from odapi_repro.page.results_folder import Drawing

# --- Training loss against images seen, a curve a trial and a colour a level ---


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


# --- The plots of a study: AP against the level of each factor, and the training loss ---


_DIVERGED = "#b3261e"


@dataclass(frozen=True)
class _LineStyle:
    """How the levels of one combination are drawn; named levels have no line between them."""

    label: str
    connected: bool
    values_shown: bool
    seed_offset: float


def render_plots(report: StudyReport) -> tuple[Drawing, ...]:
    """Gives the drawings of ap_by_<factor>.png and .svg, and of loss_curves.png."""
    by_factor = (
        drawing(f"ap_by_{axis.name}", partial(ap_figure, report, axis)) for axis in report.axes
    )
    return (*by_factor, drawing("loss_curves", partial(loss_figure, report), ("png",)))


def ap_figure(report: StudyReport, axis: Axis) -> Figure | None:
    """AP against the level: a dot a seed, the mean with its interval, a cross for a diverged run.

    In a grid, each combination of the other factors has a line. None when nothing has finished.
    """
    summaries = summarize_levels(report.table, axis, report.axes, confidence=report.confidence)
    if not any(one.values or one.diverged for one in summaries):
        return None
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    where = _positions(axis)
    contexts = list({tuple(one.context.items()): None for one in summaries})
    colours = _context_colours(report, axis, contexts)
    width = (max(where.values()) - min(where.values()) if len(where) > 1 else 1.0) or 1.0
    for index, context in enumerate(contexts):
        shift = 0.025 * width * (index - (len(contexts) - 1) / 2)
        line = [one for one in summaries if tuple(one.context.items()) == context]
        style = _LineStyle(
            label=", ".join(f"{name} {legible(level)}" for name, level in context),
            connected=numeric_levels(axis) is not None or len(contexts) > 1,
            values_shown=len(contexts) == 1,
            seed_offset=0.015 * width if len(contexts) == 1 else 0.0,
        )
        _draw_line(axes, line, where, shift, colours[index], style)
    _decorate(axes, report, axis, where, summaries, grid=len(contexts) > 1)
    return figure


def _positions(axis: Axis) -> dict[str, float]:
    numeric = numeric_levels(axis)
    if numeric is None:
        return {level: float(i) for i, level in enumerate(axis.levels)}
    return {level: math.log2(value) for level, value in numeric.items()}


def _context_colours(
    report: StudyReport, axis: Axis, contexts: Sequence[tuple[tuple[str, str], ...]]
) -> list[Any]:
    if len(contexts) == 1:
        return ["#0072b2"]
    other = next((one for one in report.axes if one.name != axis.name), axis)
    if all(len(context) == 1 for context in contexts):
        by_level = level_colours(other)
        return [by_level.get(context[0][1], MUTED) for context in contexts]
    palette = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
    return [palette[i % len(palette)] for i in range(len(contexts))]


def _draw_line(
    axes: Axes,
    line: Sequence[LevelSummary],
    where: dict[str, float],
    shift: float,
    colour: Any,
    style: _LineStyle,
) -> None:
    known = sorted((one for one in line if not math.isnan(one.mean)), key=lambda o: where[o.level])
    x = [where[one.level] + shift for one in known]
    means = [one.mean for one in known]
    if style.connected:
        axes.plot(x, means, color=colour, lw=1.4, alpha=0.55, zorder=2)
    axes.plot(x, means, "o", color=colour, ms=8, zorder=5, label=style.label)
    for one, at in zip(known, x, strict=True):
        several = len(one.values) + one.diverged > 1
        if several and not math.isnan(one.low):
            ends = [[one.mean - one.low], [one.high - one.mean]]
            axes.errorbar(
                at, one.mean, ends, fmt="none", ecolor=colour, elinewidth=1.6, capsize=4, zorder=4
            )
        if several:
            beside = [at - style.seed_offset] * len(one.values)
            axes.plot(beside, one.values, "o", ms=4.5, mfc="none", mec=colour, mew=1.1, zorder=3)
        if style.values_shown:
            axes.annotate(
                number(one.mean, 1),
                (at, one.mean),
                xytext=(10, -9),
                textcoords="offset points",
                va="center",
                fontsize=9.5,
                bbox={"fc": "white", "ec": "none", "pad": 0.8},
            )
        if one.diverged:
            axes.plot(
                at - (style.seed_offset if several else 0),
                *(0, "x"),
                color=_DIVERGED,
                ms=9,
                mew=2.2,
                zorder=6,
                clip_on=False,
            )
            axes.annotate(
                f"{one.diverged} diverged" if several else "diverged",
                (at, 0),
                xytext=(9, 9),
                textcoords="offset points",
                color=_DIVERGED,
                fontsize=9,
            )


def _decorate(
    axes: Axes,
    report: StudyReport,
    axis: Axis,
    where: dict[str, float],
    summaries: Sequence[LevelSummary],
    *,
    grid: bool,
) -> None:
    names = [
        f"{legible(level)}\n(reference)" if level == axis.reference_level else legible(level)
        for level in where
    ]
    axes.set_xticks(list(where.values()), names)
    axes.grid(visible=False, axis="x")
    ends = min(where.values()), max(where.values())
    room = 0.08 * (ends[1] - ends[0]) or 0.5
    axes.set_xlim(ends[0] - room, ends[1] + room)
    bottom, top = axes.get_ylim()
    finished = any(one.diverged for one in summaries)
    axes.set_ylim(0 if finished or bottom < 0.35 * top else bottom, top)
    numeric = numeric_levels(axis) is not None
    axes.set_xlabel(axis.name + (" (log scale)" if numeric else ""), loc="left")
    axes.set_ylabel(f"AP on {legible(report.data)} (points)")
    axes.set_title(f"{legible(report.study)}: AP by {title(axis)}, {report.scale} scale")
    reference = [one.mean for one in summaries if one.level == axis.reference_level]
    if not grid and not math.isnan(reference[0]):
        axes.axhline(reference[0], color=MUTED, lw=1, ls=(0, (4, 4)), zorder=1)
    if grid:
        axes.legend(loc="best", fontsize=9)
    seeds = max(len(one.values) + one.diverged for one in summaries)
    note = "one run a level: no interval"
    if seeds > 1:
        note = f"circles: seeds; dot and bar: mean with {100 * report.confidence:g} % interval"
    axes.annotate(
        note,
        (1, 0),
        xytext=(0, -36),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="top",
        color=MUTED,
        fontsize=8.5,
    )
