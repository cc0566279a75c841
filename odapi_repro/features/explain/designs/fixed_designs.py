"""Designs whose cells are known before anything is run."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Final

from odapi_repro.analysis.attribution import (
    GENERATORS,
    Combination,
    EffectDefinition,
    Fraction,
    Outcomes,
    StudiedDeviation,
    both_ends_effects,
    corners,
    factorial_effects,
    fraction_of,
    fractional_effects,
    gap_effect,
    level_effects,
    moved,
    sampled_orders,
    sampled_shapley_effects,
    shapley_effects,
    visited,
)
from odapi_repro.errors import UserError
from odapi_repro.features.explain.designs.design_base import Design, Price, Seeds

MOST_EXACT: Final = 5
"""Exact Shapley values take 2^k cells: up to this many deviations."""


class FixedDesign(Design):
    """A design whose cells do not depend on outcomes."""

    @abstractmethod
    def cells(self) -> tuple[Combination, ...]:
        """Its cells, each once, the reference first."""

    @abstractmethod
    def definitions(self) -> tuple[EffectDefinition, ...]:
        """What is estimated, without the gap."""

    def planned(self, outcomes: Outcomes) -> Mapping[Combination, Seeds]:
        """Every cell with every seed, whatever the outcomes."""
        del outcomes
        return dict.fromkeys(self._cells, self.seeds)

    @cached_property
    def _cells(self) -> tuple[Combination, ...]:
        return self.cells()

    def price(self) -> Price:
        """Cells times seeds."""
        count = len(self.cells())
        return Price(count, count, count * len(self.seeds), count * len(self.seeds))

    def effects(self, outcomes: Outcomes) -> tuple[EffectDefinition, ...]:
        """The gap and the design's effects, whatever the outcomes."""
        del outcomes
        return self._effects

    @cached_property
    def _effects(self) -> tuple[EffectDefinition, ...]:
        return (gap_effect(self.deviations), *self.definitions())

    def typical_effect(self) -> Collection[float]:
        """The weights of its first effect."""
        return tuple(next(one for one in self.definitions() if one.primary).weights.values())


class BothEnds(FixedDesign):
    """One factor at a time, from the reference and from the user's end: 2k + 2 cells."""

    name = "both_ends"

    def cells(self) -> tuple[Combination, ...]:
        """The two ends, and each of them with one deviation moved."""
        places = range(self.count)
        low = [moved(self.reference, [index], 1) for index in places]
        high = [moved(self.user, [index], 0) for index in places]
        return tuple(dict.fromkeys([self.reference, self.user, *low, *high]))

    def definitions(self) -> tuple[EffectDefinition, ...]:
        """The effect at either end, their mean and their disagreement."""
        return both_ends_effects(self.deviations)

    def describe(self) -> str:
        """What it tells."""
        return (
            "each deviation alone, at the reference and at the user's end; where the two disagree, "
            "it interacts with others; this design does not show with which"
        )


class FullFactorial(FixedDesign):
    """Every combination of the two levels: 2^k cells."""

    name = "factorial"

    def cells(self) -> tuple[Combination, ...]:
        """All corners."""
        return tuple(corners(self.count))

    def definitions(self) -> tuple[EffectDefinition, ...]:
        """Main effects and interactions of two."""
        return factorial_effects(self.deviations)

    def describe(self) -> str:
        """What it tells."""
        return (
            "main effects and interactions of two, each from all cells; main effects sum to the "
            "gap only where nothing interacts"
        )


class Shapley(FixedDesign):
    """Exact Shapley values from all 2^k cells, for up to 5 deviations or groups.

    Raises:
        UserError: more deviations than that.
    """

    name = "shapley"

    def __init__(self, deviations: Sequence[StudiedDeviation], *, seeds: Sequence[int]) -> None:
        super().__init__(deviations, seeds=seeds)
        if self.count > MOST_EXACT:
            raise UserError(
                f"exact Shapley values of {self.count} deviations take {2**self.count} cells",
                expected=f"at most {MOST_EXACT} deviations or groups",
                mend="group deviations that belong together, or use sampled_shapley",
            )

    def cells(self) -> tuple[Combination, ...]:
        """All corners."""
        return tuple(corners(self.count))

    def definitions(self) -> tuple[EffectDefinition, ...]:
        """Shapley values and interaction indices of two."""
        return shapley_effects(self.deviations)

    def describe(self) -> str:
        """What it tells."""
        return (
            "the effect of each deviation averaged over all orders of adding them; the values sum "
            "to the gap"
        )


