"""Regular two-level fractions 2^(k-p): their generators, resolution and aliases.

The generators are those of minimum aberration (Fries and Hunter 1980), as tabled by Box, Hunter and
Hunter (Statistics for Experimenters, 2nd ed., table 6.22), Montgomery (Design and Analysis of
Experiments, table 8.14) and Chen, Sun and Wu (1993). The sign of each is chosen so that the cell in
which every deviation stands at the reference's level is in the fraction.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from odapi_repro.analysis.attribution.cells import Combination, corners

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
