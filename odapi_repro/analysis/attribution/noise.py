"""The noise between replicates, and what it allows to say of an effect.

One variance is taken for all cells where they are alike: Bartlett's test at 0.25 over all of them,
and the effect's own cells no noisier than the others. Bartlett's test overlooks a single noisy
cell; an effect with it then keeps its own variances, and its interval its level. Else each cell has
its own, and the degrees of freedom are Satterthwaite's, with half of the correction that takes the
bias out of them: the square of an estimated variance s^2 on d degrees of freedom is on average
(d + 2) / d times that of the true one, which makes them too few and the interval too wide. The
whole correction (d + 2 for d, and 2 off the result) makes them too many with two or three
replicates, where they are themselves a matter of chance. Half was found by simulation
(docs/statistics.md).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scipy import special

from odapi_repro.analysis.attribution.cells import Combination, Outcomes
from odapi_repro.analysis.cells import AP_OR_0, GIVEN_CONVERGENCE, Estimand
from odapi_repro.analysis.intervals import (
    Estimate,
    Moments,
    PooledVariance,
    moments_of,
    pool_moments,
    t_estimate,
    without_interval,
)

CAUTION: Final = 1.2
"""Above this ratio of its own variance to the pooled one an effect is not pooled. Simulated with
three replicates: intervals cover 95.7 % where cells are alike, and 92 % where one has three times
the others' standard deviation; at a ratio of 1 that is 95.9 and 93 %, at 1.5 95.5 and 91 %."""

_CORRECTION: Final = 1.0


_ALIKE_LEVEL: Final = 0.001
_COMMON_PARTS: Final = 2


@dataclass(frozen=True)
class MeanVariance:
    """The variance of a cell's mean, as parts with their degrees of freedom."""

    parts: tuple[tuple[float, float], ...]

    @property
    def variance(self) -> float:
        """The sum of the parts."""
        return math.fsum(variance for variance, _ in self.parts)


def cells_at_risk(evidence: Outcomes) -> frozenset[Combination]:
    """The cells in which a training may diverge, of those that have outcomes.

    Every cell that diverged holds a cause. Causes are sought as the fewest levels of which each
    diverged cell holds one; where several such sets explain it equally, all their levels are
    suspected. A cell is at risk when it holds a suspected level. Where the reference itself
    diverged every cell is, and where none has diverged no cell is.
    """
    cells = list(evidence.by_cell)
    held = {cell: frozenset((i, at) for i, at in enumerate(cell) if at) for cell in cells}
    diverged = {held[cell] for cell in evidence.diverged_cells}
    if not diverged:
        return frozenset()
    if frozenset() in diverged:
        return frozenset(cells)
    suspected = _explanation(diverged)
    return frozenset(cell for cell in cells if held[cell] & suspected)


def _explanation(diverged: Collection[frozenset[tuple[int, int]]]) -> frozenset[tuple[int, int]]:
    """The levels of all smallest sets that have one in common with every diverged cell."""
    levels = sorted(frozenset().union(*diverged))
    for size in range(1, len(levels) + 1):
        found = [
            chosen
            for chosen in itertools.combinations(levels, size)
            if all(not cell.isdisjoint(chosen) for cell in diverged)
        ]
        if found:
            return frozenset(level for chosen in found for level in chosen)
    return frozenset(levels)


def variances_at_risk(
    outcomes: Outcomes,
    cells: Iterable[Combination],
    at_risk: Collection[Combination],
    evidence: Outcomes,
) -> Mapping[Combination, MeanVariance]:
    """The variance of the mean (AP or 0) of every cell, where some of them are at risk.

    A cell with a single converged replicate takes the variance common to all; one with none takes
    the mean AP of the others that converged.

    Args:
        outcomes: with at least one finished replicate in every cell.
        cells: all cells of the design that have outcomes.
        at_risk: those in which a training may diverge, others with evidence among them.
        evidence: what tells how often, the outcomes themselves or more.
    """
    converged = {
        cell: moments_of(sample)
        for cell in cells
        if (sample := outcomes.sample(cell, GIVEN_CONVERGENCE))
    }
    typical = (
        math.fsum(one.mean for one in converged.values()) / len(converged) if converged else 0.0
    )
    replicated = [one for one in converged.values() if one.n > 1]
    df_common = sum(one.n - 1 for one in replicated)
    squares = math.fsum(one.variance * (one.n - 1) for one in replicated)
    common = squares / df_common if df_common else 0.0
    chances = _chances(
        {cell: (evidence.diverged(cell), len(evidence.replicates(cell))) for cell in at_risk}
    )
    found = {}
    for cell in cells:
        n = len(outcomes.sample(cell))
        own = converged.get(cell)
        spread, df = (
            (own.variance, own.n - 1) if own is not None and own.n > 1 else (common, df_common)
        )
        parts: list[tuple[float, float]] = []
        chance = chances.get(cell, 0.0)
        if chance:
            mean = own.mean if own is not None else typical
            parts.append((chance * (1 - chance) * mean**2 / n, n))
        parts.append(((1 - chance) * spread / n, df))
        found[cell] = MeanVariance(tuple(part for part in parts if part[0] > 0 and part[1] > 0))
    return found


