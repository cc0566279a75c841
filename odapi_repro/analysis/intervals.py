"""Intervals of linear contrasts of cell means, with pooled or per-cell variance.

A contrast is sum(w_i mean_i). Its standard error is sqrt(sum(w_i^2 s_i^2 / n_i)), and its degrees
of freedom are Welch and Satterthwaite's (Welch 1947; Satterthwaite 1946), or those of the pooled
variance. For two cells these are Welch's and Student's t-test.

Only `scipy.special` is used: `scipy.stats` takes a second to import.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special

__all__ = [
    "POOLING_LEVEL",
    "Estimate",
    "PooledVariance",
    "bartlett_p",
    "equivalence_p",
    "linear_contrast",
    "pool_variance",
]

POOLING_LEVEL: Final = 0.25
"""Variances are pooled when Bartlett's test does not reject at this level. A preliminary test needs
a large one: with three replicates a test at 0.05 hardly ever rejects (Bancroft 1964 gives 0.25)."""


@dataclass(frozen=True)
class PooledVariance:
    """The variance between replicates common to several cells, and its degrees of freedom."""

    variance: float
    degrees_of_freedom: int


@dataclass(frozen=True)
class Estimate:
    """An estimated contrast.

    Attributes:
        delta: the contrast, in the unit of the metric.
        se: its standard error; NaN with fewer than two replicates in some cell.
        df: the degrees of freedom of `se`.
        low, high: its two-sided interval; NaN without a usable `se`.
        p_value: two-sided test of delta = 0; NaN likewise.
        method: `pooled`, `welch`, `single_run` (a cell has one replicate) or `no_spread` (all
            replicates are equal, as when every one scores 0: nothing says how far they vary).
    """

    delta: float
    se: float
    df: float
    low: float
    high: float
    p_value: float
    method: str


def bartlett_p(samples: Sequence[Sequence[float]]) -> float:
    """P-value of Bartlett's test that the samples have one variance (Snedecor and Cochran 1989)."""
    dofs = np.array([len(sample) - 1 for sample in samples], dtype=float)
    variances = np.array([np.var(sample, ddof=1) for sample in samples])
    total, count = dofs.sum(), len(samples)
    pooled = float((dofs * variances).sum() / total)
    statistic = total * math.log(pooled) - float((dofs * np.log(variances)).sum())
    correction = 1 + ((1 / dofs).sum() - 1 / total) / (3 * (count - 1))
    return float(special.chdtrc(count - 1, max(statistic / correction, 0.0)))


def pool_variance(samples: Sequence[Sequence[float]]) -> PooledVariance | None:
    """The common variance of cells that are alike, or None where they are not.

    Args:
        samples: the replicates of the cells without a diverged trial. Those with fewer than two
            replicates or without any spread say nothing about a common variance.
    """
    spread = [sample for sample in samples if len(sample) > 1 and np.ptp(sample) > 0]
    if len(spread) < 2 or len(spread) < sum(len(sample) > 1 for sample in samples):
        return None
    if bartlett_p(spread) < POOLING_LEVEL:
        return None
    dof = sum(len(sample) - 1 for sample in spread)
    squares = sum(float(np.var(sample, ddof=1)) * (len(sample) - 1) for sample in spread)
    return PooledVariance(variance=squares / dof, degrees_of_freedom=dof)


def linear_contrast(
    weights: Sequence[float],
    samples: Sequence[Sequence[float]],
    *,
    pooled: PooledVariance | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The contrast sum(w_i mean_i) of independent cells, with its t interval and test.

    Args:
        weights: one a cell.
        samples: the replicates of each cell, at least one each.
        pooled: the common variance, when the cells are alike; else each cell has its own.
        confidence: coverage of the interval, between 0 and 1.
    """
    means = [float(np.mean(sample)) for sample in samples]
    delta = math.fsum(w * mean for w, mean in zip(weights, means, strict=True))
    if any(len(sample) < 2 for sample in samples):
        return _without_interval(delta, se=math.nan, method="single_run")
    if pooled is not None:
        scale = sum(w * w / len(sample) for w, sample in zip(weights, samples, strict=True))
        variance, df, method = pooled.variance * scale, float(pooled.degrees_of_freedom), "pooled"
    else:
        parts = [
            w * w * float(np.var(sample, ddof=1)) / len(sample)
            for w, sample in zip(weights, samples, strict=True)
        ]
        variance, method = math.fsum(parts), "welch"
        below = math.fsum(
            part * part / (len(sample) - 1) for part, sample in zip(parts, samples, strict=True)
        )
        df = variance * variance / below if below > 0 else math.nan
    if variance <= 0 or not df > 0:
        return _without_interval(delta, se=0.0, method="no_spread")
    se = math.sqrt(variance)
    half = float(special.stdtrit(df, 0.5 + confidence / 2)) * se
    p_value = 2 * float(special.stdtr(df, -abs(delta) / se))
    return Estimate(delta, se, df, delta - half, delta + half, p_value, method)


def equivalence_p(estimate: Estimate, margin: float) -> float:
    """P-value of |contrast| >= margin by two one-sided tests (Schuirmann 1987); small: equivalent.

    It is below alpha exactly when the (1 - 2 alpha) interval lies within +-margin.
    """
    if not estimate.df > 0:
        return math.nan
    return float(special.stdtr(estimate.df, (abs(estimate.delta) - margin) / estimate.se))


def _without_interval(delta: float, *, se: float, method: str) -> Estimate:
    nan = math.nan
    return Estimate(delta, se, nan, nan, nan, nan, method)
