"""Designs that decide as they go: bisection and ablation paths.

A set of mended deviations restores the reference when the user's config with them at the
reference's level scores within the margin of the reference. The search is QuickXplain (Junker 2004,
AAAI), a delta debugging (Zeller and Hildebrandt 2002) that halves the candidates: a single culprit
among k is found with at most 2 log2 k cells besides the two ends, and any culprits with at most
2k. The set is minimal, none of it can be left out, as long as mending more never makes things
worse; a set of fewer others may exist.

Its decisions are taken by replicates of their own, and the shares of the found set and of the rest
are estimated from others, because a cell that was chosen for its score flatters itself.

From the user's end each round takes out the deviation whose removal gains most; from the
reference's end it adds the one that costs most. A round tries every deviation that is left, so a
path of k deviations has up to k (k + 1) / 2 + 1 cells, and ends early when what is left of the gap
lies within the margin: the rest then moves in one step, named together.

A step is chosen because its cell came out well, so its estimate from the same replicates would
flatter it. The order is therefore decided by replicates of its own, and the shares are estimated
from others: with the two that an interval needs, that makes three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from odapi_repro.analysis.attribution import (
    Combination,
    EffectDefinition,
    Outcomes,
    StudiedDeviation,
    gap_effect,
    moved,
    path_effects,
)
from odapi_repro.features.explain.designs.design_base import DecidingDesign, Price, Seeds

# --- Bisection to a smallest set of deviations whose mending restores the reference ---


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
            "the fewest deviations whose fixing brings the user's config within "
            f"{self.margin:g} of the reference, and what they account for together"
        )


# --- Ablation paths (Fawcett and Hoos 2016, J. Heuristics 22:431-458), from either end or both ---


Direction = Literal["from_user", "from_reference"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("from_user", "from_reference")


@dataclass(frozen=True)
class PathState:
    """How far a path has come.

    Attributes:
        direction: where it began.
        steps: indices of the deviations that moved in each step; the last step of a path that
            ended early holds all that were left.
        here: the cell it has reached.
        asked: the cells that the order has needed so far, in the order they were asked for.
        done: whether it has reached the other end.
    """

    direction: Direction
    steps: tuple[tuple[int, ...], ...]
    here: Combination
    asked: tuple[Combination, ...]
    done: bool


class AblationPath(DecidingDesign):
    """A greedy path between the ends, its order and its shares from different replicates.

    Args:
        seeds: the replicates that the shares are estimated from.
        order_seeds: the replicates that decide the order; none of `seeds`.
        margin: a remaining gap within it ends the path, in the metric's unit.
        directions: from which ends.
    """

    name = "path"

    def __init__(
        self,
        deviations: Sequence[StudiedDeviation],
        *,
        seeds: Sequence[int],
        order_seeds: Sequence[int],
        margin: float,
        directions: Sequence[Direction] = DIRECTIONS,
    ) -> None:
        super().__init__(deviations, seeds=seeds, order_seeds=order_seeds, margin=margin)
        self.directions = tuple(directions)

    def state(self, outcomes: Outcomes, direction: Direction) -> PathState:
        """Follows a path as far as the outcomes of `order_seeds` tell."""
        start, end = (
            (self.user, self.reference) if direction == "from_user" else (self.reference, self.user)
        )
        asked: dict[Combination, None] = dict.fromkeys((start, end))
        steps: list[tuple[int, ...]] = []
        here = start
        left = tuple(range(self.count))
        while left:
            ends = self._order_means(outcomes, (here, start, end))
            if ends is None:
                return PathState(direction, tuple(steps), here, tuple(asked), done=False)
            if abs(ends[end] - ends[here]) <= self.margin or len(left) == 1:
                steps.append(left)
                return PathState(direction, tuple(steps), end, tuple(asked), done=True)
            moves = {index: moved(here, [index], end[index]) for index in left}
            asked.update(dict.fromkeys(moves.values()))
            means = self._order_means(outcomes, tuple(moves.values()))
            if means is None:
                return PathState(direction, tuple(steps), here, tuple(asked), done=False)
            towards = 1.0 if ends[end] >= ends[start] else -1.0
            best = max(left, key=lambda index: towards * means[moves[index]])
            steps.append((best,))
            here = moves[best]
            left = tuple(index for index in left if index != best)
        return PathState(direction, tuple(steps), here, tuple(asked), done=True)

    def planned(self, outcomes: Outcomes) -> Mapping[Combination, Seeds]:
        """The cells of the order so far, and once a path is done its own for the estimates."""
        planned: dict[Combination, Seeds] = {}
        for direction in self.directions:
            state = self.state(outcomes, direction)
            for cell in state.asked:
                planned[cell] = _joined(planned.get(cell, ()), self.order_seeds)
            if state.done:
                for cell in self._cells_of(state):
                    planned[cell] = _joined(planned.get(cell, ()), self.seeds)
        return planned

    def price(self) -> Price:
        """From a path that ends after one round to one that tries everything."""
        k, ways = self.count, len(self.directions)
        # With two deviations, the cells of one way are those of the other.
        cells_max = min(2 + ways * (k * (k + 1) // 2 - 1), 2**k)
        on_path_max = min(2 + ways * (k - 1), cells_max)
        estimates, orders = len(self.seeds), len(self.order_seeds)
        return Price(
            cells_min=2,
            cells_max=cells_max,
            trials_min=2 * (orders + estimates),
            trials_max=cells_max * orders + on_path_max * estimates,
        )

    def effects(self, outcomes: Outcomes) -> tuple[EffectDefinition, ...]:
        """The gap, and the shares of every path that is done; shares sum to the gap on each."""
        found = [gap_effect(self.deviations)]
        for direction in self.directions:
            state = self.state(outcomes, direction)
            if state.done:
                start = self.user if direction == "from_user" else self.reference
                family = f"path {direction}"
                found += path_effects(self.deviations, state.steps, start=start, family=family)
        return tuple(found)

    def describe(self) -> str:
        """What it tells."""
        return (
            "the gap in steps, the largest first; a share depends on what was moved before it, and "
            f"the order is that of {len(self.order_seeds)} replicate(s) of its own"
        )

    def _cells_of(self, state: PathState) -> list[Combination]:
        here = self.user if state.direction == "from_user" else self.reference
        level = 0 if state.direction == "from_user" else 1
        cells = [here]
        for step in state.steps:
            here = moved(here, step, level)
            cells.append(here)
        return cells

    def _order_means(
        self, outcomes: Outcomes, cells: Sequence[Combination]
    ) -> dict[Combination, float] | None:
        """The mean of each cell over `order_seeds`, None where one is missing."""
        if any(outcomes.missing(cell, self.order_seeds) for cell in cells):
            return None
        return {cell: outcomes.mean(cell, self.order_seeds) for cell in cells}


def _joined(one: Seeds, other: Seeds) -> Seeds:
    return tuple(sorted({*one, *other}))