def _chances(seen: Mapping[Combination, tuple[int, int]]) -> dict[Combination, float]:
    """The chance of divergence of each cell at risk, from (diverged, replicates) of all of them."""
    diverged = sum(one for one, _ in seen.values())
    replicates = sum(n for _, n in seen.values())
    share = diverged / replicates
    alike = True
    if 0 < share < 1 and len(seen) > 1:
        distance = math.fsum((one - share * n) ** 2 / n for one, n in seen.values())
        statistic = distance / (share * (1 - share))
        alike = float(special.chdtrc(len(seen) - 1, statistic)) >= _ALIKE_LEVEL
    if not alike:
        return {cell: (one + 0.5) / (n + 1) for cell, (one, n) in seen.items()}
    together = (diverged + 0.5) / (replicates + 1)
    return {
        cell: (one / n + _COMMON_PARTS * together) / (1 + _COMMON_PARTS)
        for cell, (one, n) in seen.items()
    }


def degrees_of_freedom(parts: Iterable[tuple[float, float]]) -> float:
    """Those of a sum of independent variances, given as pairs of each with its own.

    Satterthwaite (1946), with half of the correction for the parts being estimates.
    """
    total = squares = 0.0
    for part, df in parts:
        total += part
        squares += part * part / (df + _CORRECTION)
    return total * total / squares - _CORRECTION if squares > 0 else math.nan


@dataclass(frozen=True)
class CellCounts:
    """The trials of one cell, counted.

    Attributes:
        counted: replicates that count for the estimand.
        finished: replicates that succeeded or diverged.
        diverged: of those.
        left_out: trials that failed, were interrupted or have not run.
    """

    counted: int
    finished: int
    diverged: int
    left_out: int


@dataclass(frozen=True)
class Noise:
    """What is known of the noise between replicates, for one estimand.

    Attributes:
        estimand: what a diverged trial counts for.
        counts: the trials of every cell.
        moments: of the cells that have data.
        pooled: the variance common to cells without a diverged trial, None where they differ.
        at_risk: cells in which a trial may diverge; empty given convergence.
        risky: the variance of every cell's mean, where some are at risk.
    """

    estimand: Estimand
    counts: Mapping[Combination, CellCounts]
    moments: Mapping[Combination, Moments]
    pooled: PooledVariance | None
    at_risk: frozenset[Combination]
    risky: Mapping[Combination, MeanVariance]

    @staticmethod
    def of(
        outcomes: Outcomes, cells: Sequence[Combination], estimand: Estimand, evidence: Outcomes
    ) -> Noise:
        """The noise of these cells, each of which is a training of its own.

        Args:
            outcomes: that count.
            cells: of the effects.
            estimand: what a diverged trial counts for.
            evidence: what tells where trainings diverge, the outcomes themselves or more.
        """
        counts: dict[Combination, CellCounts] = {}
        moments: dict[Combination, Moments] = {}
        for cell in cells:
            sample = outcomes.sample(cell, estimand)
            if sample:
                moments[cell] = moments_of(sample)
            counts[cell] = CellCounts(
                counted=len(sample),
                finished=len(outcomes.replicates(cell)),
                diverged=outcomes.diverged(cell),
                left_out=outcomes.left_out.get(cell, 0),
            )
        sound = [found for cell, found in moments.items() if not counts[cell].diverged]
        at_risk = cells_at_risk(evidence) if estimand == AP_OR_0 else frozenset()
        return Noise(
            estimand=estimand,
            counts=counts,
            moments=moments,
            pooled=pool_moments(sound),
            at_risk=at_risk,
            risky=variances_at_risk(outcomes, list(moments), at_risk, evidence) if at_risk else {},
        )

    def estimate(self, weights: Mapping[Combination, float], confidence: float) -> Estimate:
        """The estimate of one effect as far as the noise between replicates goes.

        Args:
            weights: of the means of cells, all of which have data.
            confidence: of the interval.
        """
        delta = own = even = 0.0
        parts = []
        alone = False
        for cell, weight in weights.items():
            found = self.moments[cell]
            share = weight * weight / found.n
            delta += weight * found.mean
            if found.n < 2:
                alone = True
                continue
            even += share
            part = share * found.variance
            own += part
            parts.append((part, float(found.n - 1)))
        if alone:
            return without_interval(delta, se=math.nan, method="single_run")
        if not self.at_risk.isdisjoint(weights):
            return self._with_divergence(delta, weights, confidence)
        if self.pooled is not None and own <= CAUTION * self.pooled.variance * even:
            return t_estimate(
                delta,
                self.pooled.variance * even,
                float(self.pooled.degrees_of_freedom),
                method="pooled",
                confidence=confidence,
            )
        df = degrees_of_freedom(parts)
        return t_estimate(delta, own, df, method="welch", confidence=confidence)

    def _with_divergence(
        self, delta: float, weights: Mapping[Combination, float], confidence: float
    ) -> Estimate:
        parts = [
            (w * w * variance, df)
            for cell, w in weights.items()
            for variance, df in self.risky[cell].parts
        ]
        variance = math.fsum(part for part, _ in parts)
        df = degrees_of_freedom(parts)
        return t_estimate(delta, variance, df, method="divergence", confidence=confidence)

    def of_means(self, cells: Iterable[Combination], method: str) -> dict[Combination, float]:
        """The variance of the mean of each cell, as an estimate by this method took it."""
        if method == "divergence":
            return {cell: self.risky[cell].variance for cell in cells}
        if method == "pooled" and self.pooled is not None:
            return {cell: self.pooled.variance / self.moments[cell].n for cell in cells}
        return {cell: self.moments[cell].variance / self.moments[cell].n for cell in cells}