class SampledShapley(FixedDesign):
    """Shapley values from random orders, each with its reverse, for any number of deviations.

    Args:
        orders: pairs of an order and its reverse, or all there are if that is fewer. Two tell their
            error; where deviations interact by threes so few may all look alike, and intervals
            cover a little less than they say (docs/statistics.md).
        order_seed: of the random orders; more of them begin with the fewer.

    Raises:
        UserError: a single deviation, which has no orders.
    """

    name = "sampled_shapley"

    def __init__(
        self,
        deviations: Sequence[StudiedDeviation],
        *,
        seeds: Sequence[int],
        orders: int = 8,
        order_seed: int = 0,
    ) -> None:
        super().__init__(deviations, seeds=seeds)
        if self.count < 2:
            raise UserError(
                "sampled_shapley of one deviation",
                expected="at least two, which can be added in more than one order",
                mend="use both_ends: the whole gap is the effect of the one deviation",
            )
        self._all_orders = math.factorial(self.count)
        self.orders = sampled_orders(
            self.count, min(orders, self._all_orders // 2), seed=order_seed
        )

    def cells(self) -> tuple[Combination, ...]:
        """The cells that the orders pass."""
        passed = [cell for pair in self.orders for order in pair for cell in visited(order)]
        return tuple(dict.fromkeys([self.reference, self.user, *passed]))

    def definitions(self) -> tuple[EffectDefinition, ...]:
        """Shapley values; their interactions would need other cells."""
        return sampled_shapley_effects(self.deviations, self.orders)

    def describe(self) -> str:
        """What it tells."""
        count = 2 * len(self.orders)
        orders = (
            f"all {count} orders of adding them; the values sum to the gap"
            if count == self._all_orders
            else f"{count} random orders of adding them; the values sum to the gap, and their "
            "errors include that of the orders"
        )
        return f"the effect of each deviation averaged over {orders}"


class FractionalFactorial(FixedDesign):
    """A regular fraction of the full factorial, of minimum aberration, and the two ends.

    Args:
        resolution: at least this; 3, 4 or 5.

    Raises:
        UserError: no fraction of at most 32 cells has that resolution.
    """

    name = "fractional"

    def __init__(
        self, deviations: Sequence[StudiedDeviation], *, seeds: Sequence[int], resolution: int = 4
    ) -> None:
        super().__init__(deviations, seeds=seeds)
        fraction = fraction_of(self.count, resolution=resolution)
        if fraction is None:
            raise UserError(
                f"no fraction of {self.count} deviations has resolution {resolution} or more",
                expected=_fractions_text(self.count),
                mend="ask for a lower resolution, group deviations, or use factorial",
            )
        self.fraction = fraction

    def cells(self) -> tuple[Combination, ...]:
        """Those of the fraction, and the user's end where it is not among them."""
        return tuple(dict.fromkeys([*self.fraction.cells, self.user]))

    def definitions(self) -> tuple[EffectDefinition, ...]:
        """Main effects and, from resolution IV, interactions of two, with what they cannot be told
        from.
        """
        return fractional_effects(self.deviations, self.fraction, most=2)

    def describe(self) -> str:
        """Resolution and aliases."""
        fraction, names = self.fraction, [one.name for one in self.deviations]
        told = {
            3: "main effects cannot be told from interactions of two",
            4: "main effects are clear of interactions of two, which cannot be told from each "
            "other",
        }
        words = " = ".join(
            ("-" if sign < 0 else "") + " x ".join(names[index] for index in word)
            for word, sign in fraction.words
        )
        return (
            f"2^({fraction.count}-{len(fraction.generators)}), resolution "
            f"{_ROMAN[fraction.resolution]}: "
            + told.get(fraction.resolution, "main effects and interactions of two are clear")
            + f"; defining relation I = {words}"
        )


class Grid(FixedDesign):
    """Every combination of all levels that the deviations have, more than two of them or not."""

    name = "grid"

    def cells(self) -> tuple[Combination, ...]:
        """The product of the levels, the last deviation's fastest."""
        return tuple(itertools.product(*(range(len(one.levels)) for one in self.deviations)))

    def definitions(self) -> tuple[EffectDefinition, ...]:
        """Each level against the reference's, averaged over the others."""
        return level_effects(self.deviations, self.cells())

    def describe(self) -> str:
        """What it tells."""
        return "each level against the reference's, averaged over all levels of the others"


_ROMAN: Final = {3: "III", 4: "IV", 5: "V", 6: "VI"}


def _fractions_text(count: int) -> str:
    shown = [
        f"{count} deviations in {2 ** (count - dropped)} cells "
        f"({_ROMAN[Fraction(count, generators).resolution]})"
        for (known, dropped), generators in sorted(GENERATORS.items())
        if known == count
    ]
    counts = [known for known, _ in GENERATORS]
    return ", ".join(shown) or f"{min(counts)} to {max(counts)} deviations"
