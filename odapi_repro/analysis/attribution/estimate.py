"""From definitions and outcomes to attributions: estimates, intervals and verdicts.

Rules, all of them printed beside the numbers:

- An effect is linear in cell means, so that its standard error has a closed form. The variance is
  pooled where the cells of the design are alike (Bartlett's test at 0.25) and those of the effect
  are no noisier than the others (`intervals.CAUTION`); else each cell has its own
  (Welch-Satterthwaite).
- Where a trial of the design diverged, AP-or-0 takes the variance of `divergence`, for every effect
  with a cell at risk.
- An effect estimated from sampled orders adds the error of sampling: the variance between draws
  less what of it is noise between replicates, divided by their number, with the correction for a
  finite number of orders.
- Effects of one family, metric and estimand are judged together by Holm; intervals are for one
  effect each, unless simultaneous ones are asked for (Bonferroni over the family).
- Cells that come to the same training cancel: an effect of which nothing is left is exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from odapi_repro.analysis.attribution.cells import Combination, Outcomes
from odapi_repro.analysis.attribution.definitions import EffectDefinition, combined
from odapi_repro.analysis.attribution.divergence import (
    MeanVariance,
    cells_at_risk,
    variances_at_risk,
)
from odapi_repro.analysis.attribution.rows import (
    ATTRIBUTION_COLUMNS,
    Attribution,
    CellCounts,
    blank_row,
)
from odapi_repro.analysis.cells import AP_OR_0, GIVEN_CONVERGENCE, Estimand
from odapi_repro.analysis.intervals import (
    Estimate,
    Moments,
    PooledVariance,
    contrast_of_moments,
    equivalence_p,
    moments_of,
    pool_moments,
    t_estimate,
    without_interval,
)
from odapi_repro.analysis.verdicts import LOWER_IS_BETTER, judge

__all__ = ["attribution_table", "attributions"]

SAME_TRAINING = "same_training"


def attributions(
    definitions: Sequence[EffectDefinition],
    outcomes: Outcomes,
    *,
    margin: float,
    confidence: float = 0.95,
    alpha: float | None = None,
    simultaneous: bool = False,
    cells: Iterable[Combination] | None = None,
) -> tuple[Attribution, ...]:
    """The effects of a design, each with its interval and verdict.

    Rows of the estimand `ap_or_0` come first. When a trial of the design diverged, the same rows
    given convergence follow. A loss is known given convergence only.

    Args:
        definitions: what is estimated, from one design.
        outcomes: only the replicates that shall count; see `Outcomes.restricted`.
        margin: half-width of equivalence, in the metric's unit.
        confidence: of the intervals.
        alpha: level of the tests behind the verdicts; 1 - confidence unless a race says otherwise.
        simultaneous: whether the intervals of a family hold jointly.
        cells: over which the variance is pooled; all cells of the definitions by default.
    """
    level = 1 - confidence if alpha is None else alpha
    used = {cell for one in definitions for cell in one.weights}.union(cells or ())
    pool = sorted({outcomes.canonical(cell) for cell in used})
    loss = outcomes.metric in LOWER_IS_BETTER
    estimands: tuple[Estimand, ...] = (GIVEN_CONVERGENCE,) if loss else (AP_OR_0,)
    if not loss and any(outcomes.diverged(cell) for cell in pool):
        estimands = (AP_OR_0, GIVEN_CONVERGENCE)
    rows: list[Attribution] = []
    for estimand in estimands:
        noise = _Noise.of(outcomes, pool, estimand)
        families: dict[str, list[EffectDefinition]] = {}
        for one in definitions:
            families.setdefault(one.family, []).append(one)
        judged: dict[int, Attribution] = {}
        for family in families.values():
            joint = 1 - (1 - confidence) / len(family) if simultaneous else confidence
            found = [
                _row(one, outcomes, noise, margin, joint, simultaneous=simultaneous)
                for one in family
            ]
            for one, row in zip(family, judge(found, alpha=level), strict=True):
                exact = row.method == SAME_TRAINING
                judged[id(one)] = replace(row, verdict="equivalent") if exact else row
        rows += [judged[id(one)] for one in definitions]
    return tuple(rows)


def attribution_table(rows: Iterable[Attribution]) -> pd.DataFrame:
    """The attributions as a table whose first columns are those of effects.csv."""
    names = list(Attribution.__dataclass_fields__)
    return pd.DataFrame(
        [[getattr(row, name) for name in names] for row in rows], columns=list(ATTRIBUTION_COLUMNS)
    )


@dataclass(frozen=True)
class _Noise:
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
    def of(outcomes: Outcomes, cells: Sequence[Combination], estimand: Estimand) -> _Noise:
        samples = {cell: outcomes.sample(cell, estimand) for cell in cells}
        samples = {cell: sample for cell, sample in samples.items() if sample}
        at_risk = cells_at_risk(outcomes, samples) if estimand == AP_OR_0 else frozenset()
        moments = {cell: moments_of(sample) for cell, sample in samples.items()}
        sound = [found for cell, found in moments.items() if not outcomes.diverged(cell)]
        return _Noise(
            estimand=estimand,
            counts={cell: CellCounts.of(outcomes, cell, estimand) for cell in cells},
            moments=moments,
            pooled=pool_moments(sound),
            at_risk=at_risk,
            risky=variances_at_risk(outcomes, samples) if at_risk else {},
        )

    def estimate(self, weights: Mapping[Combination, float], confidence: float) -> Estimate:
        """The estimate of one effect as far as the noise between replicates goes."""
        cells = list(weights)
        moments = [self.moments[cell] for cell in cells]
        if not self.at_risk.isdisjoint(cells) and all(one.n > 1 for one in moments):
            return self._with_divergence(weights, confidence)
        alike = self.pooled is not None and self.at_risk.isdisjoint(cells)
        return contrast_of_moments(
            [weights[cell] for cell in cells],
            moments,
            pooled=self.pooled if alike else None,
            confidence=confidence,
            cautious=True,
        )

    def _with_divergence(self, weights: Mapping[Combination, float], confidence: float) -> Estimate:
        delta = math.fsum(w * self.moments[cell].mean for cell, w in weights.items())
        parts = [
            (w * w * variance, df)
            for cell, w in weights.items()
            for variance, df in self.risky[cell].parts
        ]
        variance = math.fsum(part for part, _ in parts)
        below = math.fsum(part * part / df for part, df in parts)
        df = variance * variance / below if below > 0 else math.nan
        return t_estimate(delta, variance, df, method="divergence", confidence=confidence)

    def of_means(self, cells: Iterable[Combination], method: str) -> dict[Combination, float]:
        """The variance of the mean of each cell, as an estimate by this method took it."""
        if method == "divergence":
            return {cell: self.risky[cell].variance for cell in cells}
        if method == "pooled" and self.pooled is not None:
            return {cell: self.pooled.variance / self.moments[cell].n for cell in cells}
        return {cell: self.moments[cell].variance / self.moments[cell].n for cell in cells}


def _row(
    definition: EffectDefinition,
    outcomes: Outcomes,
    noise: _Noise,
    margin: float,
    confidence: float,
    *,
    simultaneous: bool,
) -> Attribution:
    """One effect with its estimate and p-values that are not adjusted yet."""
    weights = _canonical(definition.weights, outcomes)
    row = blank_row(
        definition,
        weights,
        noise.counts,
        metric=outcomes.metric,
        estimand=noise.estimand,
        margin=margin,
        simultaneous=simultaneous,
    )
    if not weights:
        return replace(row, delta=0.0, se=0.0, low=0.0, high=0.0, method=SAME_TRAINING)
    if any(cell not in noise.moments for cell in weights):
        return row
    estimate = noise.estimate(weights, confidence)
    sampling = math.nan
    if definition.draws and estimate.se > 0:
        draws = [_canonical(draw, outcomes) for draw in definition.draws]
        sampling = _sampling_variance(draws, weights, noise, estimate.method)
        sampling *= max(0.0, 1 - len(draws) / definition.population)
        estimate = _with_sampling(estimate, sampling, len(draws), confidence)
    return replace(
        row,
        delta=estimate.delta,
        se=estimate.se,
        low=estimate.low,
        high=estimate.high,
        method=estimate.method,
        df=estimate.df,
        p_value=estimate.p_value,
        p_holm=estimate.p_value,
        p_equivalence_holm=equivalence_p(estimate, margin),
        se_sampling=math.sqrt(sampling),
    )


def _canonical(
    weights: Mapping[Combination, float], outcomes: Outcomes
) -> dict[Combination, float]:
    """The weights of trainings that are really different."""
    if not outcomes.same:
        return dict(weights)
    return combined([(1.0, {outcomes.canonical(cell): w}) for cell, w in weights.items()])


def _sampling_variance(
    draws: Sequence[Mapping[Combination, float]],
    weights: Mapping[Combination, float],
    noise: _Noise,
    method: str,
) -> float:
    """The variance of the mean over draws that comes from having drawn only these; at least 0.

    The draws scatter by their own differences and by the noise of the cells. The latter part is
    known, as cells are shared: its expectation is (sum_d sum_c w_dc^2 V_c - m sum_c w_c^2 V_c) /
    (m - 1), with V_c the variance of a cell's mean and w_c the mean of the w_dc.
    """
    count = len(draws)
    if count < 2:
        return math.nan
    values = [math.fsum(w * noise.moments[cell].mean for cell, w in draw.items()) for draw in draws]
    center = math.fsum(values) / count
    scatter = math.fsum((value - center) ** 2 for value in values) / (count - 1)
    of_means = noise.of_means({cell for draw in draws for cell in draw}, method)
    each = math.fsum(w * w * of_means[cell] for draw in draws for cell, w in draw.items())
    shared = math.fsum(w * w * of_means[cell] for cell, w in weights.items())
    return max(0.0, scatter - (each - count * shared) / (count - 1)) / count


def _with_sampling(estimate: Estimate, sampling: float, draws: int, confidence: float) -> Estimate:
    """The estimate with the error of sampling added, by Satterthwaite's rule."""
    if math.isnan(sampling):
        return without_interval(estimate.delta, se=math.nan, method="single_run")
    variance = estimate.se**2 + sampling
    below = estimate.se**4 / estimate.df + sampling**2 / (draws - 1)
    return t_estimate(
        estimate.delta,
        variance,
        variance**2 / below,
        method=estimate.method,
        confidence=confidence,
    )
