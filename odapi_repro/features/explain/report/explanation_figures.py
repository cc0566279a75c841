"""The image files of an explanation: interactions as a map, and effects side by side."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import matplotlib as mpl
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from odapi_repro.analysis.attribution import Attribution
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.features.explain.report.interactions import end_effects
from odapi_repro.features.explain.report.waterfall import draw_waterfall, has_waterfall
from odapi_repro.page.numbers import between, signed
from odapi_repro.page.plot_style import INK, MUTED, captioned, drawing, legible
from odapi_repro.page.results_folder import Drawing

# --- The interactions of two as a map: a square a pair ---


# Brown: together they cost more than the sum; teal: less. Told apart by colour-blind readers.
_COLOUR_MAP: Final = "BrBG"
_DARK: Final = 0.62
_RESOLVED_PAIRS: Final = frozenset({"gain", "loss"})


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
    norm, colours = TwoSlopeNorm(0, -top, top), mpl.colormaps[_COLOUR_MAP]
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
        note += "\nA square may stand for several pairs that this design cannot separate: see the "
        "table."
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
        told = "shared with\nanother" if row is None else "not measured"
        axes.text(x, y, told, ha="center", va="center", fontsize=8.5, color=MUTED)
        return
    resolved = row.verdict in _RESOLVED_PAIRS
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


# --- The image files of an explanation, and the one of effects side by side with intervals ---


_COLOURS: Final = ("#0072b2", "#d55e00")
_MARKERS: Final = ("o", "s")
_RESOLVED: Final = frozenset({"gain", "loss", "equivalent"})
_WIDTH_OF_NAMES: Final = 34


@dataclass(frozen=True)
class _Row:
    """A row of the figure: one effect, or two that are set against each other."""

    label: str
    effects: tuple[Attribution, ...]


def render_figures(report: ExplanationReport) -> tuple[Drawing, ...]:
    """Waterfall (of a grid with more levels: effects) and interactions, PNG and SVG."""
    return tuple(drawing(name, partial(draw, report)) for name, draw in _figures_of(report).items())


def draw_figures(report: ExplanationReport) -> dict[str, Figure]:
    """The figures by name, in the style of whoever draws them."""
    return {name: draw(report) for name, draw in _figures_of(report).items()}


def _figures_of(report: ExplanationReport) -> dict[str, Callable[[ExplanationReport], Figure]]:
    """What draws each figure that there is something to draw for."""
    found: dict[str, Callable[[ExplanationReport], Figure]] = {}
    if has_waterfall(report):
        found["waterfall"] = draw_waterfall
    elif _has_levels(report):
        found["effects"] = _draw_effects
    if has_heat_map(report):
        found["interactions"] = draw_interactions
    elif _has_ends(report):
        found["interactions"] = draw_ends
    return found


def _has_levels(report: ExplanationReport) -> bool:
    return any(len(one.levels) > 2 for one in report.explanation.deviations) and any(
        one.definition.primary and not math.isnan(one.row.delta) for one in report.effects
    )


def _has_ends(report: ExplanationReport) -> bool:
    return len(report.explanation.deviations) > 1 and any(
        not math.isnan(one.row.delta) for ends in end_effects(report) for one in ends[:2]
    )


def _draw_effects(report: ExplanationReport) -> Figure:
    """Every level of every deviation against the reference's, for a grid."""
    rows = [
        _Row(f"{one.row.factor} {one.row.from_level} → {one.row.to_level}", (one.row,))
        for one in report.effects[1:]
        if one.definition.primary
    ]
    title = f"{legible(report.explanation.reference)}: each level against the reference's"
    return _draw(report, rows, ("mean over the levels of the others",), title)


def draw_ends(report: ExplanationReport) -> Figure:
    """Of both ends: the effect of each deviation at the reference and in the user's config."""
    rows = [_Row(low.row.factor, (low.row, high.row)) for low, high, _ in end_effects(report)]
    title = "Where the two differ, a deviation interacts with the others"
    return _draw(report, rows, ("added to the reference", "in the user's config"), title)


def _draw(
    report: ExplanationReport, rows: Sequence[_Row], series: Sequence[str], title: str
) -> Figure:
    record = report.explanation
    labels = ["\n".join(_figures_wrapped(row.label)) for row in rows]
    height = 1.7 + 0.30 * len(series) * len(rows) + 0.1 * len(rows)
    figure = Figure(figsize=(7.6, height), layout="constrained")
    axes = figure.add_subplot()
    for index, name in enumerate(series):
        shift = 0.22 * (index - (len(series) - 1) / 2) * (2 if len(series) > 1 else 0)
        colour, marker = _COLOURS[index], _MARKERS[index]
        axes.plot([], [], marker, color=colour, label=name)
        for y, row in enumerate(rows):
            effect = row.effects[index]
            if math.isnan(effect.delta):
                continue
            filled = colour if effect.verdict in _RESOLVED else "white"
            axes.plot(
                effect.delta, y + shift, marker, ms=7, mfc=filled, mec=colour, mew=1.4, zorder=4
            )
            if not math.isnan(effect.low):
                axes.plot([effect.low, effect.high], [y + shift] * 2, color=colour, lw=1.6)
    axes.axvline(0, color=INK, lw=1)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_yticks(range(len(rows)), labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    unit = f" ({report.unit})" if report.unit else ""
    axes.set_xlabel(f"effect on {record.metric}, user's level - reference's{unit}", loc="left")
    if len(series) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series), fontsize=9)
    captioned(figure, [*textwrap.wrap(title, 84), *report.scale_lines], _note(rows))
    return figure


def _figures_wrapped(label: str) -> list[str]:
    return textwrap.wrap(legible(label, 4 * _WIDTH_OF_NAMES), _WIDTH_OF_NAMES)


def _note(rows: Sequence[_Row]) -> str:
    if any(not math.isnan(effect.low) for row in rows for effect in row.effects):
        return "Lines: 95 % intervals, of one effect each; filled: resolved, hollow: not."
    return "One training a cell: no intervals, nothing is resolved."
