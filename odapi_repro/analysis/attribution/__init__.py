"""How a gap is shared among deviations, with what certainty: pure functions on outcomes."""

from odapi_repro.analysis.attribution.cells import (
    Combination,
    Outcome,
    Outcomes,
    StudiedDeviation,
    at_reference,
    at_user,
    check_deviations,
    corners,
    labels_of,
    moved,
    outcomes_of,
)
from odapi_repro.analysis.attribution.definitions import (
    Alias,
    EffectDefinition,
    both_ends_effects,
    gap_effect,
    level_effects,
    path_effects,
)
from odapi_repro.analysis.attribution.estimate import ATTRIBUTION_COLUMNS, Attribution, attributions
from odapi_repro.analysis.attribution.factorial import (
    GENERATORS,
    Fraction,
    factorial_effects,
    fraction_of,
    fractional_effects,
)
from odapi_repro.analysis.attribution.gap import (
    GAP_PARTS,
    GapPart,
    GapParts,
    KnownNumber,
    gap_parts,
)
from odapi_repro.analysis.attribution.shapley import (
    sampled_orders,
    sampled_shapley_effects,
    shapley_effects,
    visited,
)

__all__ = [
    "ATTRIBUTION_COLUMNS",
    "GAP_PARTS",
    "GENERATORS",
    "Alias",
    "Attribution",
    "Combination",
    "EffectDefinition",
    "Fraction",
    "GapPart",
    "GapParts",
    "KnownNumber",
    "Outcome",
    "Outcomes",
    "StudiedDeviation",
    "at_reference",
    "at_user",
    "attributions",
    "both_ends_effects",
    "check_deviations",
    "corners",
    "factorial_effects",
    "fraction_of",
    "fractional_effects",
    "gap_effect",
    "gap_parts",
    "labels_of",
    "level_effects",
    "moved",
    "outcomes_of",
    "path_effects",
    "sampled_orders",
    "sampled_shapley_effects",
    "shapley_effects",
    "visited",
]
