"""Bisection to a smallest set of deviations whose mending restores the reference.

A set of mended deviations restores the reference when the user's config with them at the
reference's level scores within the margin of the reference. The search is QuickXplain (Junker 2004,
AAAI), a delta debugging (Zeller and Hildebrandt 2002) that halves the candidates: a single culprit
among k is found with at most 2 log2 k cells besides the two ends, and any culprits with at most
2k. The set is minimal, none of it can be left out, as long as mending more never makes things
worse; a set of fewer others may exist.

Its decisions are taken by replicates of their own, and the shares of the found set and of the rest
are estimated from others, because a cell that was chosen for its score flatters itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odapi_repro.analysis.attribution import (
    Combination,
    EffectDefinition,
    Outcomes,
    gap_effect,
    moved,
    path_effects,
)
from odapi_repro.features.explain.designs.base import DecidingDesign, Price, Seeds


class _MissingError(Exception):
    """A cell is needed that has no outcome yet."""

    def __init__(self, cell: Combination) -> None:
        super().__init__(cell)
        self.cell = cell


@dataclass(frozen=True)
class BisectionState:
    """How far the search has come.

    Attributes:
        asked: the cells that it has needed so far, in order.
        culprits: indices of the smallest set found; None while it is searching. Empty where the
            user's config scores within the margin of the reference.
        restored: whether the user's config with the culprits mended scores within the margin. It
            may not where mending more made things worse, or by noise.
    """

    asked: tuple[Combination, ...]
    culprits: tuple[int, ...] | None
    restored: bool = False


class Bisection(DecidingDesign):
    """A search for the fewest deviations to mend.

    Deviations that are suspected should come first: those that restore at once cost fewer cells.

    Args:
        seeds: the replicates that the shares are estimated from.
        order_seeds: the replicates that decide; none of `seeds`.
        margin: how far below the reference still counts as restored, in the metric's unit. It
            should be at least twice the standard error of a difference of two cells.
    """

    name = "bisection"

    def state(self, outcomes: Outcomes) -> BisectionState:
        """Follows the search as far as the outcomes of `order_seeds` tell."""
        asked: dict[Combination, None] = dict.fromkeys((self.reference, self.user))
        if any(outcomes.missing(cell, self.order_seeds) for cell in asked):
            return BisectionState(tuple(asked), None)
        goal = outcomes.mean(self.reference, self.order_seeds) - self.margin

        def restores(mended: Sequence[int]) -> bool:
            cell = moved(self.user, mended, 0)
            asked.setdefault(cell)
            if outcomes.missing(cell, self.order_seeds):
                raise _MissingError(cell)
            return outcomes.mean(cell, self.order_seeds) >= goal

        def search(
            background: Sequence[int], new: bool, candidates: Sequence[int]
        ) -> tuple[int, ...]:
            if new and restores(background):
                return ()
            if len(candidates) == 1:
                return tuple(candidates)
            half = len(candidates) // 2
            first, second = candidates[:half], candidates[half:]
            of_second = search((*background, *first), True, second)
            of_first = search((*background, *of_second), bool(of_second), first)
            return (*of_first, *of_second)

        try:
            if restores(()):
                return BisectionState(tuple(asked), (), restored=True)
            culprits = search((), False, tuple(range(self.count)))
            return BisectionState(tuple(asked), culprits, restored=restores(culprits))
        except _MissingError:
            return BisectionState(tuple(asked), None)

    def planned(self, outcomes: Outcomes) -> Mapping[Combination, Seeds]:
        """The cells of the search so far, and at its end those that the estimates need."""
        state = self.state(outcomes)
        planned = dict.fromkeys(state.asked, self.order_seeds)
        if state.culprits is not None:
            mended = moved(self.user, state.culprits, 0)
            for cell in (self.reference, self.user, mended):
                planned[cell] = tuple(sorted({*planned.get(cell, ()), *self.seeds}))
        return planned

    def price(self) -> Price:
        """From two ends that are alike to a search in which everything is a culprit."""
        estimates, orders = len(self.seeds), len(self.order_seeds)
        most = min(2 * self.count, 2**self.count)
        return Price(
            cells_min=2,
            cells_max=most,
            trials_min=2 * (orders + estimates),
            trials_max=most * orders + min(3, most) * estimates,
        )

    def effects(self, outcomes: Outcomes) -> tuple[EffectDefinition, ...]:
        """The gap, and once the search is done the shares of the culprits and of the rest."""
        gap = gap_effect(self.deviations)
        culprits = self.state(outcomes).culprits
        if not culprits:
            return (gap,)
        rest = tuple(index for index in range(self.count) if index not in culprits)
        steps = (tuple(sorted(culprits)), rest) if rest else (tuple(sorted(culprits)),)
        shares = path_effects(
            self.deviations,
            steps,
            start=self.user,
            kind="restored_share",
            family="bisection",
        )
        return (gap, *shares)

    def describe(self) -> str:
        """What it tells."""
        return (
            "the fewest deviations whose mending brings the user's config within "
            f"{self.margin:g} of the reference, and what they account for together"
        )
