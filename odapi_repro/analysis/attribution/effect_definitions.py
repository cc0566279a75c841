"""Deviations, the cells of a study, and what an effect is in terms of them.

All effects are user's level minus reference's level, so that a deviation that costs AP is negative,
and the effect of all deviations together is the gap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import pandas as pd

from odapi_repro.analysis.trial_table import (
    AP_OR_0,
    GIVEN_CONVERGENCE,
    Estimand,
    check_trials,
    outcomes,
)

# --- Deviations as a study varies them, combinations of their levels, and what was measured there
# ---


Combination: TypeAlias = tuple[int, ...]
"""A cell: the level of each deviation, in their order; 0 is the reference's, 1 the user's, and
above are levels between them or beyond, which only a grid has."""


@dataclass(frozen=True)
class StudiedDeviation:
    """One deviation as a study varies it: factors that move together are one deviation.

    Attributes:
        name: in tables; a factor's name, or that of the group.
        levels: each a mapping of factor to label; the reference's first, then the user's, then
            any others.
    """

    name: str
    levels: tuple[Mapping[str, str], ...]

    def __post_init__(self) -> None:
        if len(self.levels) < 2:
            raise ValueError(f"{self.name}: needs the reference's and the user's level")
        factors = list(self.levels[0])
        if not factors or any(list(level) != factors for level in self.levels):
            raise ValueError(f"{self.name}: its levels name different factors: {self.levels}")
        if len({tuple(level.values()) for level in self.levels}) != len(self.levels):
            raise ValueError(f"{self.name}: a level appears twice in {self.levels}")

    @staticmethod
    def of(factor: str, reference: str, user: str, *others: str) -> StudiedDeviation:
        """The deviation of a single factor, which has the factor's name."""
        labels = (reference, user, *others)
        return StudiedDeviation(factor, tuple({factor: label} for label in labels))

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors that it moves."""
        return tuple(self.levels[0])

    def label(self, level: int) -> str:
        """What a table calls a level: the factor's label, or the end at which a group stands."""
        labels = list(self.levels[level].values())
        if len(labels) == 1:
            return labels[0]
        ends = {0: "reference", 1: "user"}
        return ends.get(level, " ".join(f"{k}={v}" for k, v in self.levels[level].items()))


@dataclass(frozen=True)
class Outcome:
    """What one trial counts for.

    Attributes:
        value: the metric; for a diverged trial 0, or NaN where it cannot count for 0.
        diverged: whether it diverged.
    """

    value: float
    diverged: bool = False


