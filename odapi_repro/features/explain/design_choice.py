"""From the record of an explanation to its design and its race."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from odapi_repro.analysis.attribution import StudiedDeviation
from odapi_repro.features.explain.designs import (
    MOST_EXACT,
    AblationPath,
    Bisection,
    BothEnds,
    Design,
    FractionalFactorial,
    FullFactorial,
    Grid,
    Race,
    SampledShapley,
    Shapley,
)
from odapi_repro.features.explain.explanation import DesignChoice

AUTO: Final = "auto"
REORDERING_DESIGNS: Final = (AblationPath.name, Bisection.name)
"""Those that decide by replicates of their own."""
EXPLAINING_DESIGNS: Final = (
    AUTO,
    *(
        design.name
        for design in (
            BothEnds,
            AblationPath,
            FullFactorial,
            FractionalFactorial,
            Shapley,
            SampledShapley,
            Bisection,
            Grid,
        )
    ),
)
# All combinations of so many deviations cost no more than twice what both ends do.
_FEW = 4


def chosen_design(count: int) -> str:
    """The design for so many deviations where none was asked for.

    Shapley values share out the whole gap and tell interactions, for 2^k cells; with more than
    four deviations one factor at a time from both ends costs less than half of that.
    """
    assert _FEW <= MOST_EXACT
    if count == 1:
        return str(BothEnds.name)
    return str(Shapley.name) if count <= _FEW else str(BothEnds.name)


def design_of(choice: DesignChoice, deviations: Sequence[StudiedDeviation]) -> Design:
    """The design that a record names.

    Raises:
        UserError: it does not take so many deviations.
    """
    seeds, order_seeds = choice.seeds, choice.order_seeds
    for deciding in (AblationPath, Bisection):
        if choice.name == deciding.name:
            return deciding(deviations, seeds=seeds, order_seeds=order_seeds, margin=choice.margin)
    if choice.name == SampledShapley.name:
        return SampledShapley(deviations, seeds=seeds, orders=choice.orders)
    if choice.name == FractionalFactorial.name:
        return FractionalFactorial(deviations, seeds=seeds, resolution=choice.resolution)
    plain = {one.name: one for one in (BothEnds, FullFactorial, Shapley, Grid)}
    return plain[choice.name](deviations, seeds=seeds)


def race_of(choice: DesignChoice) -> Race | None:
    """The race that a record names."""
    if choice.race is None:
        return None
    return Race(choice.race.replicates, choice.margin, choice.race.max_trials)
