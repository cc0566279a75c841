"""A closed-form response surface, and studies simulated on it.

AP of a cell is `base` plus the effect of each deviation that stands at the user's level, plus that
of each pair and triple that do together, plus normal noise whose standard deviation is the cell's
own; a training diverges with the cell's own probability, and then counts for 0. So the truth of
every effect is known exactly, with and without divergence.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from odapi_repro.analysis.attribution import (
    Attribution,
    Combination,
    EffectDefinition,
    Outcome,
    Outcomes,
    StudiedDeviation,
    corners,
    shapley_effects,
)
from odapi_repro.study.designs import Design, Race, attribute

NAMES = ("batch", "lr", "warmup", "shards", "augment", "size", "anchors", "decay")


@dataclass(frozen=True)
class ResponseSurface:
    """What training would give, in points.

    Attributes:
        main: the effect of each deviation at the reference; their number is that of deviations.
        crossed: the effect of deviations that stand at the user's level together.
        base: AP of the reference.
        sd: standard deviation between replicates of a cell.
        diverges: probability that a training of a cell diverges.
    """

    main: tuple[float, ...]
    crossed: Mapping[tuple[int, ...], float] = field(default_factory=dict)
    base: float = 35.0
    sd: Callable[[Combination], float] = lambda _: 0.8
    diverges: Callable[[Combination], float] = lambda _: 0.0

    @property
    def deviations(self) -> tuple[StudiedDeviation, ...]:
        return tuple(
            StudiedDeviation.of(name, "reference", "user") for name in NAMES[: len(self.main)]
        )

    def mean(self, cell: Combination) -> float:
        """AP of a training that converges, on average."""
        moved = math.fsum(effect for effect, level in zip(self.main, cell, strict=True) if level)
        together = math.fsum(
            effect
            for indices, effect in self.crossed.items()
            if all(cell[index] for index in indices)
        )
        return self.base + moved + together

    def expected(self, cell: Combination) -> float:
        """AP or 0, on average."""
        return (1 - self.diverges(cell)) * self.mean(cell)

    def truth(self, weights: Mapping[Combination, float], estimand: str = "ap_or_0") -> float:
        """The true value of an effect."""
        values = self._values[estimand]
        return math.fsum(weight * values[cell] for cell, weight in weights.items())

    @cached_property
    def _values(self) -> dict[str, dict[Combination, float]]:
        cells = corners(len(self.main))
        return {
            "ap_or_0": {cell: self.expected(cell) for cell in cells},
            "given_convergence": {cell: self.mean(cell) for cell in cells},
        }

    @cached_property
    def _cells(self) -> list[tuple[Combination, float, float, float]]:
        return [
            (cell, self.mean(cell), self.sd(cell), self.diverges(cell))
            for cell in corners(len(self.main))
        ]

    def draw(self, rng: np.random.Generator, seeds: Sequence[int]) -> Outcomes:
        """Every cell trained with every seed; a design takes from it what it asks for."""
        cells = self._cells
        noise = rng.standard_normal((len(cells), len(seeds))).tolist()
        luck = rng.random((len(cells), len(seeds))).tolist()
        by_cell = {}
        for (cell, mean, sd, risk), scatter, chances in zip(cells, noise, luck, strict=True):
            by_cell[cell] = {
                seed: Outcome(0.0, True) if chance < risk else Outcome(mean + sd * z)
                for seed, z, chance in zip(seeds, scatter, chances, strict=True)
            }
        return Outcomes(self.deviations, by_cell)

    def shapley(self) -> dict[str, float]:
        """The true Shapley value of each deviation."""
        return {
            one.name: self.truth(one.weights)
            for one in shapley_effects(self.deviations, interactions=False)
        }


def unequal(low: float = 0.5, high: float = 1.5) -> Callable[[Combination], float]:
    """Noise that is three times as large wherever the first deviation stands at the user's."""
    return lambda cell: high if cell[0] else low


def risky(*chances: float) -> Callable[[Combination], float]:
    """Divergence: each deviation at the user's level adds its chance."""
    return lambda cell: math.fsum(
        chance for chance, level in zip(chances, cell, strict=False) if level
    )


@dataclass
class Tally:
    """What was seen of one effect over simulated studies.

    Attributes:
        errors: estimate minus truth.
        covered: whether the interval held the truth, where there was one.
        significant: whether the test of no effect rejected: at 0.05, in a race at its own level.
        resolved: whether the verdict was `gain` or `loss`.
    """

    errors: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)
    significant: list[bool] = field(default_factory=list)
    resolved: list[bool] = field(default_factory=list)

    @property
    def coverage(self) -> float:
        return float(np.mean(self.covered))

    @property
    def bias(self) -> float:
        return float(np.mean(self.errors))

    @property
    def bias_z(self) -> float:
        """The bias in its Monte Carlo standard errors."""
        return self.bias / (float(np.std(self.errors, ddof=1)) / math.sqrt(len(self.errors)))


