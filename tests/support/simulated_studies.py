"""Studies simulated on a response surface, and what they say set beside what is true."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from response_surface import ResponseSurface

from odapi_repro.analysis.attribution import Attribution, EffectDefinition
from odapi_repro.features.explain.designs import Design, Race, attribute

_EXACTLY = 1e-9


@dataclass
class Tally:
    """What was seen of one effect over simulated studies.

    Attributes:
        truth: its true value.
        errors: estimate minus truth.
        covered: whether the interval held the truth, where there was one.
        significant: whether the test of no effect rejected: at 0.05, in a race at
            the level of its last look.
        resolved: whether the verdict was `gain` or `loss`.
    """

    truth: float
    errors: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)
    significant: list[bool] = field(default_factory=list)
    resolved: list[bool] = field(default_factory=list)

    @property
    def null(self) -> bool:
        """Whether there is no such effect."""
        return abs(self.truth) < _EXACTLY

    @property
    def coverage(self) -> float:
        return float(np.mean(self.covered))

    @property
    def bias(self) -> float:
        return float(np.mean(self.errors))

    @property
    def bias_error(self) -> float:
        """The Monte Carlo standard error of the bias."""
        return float(np.std(self.errors, ddof=1)) / math.sqrt(len(self.errors))

    @property
    def bias_z(self) -> float:
        """The bias in its Monte Carlo standard errors; 0 of an effect that never varied."""
        return self.bias / self.bias_error if self.bias_error else 0.0


Key = tuple[str, str, str, str]
"""Estimand, kind, effect, and where the other deviations stand meanwhile."""


@dataclass(frozen=True)
class Simulation:
    """Studies of one design on one surface.

    Attributes:
        tallies: what was seen of each effect.
        ordered: how often the effects of the design's question came out in their true order.
        false_finding: how often a verdict of the design's question called an effect a gain or a
            loss that is none (AP or 0): Holm bounds it by 5 %.
        unsummed: the largest difference between the gap and the sum of the Shapley values of a
            study; 0 without such values.
        trials: mean number of trials a study.
        most_cells: the largest number of cells a study had.
    """

    tallies: Mapping[Key, Tally]
    ordered: float
    false_finding: float
    unsummed: float
    trials: float
    most_cells: int

    def of(self, kind: str, estimand: str = "ap_or_0") -> dict[str, Tally]:
        """Effect -> what was seen; of kinds whose context is always the same."""
        return {key[2]: one for key, one in self.tallies.items() if key[:2] == (estimand, kind)}

    def common(self, estimand: str = "ap_or_0", *, share: float = 0.5) -> list[Tally]:
        """The effects that came up with an interval in enough studies to speak of a coverage."""
        found = {key: one for key, one in self.tallies.items() if key[0] == estimand}
        most = max((len(one.covered) for one in self.tallies.values()), default=0)
        return [one for one in found.values() if one.covered and len(one.covered) >= share * most]


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
        surface: that the trials are drawn from.
        design_of: study number -> its design (another draw of orders, say).
        studies: how many.
        race: that adds replicates.
        margin: half-width of equivalence.
        seed: of the trials.
    """
    rng = np.random.default_rng(seed)
    tallies: dict[Key, Tally] = {}
    shapley = {one: surface.shapley(one) for one in ("ap_or_0", "given_convergence")}
    ordered = false = trials = most_cells = 0
    unsummed = 0.0
    for number in range(studies):
        design = design_of(number)
        top = max(design.all_seeds)
        extra = race.replicates[-1] - race.replicates[0] if race else 0
        outcomes = surface.draw(rng, (*sorted(design.all_seeds), *range(top + 1, top + 1 + extra)))
        definitions = design.effects(outcomes)
        result = attribute(design, outcomes, margin=margin, race=race)
        assert not result.wanted
        planned = design.planned(outcomes)
        most_cells = max(most_cells, len(planned))
        trials += sum(len(given) for given in planned.values())
        trials += result.race.added if result.race else 0
        wrong = False
        for place, row in enumerate(result.rows):
            one = definitions[place % len(definitions)]
            key = (row.estimand, row.kind, row.factor, row.context)
            tally = tallies.get(key)
            if tally is None:
                sampled = one.kind == "shapley_value" and one.draws
                truth = (
                    shapley[row.estimand][row.factor]
                    if sampled
                    else surface.truth(one.weights, row.estimand)
                )
                tally = tallies.setdefault(key, Tally(truth))
            _record(tally, row, result.race.level if result.race else 0.05)
            false_one = tally.null and row.verdict in ("gain", "loss")
            wrong |= one.primary and row.estimand == "ap_or_0" and false_one
        false += wrong
        first = result.rows[: len(definitions)]
        ordered += _in_order(definitions, first, tallies)
        values = [row.delta for row in first if row.kind == "shapley_value"]
        if values:
            unsummed = max(unsummed, abs(math.fsum(values) - first[0].delta))
    return Simulation(
        tallies, ordered / studies, false / studies, unsummed, trials / studies, most_cells
    )


