"""Effects of two-level factorial designs, full and fractional.

A main effect is the mean at the user's level minus the mean at the reference's, over all
combinations of the others: Box, Hunter and Hunter's effect (Statistics for Experimenters, 2nd ed.,
ch. 5), and the Banzhaf value of game theory. An interaction of two is here the difference of
differences, averaged over the others: the Banzhaf interaction index (Grabisch and Roubens 1999),
twice Box, Hunter and Hunter's. Main effects do not sum to the gap where deviations interact;
Shapley values from the same cells do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from odapi_repro.analysis.attribution.cells import Combination, StudiedDeviation, corners
from odapi_repro.analysis.attribution.definitions import Alias, EffectDefinition
from odapi_repro.analysis.attribution.fractions import Fraction


def factorial_effects(
    deviations: Sequence[StudiedDeviation], *, interactions: bool = True
) -> tuple[EffectDefinition, ...]:
    """Main effects, and the interactions of two, of the full factorial of all 2^k cells."""
    cells = corners(len(deviations))
    singles = [(index,) for index in range(len(deviations))]
    pairs = list(itertools.combinations(range(len(deviations)), 2)) if interactions else []
    return tuple(_effect(deviations, chosen, cells) for chosen in [*singles, *pairs])


def fractional_effects(
    deviations: Sequence[StudiedDeviation], fraction: Fraction, *, most: int = 2
) -> tuple[EffectDefinition, ...]:
    """Main effects of a fraction, and of resolution IV and up its interactions of two.

    Interactions that the fraction cannot tell apart have one row, named by the first of them; the
    others stand among its aliases.

    Args:
        deviations: as many as the fraction has factors.
        fraction: which cells there are.
        most: interactions of more deviations than this are not named among the aliases.
    """
    found: list[EffectDefinition] = []
    told: set[tuple[int, ...]] = set()
    orders = (1, 2) if fraction.resolution > 3 else (1,)
    for order in orders:
        for chosen in itertools.combinations(range(len(deviations)), order):
            if chosen in told:
                continue
            aliases = fraction.aliases(chosen)
            told.update(alias for alias, _ in aliases)
            named = tuple(
                Alias(tuple(deviations[i].name for i in alias), sign * 2.0 ** (order - len(alias)))
                for alias, sign in aliases
                if len(alias) <= most
            )
            found.append(_effect(deviations, chosen, fraction.cells, aliases=named))
    return tuple(found)


def _effect(
    deviations: Sequence[StudiedDeviation],
    chosen: tuple[int, ...],
    cells: Sequence[Combination],
    *,
    aliases: tuple[Alias, ...] = (),
) -> EffectDefinition:
    """The effect whose sign in a cell is the product of those of the chosen deviations."""
    single = len(chosen) == 1
    unit = 2.0 ** len(chosen) / len(cells)
    weights = {
        cell: unit if sum(cell[index] == 0 for index in chosen) % 2 == 0 else -unit
        for cell in cells
    }
    one = deviations[chosen[0]]
    return EffectDefinition(
        kind="main_effect" if single else "interaction",
        deviations=tuple(deviations[index].name for index in chosen),
        from_level=one.label(0) if single else "reference",
        to_level=one.label(1) if single else "user",
        weights=weights,
        family="main_effect" if single else "interaction",
        primary=single,
        context="mean over all combinations of the others",
        aliases=aliases,
    )
