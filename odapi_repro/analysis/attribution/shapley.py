"""Shapley values of deviations: exact from all 2^k cells, or sampled by permutations.

With v(S) the mean of the cell in which the deviations of S stand at the user's level, the value of
deviation i is sum over S without i of |S|! (k-|S|-1)! / k! (v(S+i) - v(S)) (Shapley 1953): its
effect when it is added, averaged over all orders. The values sum to the gap. The interaction of i
and j is sum over S without both of |S|! (k-|S|-2)! / (k-1)! (v(S+i+j) - v(S+i) - v(S+j) + v(S)),
Grabisch and Roubens' interaction index (1999).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

from odapi_repro.analysis.attribution.cells import (
    Combination,
    StudiedDeviation,
    at_reference,
    corners,
    moved,
)
from odapi_repro.analysis.attribution.definitions import (
    EffectDefinition,
    Kind,
    combined,
    difference,
)

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
