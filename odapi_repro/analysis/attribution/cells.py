"""Deviations as a study varies them, combinations of their levels, and what was measured there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import pandas as pd

from odapi_repro.analysis.cells import AP_OR_0, GIVEN_CONVERGENCE, Estimand, outcomes
from odapi_repro.analysis.trials import check_trials

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
        trials: the table of trials of any studies; see `odapi_repro.analysis.trials`.
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