def _record(tally: Tally, row: Attribution, level: float) -> None:
    if math.isnan(row.delta):
        return
    tally.errors.append(row.delta - tally.truth)
    if not math.isnan(row.low):
        tally.covered.append(row.low <= tally.truth <= row.high)
        tally.significant.append(row.p_value <= level)
        tally.resolved.append(row.verdict in ("gain", "loss"))


def _in_order(
    definitions: Sequence[EffectDefinition],
    rows: Sequence[Attribution],
    tallies: Mapping[Key, Tally],
) -> bool:
    pairs = [
        (tallies[row.estimand, row.kind, row.factor, row.context].truth, row.delta)
        for one, row in zip(definitions, rows, strict=True)
        if one.primary
    ]
    estimates = [estimate for _, estimate in sorted(pairs)]
    return estimates == sorted(estimates)


def chance_of_order(
    surface: ResponseSurface,
    definitions: Iterable[EffectDefinition],
    replicates: int,
    *,
    truths: Mapping[str, float] | None = None,
    draws: int = 100_000,
) -> float:
    """How often theory lets the effects come out in their true order: by the law of cell means.

    Of n replicates of a cell, k converge by the binomial law, and the mean is that of k normal
    values and n - k zeros. The means of cells are independent and effects linear in them, so that
    their joint law is drawn without simulating a study.

    Args:
        surface: with the means, standard deviations and chances of divergence.
        definitions: of which those that answer the design's question are ordered.
        replicates: of each cell.
        truths: the value that each is an estimate of, by its name, where that is not the linear
            combination itself (orders that were sampled).
        draws: from the law.
    """
    primary = [one for one in definitions if one.primary]
    cells = sorted({cell for one in primary for cell in one.weights})
    weights = np.array([[one.weights.get(cell, 0.0) for cell in cells] for one in primary])
    true = [truths[one.name] if truths else surface.truth(one.weights) for one in primary]
    rng = np.random.default_rng(9)
    chances = np.array([surface.diverges(cell) for cell in cells])
    converged: NDArray[np.float64] | float = float(replicates)
    if chances.any():
        converged = rng.binomial(replicates, 1 - chances, (draws, len(cells))).astype(float)
    means = np.array([surface.mean(cell) for cell in cells])
    sds = np.array([surface.sd(cell) for cell in cells])
    noise = rng.standard_normal((draws, len(cells)))
    drawn = (converged * means + np.sqrt(converged) * sds * noise) / replicates
    estimates = drawn @ weights.T
    return float((np.diff(estimates[:, np.argsort(true)], axis=1) > 0).all(axis=1).mean())


def chance_of_path(
    surface: ResponseSurface, replicates: int, margin: float, *, draws: int = 20_000
) -> float:
    """How often theory lets a greedy path from the user's end mend the true largest first."""
    count = len(surface.main)
    user = (1,) * count
    cells = [tuple(int(other != index) for other in range(count)) for index in range(count)]
    gains = [surface.expected(cell) for cell in cells]
    rng = np.random.default_rng(9)
    sds = np.array([surface.sd(cell) for cell in (*cells, user, (0,) * count)])
    noise = rng.standard_normal((draws, count + 2)) * sds / math.sqrt(replicates)
    drawn = noise[:, :count] + gains
    gap = surface.expected((0,) * count) - surface.expected(user) + noise[:, -1] - noise[:, -2]
    return float(((drawn.argmax(axis=1) == int(np.argmax(gains))) & (np.abs(gap) > margin)).mean())
