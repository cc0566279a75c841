"""The interactions of two as a map: a square a pair."""

from __future__ import annotations

import math
import textwrap
from typing import Final

import matplotlib as mpl
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from odapi_repro.analysis.attribution import Attribution
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.page.numbers import between, signed
from odapi_repro.page.plot_style import INK, MUTED, captioned, legible

# Brown: together they cost more than the sum; teal: less. Told apart by colour-blind readers.
_COLOURS: Final = "BrBG"
_DARK: Final = 0.62
_RESOLVED: Final = frozenset({"gain", "loss"})


def has_heat_map(report: ExplanationReport) -> bool:
    """Whether interactions of two are known, of at least three deviations."""
    return len(report.explanation.deviations) > 2 and any(
        one.row.kind != "disagreement" and not math.isnan(one.row.delta)
        for one in report.interactions
    )


def draw_interactions(report: ExplanationReport) -> Figure:
    """The lower triangle of deviations against each other; see `has_heat_map`."""
    names = [one.name for one in report.explanation.deviations]
    rows = {frozenset(one.definition.deviations): one.row for one in report.interactions}
    known = [row for row in rows.values() if not math.isnan(row.delta)]
    # A map of noise shall not shout.
    top = max([2 * report.explanation.design.margin, *(abs(row.delta) for row in known)])
    side = 1.05 * (len(names) - 1)
    figure = Figure(figsize=(max(5.6, 2.6 + side), 1.9 + 0.72 * side), layout="constrained")
    axes = figure.add_subplot()
    norm, colours = TwoSlopeNorm(0, -top, top), mpl.colormaps[_COLOURS]
    for y in range(1, len(names)):
        for x in range(y):
            row = rows.get(frozenset((names[x], names[y])))
            _square(report, axes, x, y - 1, row, norm, colours)
    axes.set_xlim(-0.5, len(names) - 1.5)
    axes.set_ylim(len(names) - 1.5, -0.5)
    axes.set_xticks(range(len(names) - 1), [_wrapped(name) for name in names[:-1]])
    axes.set_yticks(range(len(names) - 1), [_wrapped(name) for name in names[1:]])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    title = f"{report.explanation.metric} beyond the sum of both, when both are the user's"
    note = (
        "Negative: together they cost more than the sum of both.\n"
        "Bold in a frame: resolved; pale: not."
    )
    if any(one.definition.aliases for one in report.interactions):
        note += "\nA square may stand for other pairs that are told with it: see the table."
    captioned(figure, [title, *report.scale_lines], note)
    return figure


def _square(
    report: ExplanationReport,
    axes: mpl.axes.Axes,
    x: int,
    y: int,
    row: Attribution | None,
    norm: TwoSlopeNorm,
    colours: mpl.colors.Colormap,
) -> None:
    if row is None or math.isnan(row.delta):
        told = "told with\nanother" if row is None else "not measured"
        axes.text(x, y, told, ha="center", va="center", fontsize=8.5, color=MUTED)
        return
    resolved = row.verdict in _RESOLVED
    place = norm(row.delta)
    axes.add_patch(
        Rectangle(
            (x - 0.47, y - 0.46),
            0.94,
            0.92,
            facecolor=colours(0.5 + (0.7 if resolved else 0.25) * (place - 0.5)),
            edgecolor=INK if resolved else "none",
            linewidth=1.6,
        )
    )
    dark = resolved and abs(place - 0.5) * 2 > _DARK
    colour = "white" if dark else INK
    digits = report.digits
    weight = "bold" if resolved else "normal"
    axes.text(
        x,
        y - 0.12,
        signed(row.delta, digits),
        ha="center",
        va="center",
        fontsize=10.5,
        fontweight=weight,
        color=colour,
    )
    ends = between(row.low, row.high, digits) or "no interval"
    axes.text(x, y + 0.2, ends, ha="center", va="center", fontsize=7.5, color=colour)


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(legible(name).replace("_", "_ "), 14)).replace("_ ", "_")
