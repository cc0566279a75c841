"""Racing: replicates are added where an effect is not decided yet.

Optional stopping, made sound by three rules. There are few looks, fixed beforehand. At each of them
the verdicts are taken at Pocock's level, so that over all looks a null effect is called significant
in 5 %, and Holm's adjustment holds over the effects at every look. The intervals at the end are
computed at 95.5 %: an effect stops where it looks large or small, which costs a 95 % interval up to
a percent of its level (benchmarks/coverage_attribution.py measures it).

A cell is never dropped, and no training is cut short by its curve: a slow warm-up would be taken
for a bad config.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from odapi_repro.analysis.attribution import (
    Combination,
    EffectDefinition,
    Outcomes,
    attributions,
    labels_of,
)
from odapi_repro.analysis.sequential import pocock_level
from odapi_repro.study.designs.base import Design, Seeds, WantedCell

__all__ = ["RACE_CONFIDENCE", "Race", "RaceState", "trials_within"]

RACE_CONFIDENCE: Final = 0.955
"""At which a race computes the intervals that it states as 95 %."""

_DECIDED = frozenset({"gain", "loss", "equivalent"})

Reason = Literal["waiting", "decided", "looks", "budget"]


@dataclass(frozen=True)
class RaceState:
    """Where a race stands.

    Attributes:
        looks: how many looks have been taken, the first among them.
        seeds: the replicates that each cell has been given.
        wanted: the trials that it waits for; none when it is over.
        added: trials beyond the design's own that it has asked for.
        reason: `waiting` for trials, or why it is over: everything `decided`, `looks` used up, or
            no `budget` for another effect.
        undecided: the names of the effects that were not decided at the last look.
    """

    looks: int
    seeds: Mapping[Combination, Seeds]
    wanted: tuple[WantedCell, ...]
    added: int
    reason: Reason
    undecided: tuple[str, ...]


@dataclass(frozen=True)
class Race:
    """A policy that adds replicates.

    Attributes:
        replicates: of a cell at each look; the first is what the design itself has.
        margin: half-width of equivalence, in the metric's unit.
        max_trials: beyond the design's own; None for as many as the looks allow.
    """

    replicates: tuple[int, ...] = (3, 5, 8)
    margin: float = 0.5
    max_trials: int | None = None

    def __post_init__(self) -> None:
        pocock_level(self.replicates)
        if self.replicates[0] < 2:
            raise ValueError(f"a race begins with at least two replicates: {self.replicates}")

    @property
    def level(self) -> float:
        """Of the tests at each look."""
        return pocock_level(self.replicates)

    def next_replicates(self, design: Design, outcomes: Outcomes) -> tuple[WantedCell, ...]:
        """The trials that are still wanted: the design's own first, then what the race adds."""
        return design.next_cells(outcomes) or self.state(design, outcomes).wanted

    def state(self, design: Design, outcomes: Outcomes) -> RaceState:
        """Replays the race from its first look, as far as the outcomes tell.

        Raises:
            ValueError: the design has another number of replicates than the first look.
        """
        if len(design.seeds) != self.replicates[0]:
            raise ValueError(
                f"the race begins with {self.replicates[0]} replicates, the design has "
                f"{len(design.seeds)}"
            )
        own = design.next_cells(outcomes)
        if own:
            planned = dict.fromkeys(design.planned(outcomes), design.seeds)
            return RaceState(0, planned, own, 0, "waiting", ())
        effects = design.effects(outcomes)
        cells = {outcomes.canonical(cell) for one in effects for cell in one.weights}
        seeds: dict[Combination, Seeds] = dict.fromkeys(sorted(cells), design.seeds)
        ladder = self._ladder(design)
        added = 0
        for look in range(1, len(self.replicates)):
            undecided = self._undecided(effects, outcomes.restricted(seeds))
            names = tuple(one.name for _, one in undecided)
            if not undecided:
                return RaceState(look, seeds, (), added, "decided", ())
            given = ladder[: self.replicates[look]]
            cost = self._raise(undecided, seeds, given, outcomes, added)
            if not cost:
                return RaceState(look, seeds, (), added, "budget", names)
            added += cost
            wanted = _missing(design, outcomes, seeds)
            if wanted:
                return RaceState(look, seeds, wanted, added, "waiting", names)
        undecided = self._undecided(effects, outcomes.restricted(seeds))
        names = tuple(one.name for _, one in undecided)
        reason: Reason = "looks" if undecided else "decided"
        return RaceState(len(self.replicates), seeds, (), added, reason, names)

    def _undecided(
        self, effects: Sequence[EffectDefinition], outcomes: Outcomes
    ) -> list[tuple[float, EffectDefinition]]:
        """The effects that answer the design's question and are not decided, with their p-value."""
        primary = [one for one in effects if one.primary]
        rows = attributions(
            primary,
            outcomes,
            margin=self.margin,
            confidence=RACE_CONFIDENCE,
            alpha=self.level,
            cells=[cell for one in effects for cell in one.weights],
        )
        # AP-or-0 comes first: it is what a decision is about.
        return [
            (row.p_value, one)
            for row, one in zip(rows, primary, strict=False)
            if row.verdict not in _DECIDED
        ]

    def _ladder(self, design: Design) -> Seeds:
        """The seeds in the order in which a cell is given them, the design's own first."""
        fresh = itertools.count(max(design.all_seeds) + 1)
        more = itertools.islice(fresh, self.replicates[-1] - len(design.seeds))
        return (*design.seeds, *more)

    def _raise(
        self,
        undecided: list[tuple[float, EffectDefinition]],
        seeds: dict[Combination, Seeds],
        given: Seeds,
        outcomes: Outcomes,
        added: int,
    ) -> int:
        """Gives the cells of the undecided effects their next replicates; how many trials it adds.

        The effects nearest to a decision come first, and one that the budget cannot pay is left.
        """
        left = math.inf if self.max_trials is None else self.max_trials - added
        spent = 0
        for _, one in sorted(undecided, key=lambda pair: (math.isnan(pair[0]), pair[0])):
            cells = {outcomes.canonical(cell) for cell in one.weights}
            cost = sum(max(0, len(given) - len(seeds[cell])) for cell in cells)
            if not cost or spent + cost > left:
                continue
            for cell in cells:
                seeds[cell] = max(seeds[cell], given, key=len)
            spent += cost
        return spent


def trials_within(hours: float, *, hours_per_trial: float) -> int:
    """How many trials a number of hours pays; to be found once, when a study is planned.

    Args:
        hours: of the budget.
        hours_per_trial: expected, above 0.
    """
    return int(hours / hours_per_trial)


def _missing(
    design: Design, outcomes: Outcomes, seeds: Mapping[Combination, Seeds]
) -> tuple[WantedCell, ...]:
    return tuple(
        WantedCell(cell, labels_of(design.deviations, cell), missing)
        for cell, given in seeds.items()
        if (missing := outcomes.missing(cell, given))
    )
