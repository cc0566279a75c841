"""Designs that explain a gap: which cells to run next, at what price, and what they tell."""

from odapi_repro.features.explain.designs.decided_designs import (
    DIRECTIONS,
    AblationPath,
    Bisection,
    BisectionState,
    Direction,
    PathState,
)
from odapi_repro.features.explain.designs.design_base import (
    Design,
    Price,
    WantedCell,
    check_budget,
    in_rounds,
)
from odapi_repro.features.explain.designs.fixed_designs import (
    MOST_EXACT,
    BothEnds,
    FixedDesign,
    FractionalFactorial,
    FullFactorial,
    Grid,
    SampledShapley,
    Shapley,
)
from odapi_repro.features.explain.designs.racing import (
    RACE_CONFIDENCE,
    DesignResult,
    Race,
    RaceState,
    attribute,
)

__all__ = [
    "DIRECTIONS",
    "MOST_EXACT",
    "RACE_CONFIDENCE",
    "AblationPath",
    "Bisection",
    "BisectionState",
    "BothEnds",
    "Design",
    "DesignResult",
    "Direction",
    "FixedDesign",
    "FractionalFactorial",
    "FullFactorial",
    "Grid",
    "PathState",
    "Price",
    "Race",
    "RaceState",
    "SampledShapley",
    "Shapley",
    "WantedCell",
    "attribute",
    "check_budget",
    "in_rounds",
]
