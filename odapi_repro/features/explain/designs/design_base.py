"""What all designs that explain a gap have in common: which cells they still want, and their price.

A design never runs anything. It is asked `next_cells(outcomes)` and answers from the outcomes alone
which trials it still wants; when there are none, it is done. Nothing else is remembered, so that a
study that was interrupted between any two trials goes on as if it had not been. A design looks only
at the replicates that it asked for: what other studies ran beyond them changes neither its next
cells nor its estimates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from odapi_repro.analysis.attribution import (
    Combination,
    EffectDefinition,
    Outcomes,
    StudiedDeviation,
    at_reference,
    at_user,
    check_deviations,
    labels_of,
)
from odapi_repro.analysis.intervals import smallest_effect
from odapi_repro.errors import UserError

Seeds = tuple[int, ...]


@dataclass(frozen=True)
class WantedCell:
    """A cell that a design still wants trials of.

    Attributes:
        combination: the level of each deviation.
        labels: factor -> label.
        seeds: of the replicates that are missing, in order.
    """

    combination: Combination
    labels: Mapping[str, str]
    seeds: Seeds


@dataclass(frozen=True)
class Price:
    """What a design takes, from its luckiest to its unluckiest course.

    Attributes:
        cells_min, cells_max: different cells.
        trials_min, trials_max: trials, those that other studies have run counted too.
    """

    cells_min: int
    cells_max: int
    trials_min: int
    trials_max: int

    def __str__(self) -> str:
        return f"{_span(self.trials_min, self.trials_max)} trials of {self.cells_text}"

    @property
    def cells_text(self) -> str:
        """The number of cells, or from how many to how many."""
        return f"{_span(self.cells_min, self.cells_max)} cells"


class Design(ABC):
    """A way to choose the cells that share a gap among deviations.

    Attributes:
        name: as on the command line.
        deviations: what is varied, in an order that never changes during a study.
        seeds: the replicates that effects are estimated from.
    """

    name: ClassVar[str]

    def __init__(self, deviations: Sequence[StudiedDeviation], *, seeds: Sequence[int]) -> None:
        check_deviations(deviations)
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds must be different and at least one: {tuple(seeds)}")
        self.deviations = tuple(deviations)
        self.seeds = tuple(seeds)

    @property
    def count(self) -> int:
        """How many deviations there are."""
        return len(self.deviations)

    @property
    def all_seeds(self) -> Seeds:
        """Every replicate that it may ask for."""
        return self.seeds

    @property
    def reference(self) -> Combination:
        """The cell of the reference."""
        return at_reference(self.count)

    @property
    def user(self) -> Combination:
        """The cell of the user's config."""
        return at_user(self.count)

    @abstractmethod
    def planned(self, outcomes: Outcomes) -> Mapping[Combination, Seeds]:
        """The cells that are needed as far as the outcomes tell, with their replicates.

        More outcomes never take anything out of it.
        """

    @abstractmethod
    def price(self) -> Price:
        """The fewest and the most cells and trials that it can come to."""

    @abstractmethod
    def effects(self, outcomes: Outcomes) -> tuple[EffectDefinition, ...]:
        """What is estimated, the gap first, as far as the outcomes tell."""

    @abstractmethod
    def describe(self) -> str:
        """One sentence about what it can and cannot tell, for the plan and the report."""

    def typical_effect(self) -> Collection[float]:
        """The weights of one of the effects that answer its question, before anything is run."""
        return (-1.0, 1.0)

    def next_cells(self, outcomes: Outcomes) -> tuple[WantedCell, ...]:
        """The trials that are still wanted; none when the design is done.

        Args:
            outcomes: of the trials that have finished, those of other studies among them.
        """
        wanted: dict[Combination, WantedCell] = {}
        for combination, seeds in self.planned(outcomes).items():
            missing = outcomes.missing(combination, seeds)
            if not missing:
                continue
            # Cells that amount to the same training are run once.
            canonical = outcomes.canonical(combination)
            before = wanted[canonical].seeds if canonical in wanted else ()
            wanted[canonical] = WantedCell(
                canonical,
                labels_of(self.deviations, canonical),
                tuple(sorted({*before, *missing})),
            )
        return tuple(wanted.values())

    def counted(self, outcomes: Outcomes) -> Outcomes:
        """The outcomes that effects are estimated from: this design's cells and `seeds`."""
        return outcomes.restricted(dict.fromkeys(self.planned(outcomes), self.seeds))

    def evidence(self, outcomes: Outcomes) -> Outcomes:
        """All replicates that this design asked for, those that only decide among them."""
        return outcomes.restricted(self.planned(outcomes))

    def smallest_effect(self, sd: float, *, comparisons: int = 1) -> float:
        """The smallest effect that it finds with 80 % power in a test at 0.05.

        Args:
            sd: standard deviation between replicates, in the metric's unit.
            comparisons: how many effects are judged together.
        """
        weights = self.typical_effect()
        return smallest_effect(weights, sd=sd, n=len(self.seeds), comparisons=comparisons)


class DecidingDesign(Design):
    """A design that decides by replicates of its own what is tried next.

    Args:
        seeds: the replicates that the shares are estimated from.
        order_seeds: the replicates that decide; none of `seeds`.
        margin: of what counts as no difference, in the metric's unit. It should be at least twice
            the standard error of a difference of two cells.
    """

    def __init__(
        self,
        deviations: Sequence[StudiedDeviation],
        *,
        seeds: Sequence[int],
        order_seeds: Sequence[int],
        margin: float,
    ) -> None:
        super().__init__(deviations, seeds=seeds)
        if not order_seeds or set(order_seeds) & set(seeds):
            raise ValueError(
                f"a decision needs replicates of its own: {tuple(order_seeds)} and {tuple(seeds)}"
            )
        self.order_seeds = tuple(order_seeds)
        self.margin = margin

    @property
    def all_seeds(self) -> Seeds:
        """Those that decide and those that are estimated from."""
        return (*self.order_seeds, *self.seeds)


def in_rounds(cells: Sequence[WantedCell]) -> list[tuple[WantedCell, int]]:
    """The wanted trials one by one, seed by seed, so that each round is a study of its own."""
    trials = [(cell, seed) for cell in cells for seed in cell.seeds]
    return sorted(trials, key=lambda trial: trial[1])


def check_budget(design: Design, *, trials: int, finished: int = 0) -> None:
    """Refuses a design that a budget cannot pay even on its luckiest course.

    Args:
        design: to be run.
        trials: of the budget.
        finished: trials of the design that have run before, and cost nothing more.

    Raises:
        UserError: with what the design needs.
    """
    price = design.price()
    if price.trials_min > trials + finished:
        raise UserError(
            f"a budget of {trials} trials is too small for {design.name} of {design.count} "
            "deviations",
            expected=f"{price}" + (f", {finished} of which have run" if finished else ""),
            mend="raise --budget, name fewer deviations or group them, use fewer seeds, or choose "
            "a design with fewer cells",
        )


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"
