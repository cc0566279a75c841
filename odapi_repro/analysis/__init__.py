"""Effects and their uncertainty: pure functions on tables of trials."""

from odapi_repro.analysis.effects import Contrast, contrasts
from odapi_repro.analysis.levels import LevelSummary, summarize_levels
from odapi_repro.analysis.multiplicity import holm
from odapi_repro.analysis.power import minimum_detectable_effect
from odapi_repro.analysis.trials import (
    BOX_METRICS,
    LEADING_COLUMNS,
    MASK_METRICS,
    check_trials,
    order_columns,
    points,
)
from odapi_repro.factors.axes import Axis

__all__ = [
    "BOX_METRICS",
    "LEADING_COLUMNS",
    "MASK_METRICS",
    "Axis",
    "Contrast",
    "LevelSummary",
    "check_trials",
    "contrasts",
    "holm",
    "minimum_detectable_effect",
    "order_columns",
    "points",
    "summarize_levels",
]
