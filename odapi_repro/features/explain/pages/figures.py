"""The image files of an explanation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from odapi_repro.features.explain.pages.content import ExplanationReport
from odapi_repro.features.explain.pages.forest import draw_effects, draw_ends
from odapi_repro.features.explain.pages.heat_map import draw_interactions, has_heat_map
from odapi_repro.features.explain.pages.interactions import end_effects
from odapi_repro.features.explain.pages.waterfall import draw_waterfall
from odapi_repro.features.explain.pages.waterfall_bars import has_waterfall
from odapi_repro.page.plot_style import drawing
from odapi_repro.page.results_folder import Drawing

__all__ = ["draw_figures", "render_figures"]


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
        found["effects"] = draw_effects
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
