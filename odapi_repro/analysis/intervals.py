"""Intervals of contrasts, and what a plan could detect.

A contrast is sum(w_i mean_i). Its standard error is sqrt(sum(w_i^2 s_i^2 / n_i)), and its degrees
of freedom are Welch and Satterthwaite's (Welch 1947; Satterthwaite 1946), or those of the pooled
variance. For two cells these are Welch's and Student's t-test.

Only `scipy.special` is used: `scipy.stats` takes a second to import.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from scipy import special

# --- Intervals of linear contrasts of cell means, with pooled or per-cell variance ---


POOLING_LEVEL: Final = 0.25
"""Variances are pooled when Bartlett's test does not reject at this level. A preliminary test needs
a large one: with three replicates a test at 0.05 hardly ever rejects (Bancroft 1964 gives 0.25)."""


@dataclass(frozen=True)
class PooledVariance:
    """The variance between replicates common to several cells, and its degrees of freedom."""

    variance: float
    degrees_of_freedom: int


@dataclass(frozen=True)
class Moments:
    """A cell's replicates summed up.

    Attributes:
        mean: of the replicates.
        variance: between them, with n - 1 in the denominator; NaN for a single one.
        n: how many there are, at least one.
    """

    mean: float
    variance: float
    n: int


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
    return _bartlett_p([moments_of(sample) for sample in samples])


def _bartlett_p(cells: Sequence[Moments]) -> float:
    total, count = sum(cell.n - 1 for cell in cells), len(cells)
    pooled = math.fsum((cell.n - 1) * cell.variance for cell in cells) / total
    logs = math.fsum((cell.n - 1) * math.log(cell.variance) for cell in cells)
    inverse = math.fsum(1 / (cell.n - 1) for cell in cells)
    correction = 1 + (inverse - 1 / total) / (3 * (count - 1))
    statistic = (total * math.log(pooled) - logs) / correction
    return float(special.chdtrc(count - 1, max(statistic, 0.0)))


def pool_variance(samples: Sequence[Sequence[float]]) -> PooledVariance | None:
    """The common variance of cells that are alike, or None where they are not.

    Args:
        samples: the replicates of the cells without a diverged trial. Those with fewer than two
            replicates or without any spread say nothing about a common variance.
    """
    return pool_moments([moments_of(sample) for sample in samples if sample])


def pool_moments(cells: Sequence[Moments]) -> PooledVariance | None:
    """`pool_variance` of cells that are summed up already."""
    replicated = [cell for cell in cells if cell.n > 1]
    if len(replicated) < 2 or any(cell.variance <= 0 for cell in replicated):
        return None
    if _bartlett_p(replicated) < POOLING_LEVEL:
        return None
    dof = sum(cell.n - 1 for cell in replicated)
    squares = math.fsum(cell.variance * (cell.n - 1) for cell in replicated)
    return PooledVariance(variance=squares / dof, degrees_of_freedom=dof)


def moments_of(sample: Sequence[float]) -> Moments:
    """The mean and variance of a cell's replicates; there must be at least one."""
    n = len(sample)
    mean = math.fsum(sample) / n
    squares = math.fsum((value - mean) ** 2 for value in sample)
    return Moments(mean, squares / (n - 1) if n > 1 else math.nan, n)


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
    cells = [moments_of(sample) for sample in samples]
    delta = math.fsum(w * cell.mean for w, cell in zip(weights, cells, strict=True))
    if any(cell.n < 2 for cell in cells):
        return without_interval(delta, se=math.nan, method="single_run")
    if pooled is not None:
        common = pooled.variance * math.fsum(
            w * w / cell.n for w, cell in zip(weights, cells, strict=True)
        )
        df = float(pooled.degrees_of_freedom)
        return t_estimate(delta, common, df, method="pooled", confidence=confidence)
    parts = [w * w * cell.variance / cell.n for w, cell in zip(weights, cells, strict=True)]
    own = math.fsum(parts)
    below = math.fsum(part * part / (cell.n - 1) for part, cell in zip(parts, cells, strict=True))
    df = own * own / below if below > 0 else math.nan
    return t_estimate(delta, own, df, method="welch", confidence=confidence)


def t_estimate(
    delta: float, variance: float, df: float, *, method: str, confidence: float = 0.95
) -> Estimate:
    """An estimate with this variance on `df` degrees of freedom; `no_spread` where there is none.

    Args:
        delta: the contrast.
        variance: of `delta`.
        df: degrees of freedom of `variance`; NaN where there are none.
        method: what the estimate says of how it was made.
        confidence: coverage of the interval, between 0 and 1.
    """
    if variance <= 0 or not df > 0:
        return without_interval(delta, se=0.0, method="no_spread")
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


def without_interval(delta: float, *, se: float, method: str) -> Estimate:
    """An estimate of which only the value is known."""
    nan = math.nan
    return Estimate(delta, se, nan, nan, nan, nan, method)


# --- What a plan could detect before it is run ---


def minimum_detectable_effect(
    sd: float, n: int, confidence: float = 0.95, power: float = 0.8
) -> float:
    """The smallest difference of two cells that a two-sided t-test finds with this power.

    Exact, by the noncentral t distribution (Cohen 1988, section 2.4): sd 1 and 64 replicates a cell
    give 0.50. For one comparison; Holm's adjustment of several needs more.

    Args:
        sd: standard deviation between replicates, in the metric's unit.
        n: replicates in each of the two cells.

    Returns:
        The effect in the unit of `sd`; infinite with fewer than two replicates.
    """
    return smallest_effect((-1.0, 1.0), sd=sd, n=n, confidence=confidence, power=power)


def smallest_effect(
    weights: Collection[float],
    *,
    sd: float,
    n: int,
    comparisons: int = 1,
    confidence: float = 0.95,
    power: float = 0.8,
) -> float:
    """The smallest effect, linear in cell means, that a two-sided t-test finds with this power.

    Args:
        weights: of the cells' means; the degrees of freedom are those of these cells.
        sd: standard deviation between replicates, alike in all cells, in the metric's unit.
        n: replicates in each cell.
        comparisons: how many effects are judged together (Bonferroni, what Holm asks of the first).
        confidence: the test is at 1 - confidence.
        power: the chance that the effect is found.

    Returns:
        The effect in the unit of `sd`; infinite with fewer than two replicates.
    """
    if n < 2:
        return math.inf
    df = len(weights) * (n - 1)
    critical = float(special.stdtrit(df, 1 - (1 - confidence) / comparisons / 2))
    low, high = 0.0, 2.0 * critical + 20.0
    for _ in range(80):
        middle = (low + high) / 2
        miss = special.nctdtr(df, middle, critical) - special.nctdtr(df, middle, -critical)
        low, high = (middle, high) if 1 - miss < power else (low, middle)
    return high * sd * math.sqrt(math.fsum(w * w for w in weights) / n)