@dataclass(frozen=True)
class Outcomes:
    """What was measured: cells, replicates and their outcomes, for one metric.

    Attributes:
        deviations: in the order of the levels of each combination.
        by_cell: combination -> seed -> outcome, of the trials that finished.
        same: combination -> the one whose trainings it shares, because both render to the same
            pipeline (a deviation that is inert at that level). Its replicates are those of the
            other, and they are not counted twice.
        left_out: combination -> trials that failed, were interrupted or have not run.
        metric: what the values are.
    """

    deviations: tuple[StudiedDeviation, ...]
    by_cell: Mapping[Combination, Mapping[int, Outcome]] = field(default_factory=dict)
    same: Mapping[Combination, Combination] = field(default_factory=dict)
    left_out: Mapping[Combination, int] = field(default_factory=dict)
    metric: str = "AP"

    def canonical(self, combination: Combination) -> Combination:
        """The combination whose trainings this one shares; itself where there is no other."""
        return self.same.get(combination, combination)

    def replicates(self, combination: Combination) -> Mapping[int, Outcome]:
        """Seed -> outcome of a cell; empty where nothing has finished."""
        return self.by_cell.get(self.canonical(combination), {})

    def missing(self, combination: Combination, seeds: Iterable[int]) -> tuple[int, ...]:
        """Those of the seeds that have not finished in a cell."""
        done = self.replicates(combination)
        return tuple(seed for seed in seeds if seed not in done)

    def sample(self, combination: Combination, estimand: Estimand = AP_OR_0) -> tuple[float, ...]:
        """The values of a cell that count, in the order of their seeds.

        `ap_or_0` has a diverged trial as 0; `given_convergence` leaves it out.
        """
        found = self.replicates(combination)
        return tuple(
            found[seed].value
            for seed in sorted(found)
            if not math.isnan(found[seed].value)
            and not (estimand == GIVEN_CONVERGENCE and found[seed].diverged)
        )

    def mean(self, combination: Combination, seeds: Collection[int]) -> float:
        """The mean of these replicates of a cell, all of which have finished, AP or 0."""
        found = self.replicates(combination)
        return math.fsum(found[seed].value for seed in seeds) / len(seeds)

    def diverged(self, combination: Combination) -> int:
        """How many replicates of a cell diverged."""
        return self._diverged.get(self.canonical(combination), 0)

    @cached_property
    def diverged_cells(self) -> frozenset[Combination]:
        """The cells in which a replicate diverged."""
        return frozenset(self._diverged)

    @cached_property
    def _diverged(self) -> dict[Combination, int]:
        counts = {
            cell: sum([one.diverged for one in found.values()])
            for cell, found in self.by_cell.items()
        }
        return {cell: count for cell, count in counts.items() if count}

    def restricted(self, seeds: Mapping[Combination, Collection[int]]) -> Outcomes:
        """Only these replicates of these cells, as if nothing else had been run."""
        kept: dict[Combination, dict[int, Outcome]] = {}
        for combination, wanted in seeds.items():
            found = self.replicates(combination)
            cell = kept.setdefault(self.canonical(combination), {})
            cell.update({seed: found[seed] for seed in wanted if seed in found})
        kept = {combination: cell for combination, cell in kept.items() if cell}
        return Outcomes(self.deviations, kept, self.same, self.left_out, self.metric)