@dataclass(frozen=True)
class Simulation:
    """Studies of one design on one surface.

    Attributes:
        tallies: (estimand, kind, effect) -> what was seen.
        ordered: how often the effects of the design's question came out in their true order.
        trials: mean number of trials a study.
    """

    tallies: Mapping[tuple[str, str, str], Tally]
    ordered: float
    trials: float

    def of(self, kind: str, estimand: str = "ap_or_0") -> dict[str, Tally]:
        return {key[2]: one for key, one in self.tallies.items() if key[:2] == (estimand, kind)}

    def coverages(self, *kinds: str, estimand: str = "ap_or_0") -> list[float]:
        return [tally.coverage for kind in kinds for tally in self.of(kind, estimand).values()]


def simulate(
    surface: ResponseSurface,
    design_of: Callable[[int], Design],
    *,
    studies: int,
    race: Race | None = None,
    margin: float = 0.5,
    seed: int = 0,
) -> Simulation:
    """Runs studies and compares what they say with the truth.

    Args:
        design_of: study number -> its design (another draw of orders, say).
    """
    rng = np.random.default_rng(seed)
    tallies: defaultdict[tuple[str, str, str], Tally] = defaultdict(Tally)
    level = race.level if race else 0.05
    shapley = surface.shapley()
    ordered = trials = 0
    for number in range(studies):
        design = design_of(number)
        top = max(design.all_seeds)
        extra = race.replicates[-1] - race.replicates[0] if race else 0
        seeds = (*sorted(design.all_seeds), *range(top + 1, top + 1 + extra))
        outcomes = surface.draw(rng, seeds)
        definitions = design.effects(outcomes)
        result = attribute(design, outcomes, margin=margin, race=race)
        assert not result.wanted
        trials += sum(len(given) for given in design.planned(outcomes).values())
        trials += result.race.added if result.race else 0
        count = len(definitions)
        for place, row in enumerate(result.rows):
            one = definitions[place % count]
            sampled = one.kind == "shapley_value" and one.draws
            truth = shapley[row.factor] if sampled else surface.truth(one.weights, row.estimand)
            _record(tallies[row.estimand, row.kind, row.factor], row, truth, level)
        ordered += _in_order(surface, definitions, result.rows[:count], shapley)
    return Simulation(dict(tallies), ordered / studies, trials / studies)


def _record(tally: Tally, row: Attribution, truth: float, level: float) -> None:
    if math.isnan(row.delta):
        return
    tally.errors.append(row.delta - truth)
    if not math.isnan(row.low):
        tally.covered.append(row.low <= truth <= row.high)
        tally.significant.append(row.p_value <= level)
        tally.resolved.append(row.verdict in ("gain", "loss"))


def _in_order(
    surface: ResponseSurface,
    definitions: Sequence[EffectDefinition],
    rows: Sequence[Attribution],
    shapley: Mapping[str, float],
) -> bool:
    pairs = [
        (shapley[row.factor] if one.draws else surface.truth(one.weights), row.delta)
        for one, row in zip(definitions, rows, strict=True)
        if one.primary
    ]
    estimates = [estimate for _, estimate in sorted(pairs)]
    return estimates == sorted(estimates)


def chance_of_order(
    surface: ResponseSurface, definitions: Sequence[EffectDefinition], replicates: int
) -> float:
    """How often theory lets the effects come out in order: from the normal law of the estimates.

    The estimates are linear in independent cell means, so that they are jointly normal with known
    means and covariances; the chance is that of this law, drawn 200,000 times.
    """
    primary = [one for one in definitions if one.primary]
    cells = sorted({cell for one in primary for cell in one.weights})
    weights = np.array([[one.weights.get(cell, 0.0) for cell in cells] for one in primary])
    means = np.array([surface.expected(cell) for cell in cells])
    sds = np.array([surface.sd(cell) for cell in cells]) / math.sqrt(replicates)
    truth = weights @ means
    drawn = truth + (np.random.default_rng(9).standard_normal((200_000, len(cells))) * sds) @ (
        weights.T
    )
    return float((np.diff(drawn[:, np.argsort(truth)], axis=1) > 0).all(axis=1).mean())
