"""Racing: replicates are added where an effect is not decided yet.

Optional stopping, made sound by three rules. There are few looks, fixed beforehand. At each of them
the verdicts are taken at O'Brien and Fleming's level, strict at first and almost the whole 5 % at
the last look, so that over all looks a null effect is called significant in 5 %, and Holm's
adjustment holds over the effects at every look. What is undecided gets its next replicates with all
the cells that it is made of.

An effect stops where it looks large, so that one on the brink of a decision is estimated too large,
by up to a seventh of its standard error; intervals keep their level all the same
(benchmarks/coverage_attribution.py measures both).

A cell is never dropped, and no training is cut short by its curve: a slow warm-up would be taken
for a bad config.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from odapi_repro.analysis.attribution import (
    Attribution,
    Combination,
    EffectDefinition,
    Outcomes,
    attributions,
    labels_of,
)
from odapi_repro.features.explain.designs.design_base import Design, Seeds, WantedCell

RACE_CONFIDENCE: Final = 0.95
"""At which a race computes the intervals that it states as 95 %: with a boundary that is strict
early, stopping costs them nothing that could be measured."""

_BOUNDARY: Final = 0.0
"""Shape of the boundary: O'Brien and Fleming's."""

_DECIDED = frozenset({"gain", "loss", "equivalent"})

Reason = Literal["waiting", "decided", "looks", "budget"]


# Gauss and Legendre's, on -1 to 1: enough for steps of a fiftieth of the range.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)


def look_levels(
    replicates: Sequence[int], *, alpha: float = 0.05, shape: float = 0.0
) -> tuple[float, ...]:
    """The two-sided level of the test at each look that makes it `alpha` over all of them.

    Three evenly spaced looks at 0.05 are at 0.0005, 0.0141 and 0.0451; with shape 1/2 each is at
    0.0221.

    Args:
        replicates: how many there are of each cell at each look, increasing.
        alpha: level over all looks, between 0 and 1.
        shape: 0 (O'Brien and Fleming) to 1/2 (Pocock).

    Raises:
        ValueError: no look, or numbers that do not increase.
    """
    counts = tuple(replicates)
    if not counts or counts[0] < 1 or any(b <= a for a, b in itertools.pairwise(counts)):
        raise ValueError(f"replicates at each look must increase: {counts}")
    return _levels(counts, alpha, shape)


@lru_cache(maxsize=64)
def _levels(replicates: tuple[int, ...], alpha: float, shape: float) -> tuple[float, ...]:
    rising = [(n / replicates[-1]) ** (shape - 0.5) for n in replicates]
    low, high = -float(special.ndtri(alpha / 2)), 8.0
    for _ in range(48):
        middle = (low + high) / 2
        crossing = _crossing(replicates, [middle * one for one in rising])
        low, high = (middle, high) if crossing > alpha else (low, middle)
    return tuple(2 * float(special.ndtr(-high * one)) for one in rising)


def _crossing(replicates: tuple[int, ...], bounds: Sequence[float]) -> float:
    """The chance that a standardised normal sum leaves +-bound at any of the looks."""
    reach = bounds[0] * math.sqrt(replicates[0])
    grid, weights = reach * _NODES, reach * _WEIGHTS
    density = _normal(grid, replicates[0])
    for (before, after), bound in zip(itertools.pairwise(replicates), bounds[1:], strict=True):
        reach = bound * math.sqrt(after)
        onto = reach * _NODES
        density = _normal(onto[:, None] - grid, after - before) @ (density * weights)
        grid, weights = onto, reach * _WEIGHTS
    return 1.0 - float((density * weights).sum())


def _normal(value: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    density: NDArray[np.float64] = np.exp(-(value**2) / (2 * variance))
    return density / math.sqrt(2 * math.pi * variance)


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
        level: of the tests at that look, from which the verdicts are taken.
    """

    looks: int
    seeds: Mapping[Combination, Seeds]
    wanted: tuple[WantedCell, ...]
    added: int
    reason: Reason
    undecided: tuple[str, ...]
    level: float


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
        look_levels(self.replicates)
        if self.replicates[0] < 2:
            raise ValueError(f"a race begins with at least two replicates: {self.replicates}")

    @property
    def levels(self) -> tuple[float, ...]:
        """Of the tests at each look."""
        return look_levels(self.replicates, shape=_BOUNDARY)

    @property
    def level(self) -> float:
        """Of the tests at the last look."""
        return self.levels[-1]

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
        levels = self.levels
        own, planned = design.next_cells(outcomes), design.planned(outcomes)
        if own:
            begun = dict.fromkeys(planned, design.seeds)
            return RaceState(0, begun, own, 0, "waiting", (), levels[0])
        effects = design.effects(outcomes)
        cells = {outcomes.canonical(cell) for one in effects for cell in one.weights}
        seeds: dict[Combination, Seeds] = dict.fromkeys(sorted(cells), design.seeds)
        ladder = self._ladder(design)
        added = 0
        for look, level in enumerate(levels, start=1):
            evidence = evidence_of(planned, seeds, outcomes)
            undecided = self._undecided(effects, outcomes.restricted(seeds), evidence, level)
            names = tuple(one.name for _, one in undecided)
            if not undecided:
                return RaceState(look, seeds, (), added, "decided", (), level)
            if look == len(levels):
                break
            given = ladder[: self.replicates[look]]
            cost = self._raise(undecided, seeds, given, outcomes, added)
            if not cost:
                return RaceState(look, seeds, (), added, "budget", names, level)
            added += cost
            wanted = _missing(design, outcomes, seeds)
            if wanted:
                return RaceState(look, seeds, wanted, added, "waiting", names, level)
        return RaceState(len(levels), seeds, (), added, "looks", names, self.level)

    def _undecided(
        self,
        effects: Sequence[EffectDefinition],
        outcomes: Outcomes,
        evidence: Outcomes,
        level: float,
    ) -> list[tuple[float, EffectDefinition]]:
        """The effects that answer the design's question and are not decided, with their p-value."""
        primary = [one for one in effects if one.primary]
        rows = attributions(
            primary,
            outcomes,
            margin=self.margin,
            confidence=RACE_CONFIDENCE,
            alpha=level,
            cells=[cell for one in effects for cell in one.weights],
            evidence=evidence,
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


def evidence_of(
    planned: Mapping[Combination, Seeds], seeds: Mapping[Combination, Seeds], outcomes: Outcomes
) -> Outcomes:
    """The outcomes of all replicates that a design and its race have asked for.

    Args:
        planned: by the design.
        seeds: that the race has given each cell.
        outcomes: of all trials that have finished.
    """
    asked = dict(planned)
    for cell, given in seeds.items():
        asked[cell] = (*asked.get(cell, ()), *given)
    return outcomes.restricted(asked)


def _missing(
    design: Design, outcomes: Outcomes, seeds: Mapping[Combination, Seeds]
) -> tuple[WantedCell, ...]:
    return tuple(
        WantedCell(cell, labels_of(design.deviations, cell), missing)
        for cell, given in seeds.items()
        if (missing := outcomes.missing(cell, given))
    )


@dataclass(frozen=True)
class DesignResult:
    """What a design says as its trials stand.

    Attributes:
        rows: the attributions, the gap first; cells that lack data have rows without estimates.
        wanted: trials that it still waits for; none when it is done.
        race: where its race stands, None without one.
    """

    rows: tuple[Attribution, ...]
    wanted: tuple[WantedCell, ...]
    race: RaceState | None


def attribute(
    design: Design,
    outcomes: Outcomes,
    *,
    margin: float = 0.5,
    race: Race | None = None,
    simultaneous: bool = False,
) -> DesignResult:
    """The attributions of a design, from the replicates that it and its race asked for.

    Args:
        design: that chose the cells.
        outcomes: of all trials that have finished.
        margin: half-width of equivalence, in the metric's unit; a race has its own.
        race: the policy that added replicates, if one did.
        simultaneous: whether the intervals of a family hold jointly.
    """
    if race is None:
        rows = attributions(
            design.effects(outcomes),
            design.counted(outcomes),
            margin=margin,
            simultaneous=simultaneous,
            evidence=design.evidence(outcomes),
        )
        return DesignResult(rows, design.next_cells(outcomes), None)
    state = race.state(design, outcomes)
    rows = attributions(
        design.effects(outcomes),
        outcomes.restricted(state.seeds),
        margin=race.margin,
        confidence=RACE_CONFIDENCE,
        alpha=state.level,
        simultaneous=simultaneous,
        evidence=evidence_of(design.planned(outcomes), state.seeds, outcomes),
    )
    return DesignResult(rows, state.wanted, state)