def check_deviations(deviations: Sequence[StudiedDeviation]) -> None:
    """Refuses deviations that cannot be varied independently.

    Raises:
        ValueError: none, two of one name, or a factor that two of them move.
    """
    if not deviations:
        raise ValueError("no deviations")
    for what, names in (
        ("deviation", [one.name for one in deviations]),
        ("factor", [factor for one in deviations for factor in one.factors]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the same {what} twice: {twice}")


def at_reference(count: int) -> Combination:
    """The cell in which all of `count` deviations stand at the reference's level."""
    return (0,) * count


def at_user(count: int) -> Combination:
    """The cell in which all of `count` deviations stand at the user's level."""
    return (1,) * count


def corners(count: int) -> list[Combination]:
    """All 2^count cells of the reference's and the user's levels, the reference first."""
    return [tuple(reversed(one)) for one in itertools.product((0, 1), repeat=count)]


def moved(combination: Combination, indices: Iterable[int], level: int) -> Combination:
    """The combination with the deviations at `indices` set to `level`."""
    moving = set(indices)
    return tuple(level if i in moving else at for i, at in enumerate(combination))


def labels_of(deviations: Sequence[StudiedDeviation], combination: Combination) -> dict[str, str]:
    """Factor -> label of a cell."""
    return {
        factor: label
        for deviation, level in zip(deviations, combination, strict=True)
        for factor, label in deviation.levels[level].items()
    }


def outcomes_of(
    trials: pd.DataFrame,
    deviations: Sequence[StudiedDeviation],
    *,
    metric: str = "AP",
    held: Mapping[str, str] | None = None,
    same: Mapping[Combination, Combination] | None = None,
) -> Outcomes:
    """The outcomes of the trials that are cells of these deviations; others are passed over.

    Args:
        trials: the table of trials of any studies; see `odapi_repro.analysis.trial_table`.
        deviations: what is varied.
        metric: a column of the table.
        held: factor -> label of further columns at which a trial has to stand to count.
        same: see `Outcomes`.

    Raises:
        ValueError: the table lacks a column, or holds a trial or a replicate twice.
    """
    check_deviations(deviations)
    held = held or {}
    factors = [factor for deviation in deviations for factor in deviation.factors]
    check_trials(trials, [*factors, *held])
    counted = outcomes(trials, metric, AP_OR_0)
    places = {
        (index, tuple(level[factor] for factor in deviation.factors)): place
        for index, deviation in enumerate(deviations)
        for place, level in enumerate(deviation.levels)
    }
    same = same or {}
    by_cell: dict[Combination, dict[int, Outcome]] = {}
    left_out: dict[Combination, int] = {}
    columns = {name: [str(label) for label in trials[name]] for name in [*factors, *held]}
    rows = zip(trials["seed"], trials["status"], counted, strict=True)
    for row, (seed, status, value) in enumerate(rows):
        found = [
            places.get((index, tuple(columns[factor][row] for factor in deviation.factors)))
            for index, deviation in enumerate(deviations)
        ]
        if any(columns[name][row] != label for name, label in held.items()):
            continue
        combination = tuple(place for place in found if place is not None)
        if len(combination) < len(found):
            continue
        combination = same.get(combination, combination)
        if status in ("succeeded", "diverged"):
            outcome = Outcome(float(value), status == "diverged")
            by_cell.setdefault(combination, {})[int(seed)] = outcome
        else:
            left_out[combination] = left_out.get(combination, 0) + 1
    return Outcomes(tuple(deviations), by_cell, same, left_out, metric)


# --- What an effect is: a name and the weight of each cell's mean ---


Kind = Literal[
    "gap",
    "from_reference",
    "from_user",
    "both_ends",
    "disagreement",
    "path_share",
    "restored_share",
    "main_effect",
    "interaction",
    "shapley_value",
    "shapley_interaction",
    "rest",
]


@dataclass(frozen=True)
class Alias:
    """What a fractional design cannot tell from an effect.

    Attributes:
        deviations: the interaction, by the names of its deviations.
        coefficient: how much of it is in the estimate; an interaction of two is a difference of
            differences, one of three the difference of two such, and so on.
    """

    deviations: tuple[str, ...]
    coefficient: float


@dataclass(frozen=True)
class EffectDefinition:
    """One effect as a linear combination of the means of cells.

    Attributes:
        kind: what sort of effect; see `docs/statistics.md`.
        deviations: the names of those it belongs to.
        from_level, to_level: labels of what is compared; the effect is `to` minus `from`.
        weights: of the mean of each cell; no zeros.
        family: effects of one family are judged together.
        primary: whether it answers the design's question: a race is run for these.
        context: where the other deviations stand meanwhile, for the table.
        aliases: what it cannot be told from.
        draws: weights of each independent random draw, of which `weights` is the mean; empty for
            what is not sampled.
        population: how many different draws there are.
    """

    kind: Kind
    deviations: tuple[str, ...]
    from_level: str
    to_level: str
    weights: Mapping[Combination, float]
    family: str
    primary: bool = False
    context: str = ""
    aliases: tuple[Alias, ...] = ()
    draws: tuple[Mapping[Combination, float], ...] = ()
    population: float = math.inf

    @property
    def name(self) -> str:
        """What tables call it: the deviations, joined by ` x ` for an interaction, else ` + `."""
        crossed = self.kind in ("interaction", "shapley_interaction")
        return (" x " if crossed else " + ").join(self.deviations)


def combined(
    parts: Iterable[tuple[float, Mapping[Combination, float]]],
) -> dict[Combination, float]:
    """The weighted sum of weights, without cells that cancel."""
    total: dict[Combination, float] = {}
    for factor, weights in parts:
        for combination, weight in weights.items():
            total[combination] = total.get(combination, 0.0) + factor * weight
    return {combination: weight for combination, weight in total.items() if abs(weight) > 1e-12}


def difference(to: Combination, start: Combination) -> dict[Combination, float]:
    """The weights of one cell minus another."""
    return combined([(1.0, {to: 1.0}), (-1.0, {start: 1.0})])


def gap_effect(deviations: Sequence[StudiedDeviation]) -> EffectDefinition:
    """The user's config minus the reference: what the effects of a design share out."""
    count = len(deviations)
    return EffectDefinition(
        kind="gap",
        deviations=tuple(one.name for one in deviations),
        from_level="reference",
        to_level="user",
        weights=difference(at_user(count), at_reference(count)),
        family="gap",
    )


def both_ends_effects(deviations: Sequence[StudiedDeviation]) -> tuple[EffectDefinition, ...]:
    """One factor at a time from both ends: each deviation's effect at either, and their mean.

    `from_reference` adds the deviation to the reference, `from_user` takes it out of the user's
    config, `both_ends` is the mean of the two, `disagreement` is `from_user` minus
    `from_reference`: it is not 0 where the deviation interacts with the others.
    """
    count = len(deviations)
    reference, user = at_reference(count), at_user(count)
    found = []
    for index, deviation in enumerate(deviations):
        low = difference(moved(reference, [index], 1), reference)
        high = difference(user, moved(user, [index], 0))
        rows: tuple[tuple[Kind, dict[Combination, float], str], ...] = (
            ("both_ends", combined([(0.5, low), (0.5, high)]), "mean of both ends"),
            ("from_reference", low, "others at the reference's level"),
            ("from_user", high, "others at the user's level"),
            ("disagreement", combined([(1.0, high), (-1.0, low)]), "from_user - from_reference"),
        )
        for kind, weights, context in rows:
            if weights:
                found.append(
                    EffectDefinition(
                        kind=kind,
                        deviations=(deviation.name,),
                        from_level=deviation.label(0),
                        to_level=deviation.label(1),
                        weights=weights,
                        family=kind,
                        primary=kind == "both_ends",
                        context=context,
                    )
                )
    return tuple(found)


def path_effects(
    deviations: Sequence[StudiedDeviation],
    steps: Sequence[Sequence[int]],
    *,
    start: Combination,
    kind: Kind = "path_share",
    family: str = "path",
) -> tuple[EffectDefinition, ...]:
    """The share of each step of a path from one end to the other; the shares sum to the gap.

    Args:
        deviations: all of them.
        steps: indices of the deviations that move in each step.
        start: where the path begins, the reference's or the user's end.
        kind, family: of the effects.
    """
    adding = start == at_reference(len(deviations))
    found = []
    before: list[str] = []
    here = start
    for step in steps:
        there = moved(here, step, 1 if adding else 0)
        names = tuple(deviations[index].name for index in step)
        single = deviations[step[0]] if len(step) == 1 else None
        verb = "added" if adding else "mended"
        found.append(
            EffectDefinition(
                kind=kind,
                deviations=names,
                from_level=single.label(0) if single else "reference",
                to_level=single.label(1) if single else "user",
                weights=difference(there, here) if adding else difference(here, there),
                family=family,
                primary=True,
                context=f"after {', '.join(before)} {verb}" if before else f"{verb} first",
            )
        )
        before += names
        here = there
    return tuple(found)


def level_effects(
    deviations: Sequence[StudiedDeviation], cells: Sequence[Combination]
) -> tuple[EffectDefinition, ...]:
    """The effect of every level of a grid against the reference's, averaged over the others.

    Args:
        deviations: all of them.
        cells: the grid: every combination of levels.
    """
    found = []
    for index, deviation in enumerate(deviations):
        share = len(deviation.levels) / len(cells)
        for level in range(1, len(deviation.levels)):
            sign = {level: share, 0: -share}
            found.append(
                EffectDefinition(
                    kind="main_effect",
                    deviations=(deviation.name,),
                    from_level=deviation.label(0),
                    to_level=deviation.label(level),
                    weights={c: sign[c[index]] for c in cells if c[index] in sign},
                    family="main_effect",
                    primary=True,
                    context="mean over the levels of the others",
                )
            )
    return tuple(found)
