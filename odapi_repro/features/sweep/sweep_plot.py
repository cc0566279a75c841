"""The plot of a sweep: every level's difference from the pipeline's own setting, with interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odapi_repro.analysis.level_effects import ImageEffect
from odapi_repro.features.sweep.sweep_report import PostHocReport
from odapi_repro.page.plot_style import INK, MUTED, drawing, legible
from odapi_repro.page.results_folder import Drawing

_COLOURS: Final = {
    "gain": "#009e73",
    "loss": "#d55e00",
    "equivalent": "#0072b2",
    "unresolved": MUTED,
}
_TITLES: Final = {"AP": "AP of boxes", "mask_AP": "AP of masks", "mask_AR100": "AR100 of masks"}
_ROW_INCHES: Final = 0.26


def render_post_hoc_plots(report: PostHocReport) -> tuple[Drawing, ...]:
    """Gives the drawing of effects.png and effects.svg; no files without an effect."""
    return (drawing("effects", partial(post_hoc_figure, report)),)


def post_hoc_figure(report: PostHocReport) -> Figure | None:
    """A row a level with its interval; boxes, and beside them masks where there are any."""
    panels = {
        metric: [
            row for row in report.effects if row.metric == metric and not math.isnan(row.delta)
        ]
        for metric in _TITLES
    }
    panels = {metric: rows for metric, rows in panels.items() if rows}
    if not panels:
        return None
    places = _places(next(iter(panels.values())))
    height = 1.6 + _ROW_INCHES * (max(places.values()) + 1)
    figure = Figure(figsize=(6.0 + 3.6 * (len(panels) - 1), height), layout="constrained")
    shared = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (metric, rows) in zip(shared, panels.items(), strict=True):
        _draw(axes, rows, places)
        axes.set_title(_TITLES[metric])
        axes.set_xlabel(f"difference in points, {100 * report.confidence:g} % interval", loc="left")
    first: Axes = shared[0]
    first.set_yticks(list(places.values()), [f"{name}  {legible(level)}" for name, level in places])
    first.set_ylim(max(places.values()) + 0.7, -0.7)
    figure.suptitle(
        f"{legible(report.study)}\nagainst the pipeline's own setting, on {legible(report.data)}",
        x=0.01,
        ha="left",
        fontsize=9,
        color=INK,
    )
    return figure


def _places(rows: Sequence[ImageEffect]) -> dict[tuple[str, str], float]:
    """Where each level is drawn, with a gap between factors."""
    places: dict[tuple[str, str], float] = {}
    at, previous = 0.0, ""
    for row in rows:
        at += 0.6 if previous and row.factor != previous else 0.0
        places[row.factor, row.to_level] = at
        at, previous = at + 1.0, row.factor
    return places


def _draw(axes: Axes, rows: Sequence[ImageEffect], places: dict[tuple[str, str], float]) -> None:
    axes.axvline(0, color=MUTED, lw=1, zorder=1)
    axes.grid(visible=False, axis="y")
    for row in rows:
        where = places.get((row.factor, row.to_level))
        if where is None:
            continue
        colour = _COLOURS[row.verdict]
        if not math.isnan(row.low):
            axes.plot([row.low, row.high], [where, where], color=colour, lw=1.8, zorder=2)
        axes.plot(row.delta, where, "o", color=colour, ms=5, zorder=3)
    shown = [name for name in _COLOURS if any(row.verdict == name for row in rows)]
    for name in shown:
        axes.plot([], [], "o-", color=_COLOURS[name], ms=5, lw=1.8, label=name)
    axes.legend(loc="best", fontsize=8)
