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
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from odapi_repro.analysis.attribution.cells import Combination, StudiedDeviation, corners
from odapi_repro.analysis.attribution.definitions import Alias, EffectDefinition

_TABLE: Final = {
    (3, 1): "AB",
    (4, 1): "ABC",
    (5, 1): "ABCD",
    (5, 2): "AB AC",
    (6, 1): "ABCDE",
    (6, 2): "ABC BCD",
    (6, 3): "AB AC BC",
    (7, 2): "ABCD ABDE",
    (7, 3): "ABC BCD ACD",
    (7, 4): "AB AC BC ABC",
    (8, 3): "ABC ABD BCDE",
    (8, 4): "BCD ACD ABC ABD",
    (9, 4): "BCDE ACDE ABDE ABCE",
    (9, 5): "ABC BCD ACD ABD ABCD",
    (10, 5): "ABCD ABCE ABDE ACDE BCDE",
    (10, 6): "ABC BCD ACD ABD ABCD AB",
    (11, 6): "ABC BCD CDE ACD ADE BDE",
    (11, 7): "ABC BCD ACD ABD ABCD AB AC",
}

GENERATORS: Final = {
    key: tuple(tuple(ord(letter) - ord("A") for letter in word) for word in text.split())
    for key, text in _TABLE.items()
}
"""(k, p) -> for each added factor the base factors whose product it is, of at most 32 cells."""


@dataclass(frozen=True)
class Fraction:
    """One of the 2^(k-p) fractions.

    Attributes:
        count: k, the number of deviations.
        generators: for each of the last p deviations the indices of those whose product it is.
    """

    count: int
    generators: tuple[tuple[int, ...], ...]

    @cached_property
    def cells(self) -> tuple[Combination, ...]:
        """The 2^(k-p) cells, the reference first."""
        found = []
        for base in corners(self.count - len(self.generators)):
            # An added factor is at the reference's level where all its parents are.
            added = tuple(sum(base[index] for index in word) % 2 for word in self.generators)
            found.append((*base, *added))
        return tuple(found)

    @cached_property
    def words(self) -> tuple[tuple[tuple[int, ...], int], ...]:
        """The defining words with their signs: products of deviations that are constant."""
        base = self.count - len(self.generators)
        letters = [frozenset((*word, base + place)) for place, word in enumerate(self.generators)]
        found = []
        for size in range(1, len(letters) + 1):
            for chosen in itertools.combinations(letters, size):
                word: frozenset[int] = frozenset()
                for one in chosen:
                    word = word ^ one
                # In the reference's cell every sign is -1.
                found.append((tuple(sorted(word)), (-1) ** len(word)))
        return tuple(sorted(found, key=lambda one: (len(one[0]), one[0])))

    @property
    def resolution(self) -> int:
        """The length of the shortest word: III, IV, V as a number; k + 1 for all 2^k cells."""
        return min((len(word) for word, _ in self.words), default=self.count + 1)

    def aliases(self, chosen: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
        """What an effect cannot be told from, with the sign it comes with, the shortest first."""
        found = [
            (tuple(sorted(frozenset(chosen) ^ frozenset(word))), sign) for word, sign in self.words
        ]
        return sorted(found, key=lambda one: (len(one[0]), one[0]))


def fraction_of(count: int, *, resolution: int = 4) -> Fraction | None:
    """The smallest fraction of `count` deviations with at least this resolution, if there is one.

    Args:
        count: of deviations, 3 to 11.
        resolution: 3 keeps main effects apart from each other, 4 also from interactions of two, 5
            also those from each other.
    """
    fitting = [
        fraction
        for (k, _), generators in sorted(GENERATORS.items(), key=lambda one: -one[0][1])
        if k == count and (fraction := Fraction(count, generators)).resolution >= resolution
    ]
    return fitting[0] if fitting else None


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
