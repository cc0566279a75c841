"""Effects and their uncertainty: pure functions on tables of trials."""

from odapi_repro.analysis.cells import FactorAxis
from odapi_repro.analysis.effects import Contrast, contrasts, effects_table
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

__all__ = [
    "BOX_METRICS",
    "LEADING_COLUMNS",
    "MASK_METRICS",
    "Contrast",
    "FactorAxis",
    "LevelSummary",
    "check_trials",
    "contrasts",
    "effects_table",
    "holm",
    "minimum_detectable_effect",
    "order_columns",
    "points",
    "summarize_levels",
]
