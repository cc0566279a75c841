"""The plots of a study: AP against the level of each factor, and the training loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odapi_repro.analysis.effects import LevelSummary, summarize_levels
from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.loss_curves import loss_figure
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
