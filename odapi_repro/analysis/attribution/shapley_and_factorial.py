"""The effects that two families of designs estimate: Shapley values and factorial effects.

With v(S) the mean of the cell in which the deviations of S stand at the user's level, the value of
deviation i is sum over S without i of |S|! (k-|S|-1)! / k! (v(S+i) - v(S)) (Shapley 1953): its
effect when it is added, averaged over all orders. The values sum to the gap. The interaction of i
and j is sum over S without both of |S|! (k-|S|-2)! / (k-1)! (v(S+i+j) - v(S+i) - v(S+j) + v(S)),
Grabisch and Roubens' interaction index (1999).

A main effect is the mean at the user's level minus the mean at the reference's, over all
combinations of the others: Box, Hunter and Hunter's effect (Statistics for Experimenters, 2nd ed.,
ch. 5), and the Banzhaf value of game theory. An interaction of two is here the difference of
differences, averaged over the others: the Banzhaf interaction index (Grabisch and Roubens 1999),
twice Box, Hunter and Hunter's. Main effects do not sum to the gap where deviations interact;
Shapley values from the same cells do.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from odapi_repro.analysis.attribution.effect_definitions import (
    Alias,
    Combination,
    EffectDefinition,
    Kind,
    StudiedDeviation,
    at_reference,
    combined,
    corners,
    difference,
    moved,
)

# --- Shapley values of deviations: exact from all 2^k cells, or sampled by permutations ---


Order = tuple[int, ...]
"""Indices of the deviations in the order in which they are added."""


def shapley_effects(
    deviations: Sequence[StudiedDeviation], *, interactions: bool = True
) -> tuple[EffectDefinition, ...]:
    """Shapley values, and the interaction indices of two, from all 2^k cells."""
    count = len(deviations)
    singles = [(index,) for index in range(count)]
    pairs = list(itertools.combinations(range(count), 2)) if interactions else []
    return tuple(
        _definition(deviations, chosen, _index_weights(count, chosen))
        for chosen in [*singles, *pairs]
    )


def _index_weights(count: int, chosen: tuple[int, ...]) -> dict[Combination, float]:
    """The Shapley interaction index of the chosen deviations; for a single one its value."""
    weights: dict[Combination, float] = {}
    size = len(chosen)
    for cell in corners(count):
        before = sum(level for index, level in enumerate(cell) if index not in chosen)
        share = (
            math.factorial(before)
            * math.factorial(count - before - size)
            / math.factorial(count - size + 1)
        )
        absent = sum(cell[index] == 0 for index in chosen)
        weights[cell] = -share if absent % 2 else share
    return weights


def sampled_orders(count: int, pairs: int, *, seed: int = 0) -> tuple[tuple[Order, Order], ...]:
    """Different random orders of the deviations, each with its reverse, which evens out its error.

    Args:
        count: of deviations.
        pairs: how many; at most count! / 2.
        seed: the same seed gives the same orders, and more of them begin with the fewer.

    Raises:
        ValueError: more pairs than there are.
    """
    if not 1 <= pairs <= math.factorial(count) // 2:
        raise ValueError(
            f"{pairs} pairs of orders; of {count} deviations there are {math.factorial(count) // 2}"
        )
    generator = random.Random(seed)
    found: dict[Order, None] = {}
    while len(found) < pairs:
        order = list(range(count))
        generator.shuffle(order)
        first = min(tuple(order), tuple(reversed(order)))
        found.setdefault(first)
    return tuple((order, tuple(reversed(order))) for order in found)


def visited(order: Order) -> list[Combination]:
    """The cells from the reference to the user's end when deviations are added in this order."""
    cells = [at_reference(len(order))]
    for index in order:
        cells.append(moved(cells[-1], [index], 1))
    return cells


def sampled_shapley_effects(
    deviations: Sequence[StudiedDeviation], orders: Sequence[tuple[Order, Order]]
) -> tuple[EffectDefinition, ...]:
    """Shapley values estimated from sampled orders; a draw is an order with its reverse."""
    count = len(deviations)
    found = []
    for index in range(count):
        draws = []
        for pair in orders:
            steps = []
            for order in pair:
                cells, place = visited(order), order.index(index)
                steps.append((1 / len(pair), difference(cells[place + 1], cells[place])))
            draws.append(combined(steps))
        found.append(
            _definition(
                deviations,
                (index,),
                combined((1 / len(draws), draw) for draw in draws),
                draws=tuple(draws),
                population=math.factorial(count) / 2,
            )
        )
    return tuple(found)


def _definition(
    deviations: Sequence[StudiedDeviation],
    chosen: tuple[int, ...],
    weights: dict[Combination, float],
    *,
    draws: tuple[dict[Combination, float], ...] = (),
    population: float = math.inf,
) -> EffectDefinition:
    single = len(chosen) == 1
    kind: Kind = "shapley_value" if single else "shapley_interaction"
    one = deviations[chosen[0]]
    return EffectDefinition(
        kind=kind,
        deviations=tuple(deviations[index].name for index in chosen),
        from_level=one.label(0) if single else "reference",
        to_level=one.label(1) if single else "user",
        weights=weights,
        family=kind,
        primary=single,
        context="mean over sampled orders" if draws else "mean over all orders",
        draws=draws,
        population=population,
    )


# --- Effects of two-level factorial designs, full and fractional ---


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
