"""The effect of each level against its factor's reference level, over trials or over images.

Rules, all of them printed beside the numbers:

- Variance is pooled over the cells of the study that have no diverged trial, when Bartlett's test
  does not reject at 0.25; a contrast with a cell outside that pool, and every contrast of a study
  whose cells differ, takes each cell's own variance (Welch-Satterthwaite). The test can miss a
  noisier cell: simulated with three seeds, 95 % intervals cover 95 % where cells are alike, and
  89 % where the cell compared has three to four times the others' standard deviation.
- Replicates that share a seed are not paired. They share initial weights and shuffling, but
  trainings that differ in anything part within a few hundred steps, and what correlation is left is
  seldom known; pairing halves the degrees of freedom (with 3 seeds the 95 % quantile goes from 2.8
  to 4.3), which pays only above a correlation of about 0.6. Unpaired intervals are too wide where
  the correlation is positive: the error is on the safe side.
- Intervals are for one contrast each (`simultaneous` is False). Verdicts follow Holm over all
  contrasts of the same metric and estimand, for the test of no effect and for that of equivalence.
- `gain` and `loss` need the adjusted test to reject; else `equivalent` needs two one-sided tests
  within the margin; else `unresolved`. Fewer than two replicates somewhere: `single_run`.

A factor that needs no training gives the same detections each time, so that no replicate tells its
uncertainty. What is uncertain is which images were drawn: differences on the same images come with
the standard error of a paired bootstrap over them. Rules, printed beside the numbers:

- Intervals are the bootstrap's own, for one contrast each.
- Verdicts are those of `analysis.effects`: `gain` and `loss` need a test of no effect that rejects
  after Holm's adjustment over all contrasts of one metric; else `equivalent` needs two one-sided
  tests within the margin, adjusted likewise; else `unresolved`. Tests are Student's, with the
  bootstrap's standard error and degrees of freedom.
- Detections that score alike on every image have a difference of 0 and no spread: `equivalent`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd
from scipy import special

from odapi_repro.analysis.effect import LOWER_IS_BETTER, Effect, columns_of, judge
from odapi_repro.analysis.intervals import (
    PooledVariance,
    equivalence_p,
    linear_contrast,
    pool_variance,
)
from odapi_repro.analysis.trial_table import (
    AP_OR_0,
    GIVEN_CONVERGENCE,
    Cell,
    Estimand,
    cell,
    check_trials,
    outcomes,
)
from odapi_repro.factors.axes import Axis

# --- The effect of each level against its factor's reference level, with interval and verdict ---


@dataclass(frozen=True)
class Contrast(Effect):
    """One level against the reference level of its factor, on one metric.

    Attributes:
        method: `pooled`, `welch`, `single_run`, `no_spread`, or `no_data`.
        n_from, n_to: replicates that count, over all combinations of a grid.
        estimand: `ap_or_0` (a diverged trial counts for 0) or `given_convergence` (it is dropped).
        p_diverged_from, p_diverged_to: share of the finished replicates that diverged.
        left_out: trials of these cells that failed, were interrupted or have not run.
        combinations: combinations of the other factors that the effect is averaged over.
        held: what other factors were held at on purpose, "batch_size=2"; empty: their reference.
        finished_from, finished_to: the replicates that `p_diverged_from` and `_to` are shares of,
            those of combinations that only one side has, too.
    """

    n_from: int = 0
    n_to: int = 0
    estimand: Estimand = AP_OR_0
    p_diverged_from: float = math.nan
    p_diverged_to: float = math.nan
    left_out: int = 0
    combinations: int = 0
    held: str = ""
    finished_from: int = 0
    finished_to: int = 0


EFFECTS_COLUMNS = columns_of(
    *("method", "n_from", "n_to", "simultaneous", "estimand", "df", "p_holm", "p_equivalence_holm"),
    *("margin", "p_diverged_from", "p_diverged_to", "left_out", "combinations", "held"),
    *("finished_from", "finished_to"),
)


def contrasts(
    trials: pd.DataFrame,
    factors: Sequence[Axis],
    *,
    metrics: Sequence[str],
    margin: float | Mapping[str, float],
    confidence: float = 0.95,
) -> list[Contrast]:
    """Every level of every factor against its reference level, on every metric.

    Rows of the estimand `ap_or_0` come first. When a trial diverged, the same rows given
    convergence follow, each with the share that diverged. A loss is known given convergence only.

    Args:
        trials: the table of trials; see `odapi_repro.analysis.trial_table`.
        factors: all axes of the study.
        metrics: columns to compare.
        margin: half-width of equivalence in the metric's unit, for all metrics or by metric; a
            metric without one is not tested for equivalence.
        confidence: of the intervals; tests are at 1 - confidence.

    Raises:
        ValueError: the table lacks a column, or holds a trial or a replicate twice.
    """
    check_trials(trials, [axis.name for axis in factors])
    diverged = bool((trials["status"] == "diverged").any())
    rows: list[Contrast] = []
    for estimand in (AP_OR_0, GIVEN_CONVERGENCE) if diverged else (AP_OR_0,):
        by_metric = {}
        for metric in metrics:
            given = GIVEN_CONVERGENCE if metric in LOWER_IS_BETTER else estimand
            if estimand == GIVEN_CONVERGENCE and metric in LOWER_IS_BETTER:
                continue
            half = margin.get(metric, math.nan) if isinstance(margin, Mapping) else margin
            family = _family(trials, factors, metric, given, half, confidence)
            by_metric[metric] = judge(family, alpha=1 - confidence)
        rows += [row for together in zip(*by_metric.values(), strict=True) for row in together]
    return rows


def study_variance(
    trials: pd.DataFrame, factors: Sequence[Axis], metric: str, estimand: Estimand = AP_OR_0
) -> PooledVariance | None:
    """The variance between replicates pooled over the study's cells, None where they differ."""
    counted = outcomes(trials, metric, estimand)
    cells = {
        tuple(sorted(labels.items())): labels
        for axis in factors
        for context in axis.contexts(factors)
        for labels in ({**context, axis.name: level} for level in axis.levels)
    }
    sampled = [cell(trials, counted, labels) for labels in cells.values()]
    return pool_variance([one.values for one in sampled if not one.diverged])


def _family(
    trials: pd.DataFrame,
    factors: Sequence[Axis],
    metric: str,
    estimand: Estimand,
    margin: float,
    confidence: float,
) -> list[Contrast]:
    """The contrasts of one metric, each with p-values that are not adjusted yet."""
    counted = outcomes(trials, metric, estimand)
    pooled = study_variance(trials, factors, metric, estimand)
    rows = []
    for axis in factors:
        for level in axis.other_levels:
            pairs = [
                (
                    cell(trials, counted, {**context, axis.name: axis.reference_level}),
                    cell(trials, counted, {**context, axis.name: level}),
                )
                for context in axis.contexts(factors)
            ]
            blank = _blank(axis, level, metric, estimand, margin, pairs)
            rows.append(_estimated(blank, pairs, pooled, confidence))
    return rows


def _blank(
    axis: Axis,
    level: str,
    metric: str,
    estimand: Estimand,
    margin: float,
    pairs: Sequence[tuple[Cell, Cell]],
) -> Contrast:
    """A contrast with everything that is counted, and nothing estimated yet."""
    usable = _usable(pairs)
    n_from, n_to = (sum(len(pair[side].values) for pair in usable) for side in (0, 1))
    finished_from, finished_to = (_finished([pair[side] for pair in pairs]) for side in (0, 1))
    return Contrast(
        factor=axis.name,
        from_level=axis.reference_level,
        to_level=level,
        metric=metric,
        delta=math.nan,
        se=math.nan,
        low=math.nan,
        high=math.nan,
        n=min(n_from, n_to),
        n_from=n_from,
        n_to=n_to,
        estimand=estimand,
        margin=margin,
        p_diverged_from=_share_diverged([pair[0] for pair in pairs]),
        p_diverged_to=_share_diverged([pair[1] for pair in pairs]),
        left_out=sum(one.left_out for pair in pairs for one in pair),
        combinations=len(usable),
        held=" ".join(f"{name}={label}" for name, label in sorted(axis.at.items())),
        finished_from=finished_from,
        finished_to=finished_to,
    )


def _usable(pairs: Sequence[tuple[Cell, Cell]]) -> list[tuple[Cell, Cell]]:
    return [pair for pair in pairs if pair[0].values and pair[1].values]


def _estimated(
    row: Contrast,
    pairs: Sequence[tuple[Cell, Cell]],
    pooled: PooledVariance | None,
    confidence: float,
) -> Contrast:
    """The contrast with its estimate; its p-values are not adjusted yet."""
    usable = _usable(pairs)
    if not usable:
        return row
    share = 1 / len(usable)
    cells = [one for pair in usable for one in pair]
    alike = pooled is not None and not any(one.diverged for one in cells)
    estimate = linear_contrast(
        [sign * share for _ in usable for sign in (-1.0, 1.0)],
        [one.values for one in cells],
        pooled=pooled if alike else None,
        confidence=confidence,
    )
    return replace(
        row,
        delta=estimate.delta,
        se=estimate.se,
        low=estimate.low,
        high=estimate.high,
        method=estimate.method,
        df=estimate.df,
        p_holm=estimate.p_value,
        p_equivalence_holm=equivalence_p(estimate, row.margin),
    )


def _share_diverged(cells: Sequence[Cell]) -> float:
    finished = _finished(cells)
    return sum(one.diverged for one in cells) / finished if finished else math.nan


def _finished(cells: Sequence[Cell]) -> int:
    return sum(one.diverged + one.converged for one in cells)


@dataclass(frozen=True)
class LevelSummary:
    """One level in one context of the other factors, a diverged trial counting for 0.

    Attributes:
        level: the level's label.
        context: the other factors' labels.
        values: the metric of the replicates that converged, in points.
        diverged: how many replicates diverged.
        mean: over all of them; NaN when nothing has finished.
        low, high: the interval of the mean; NaN with fewer than two replicates or no spread.
    """

    level: str
    context: Mapping[str, str]
    values: tuple[float, ...]
    diverged: int
    mean: float
    low: float
    high: float


def summarize_levels(
    trials: pd.DataFrame,
    axis: Axis,
    axes: Sequence[Axis],
    *,
    metric: str = "AP",
    confidence: float = 0.95,
) -> list[LevelSummary]:
    """Every level of `axis`, context by context, in the order of its levels.

    The variance is the one the effects use: pooled where cells are alike, else the cell's own.
    """
    counted = outcomes(trials, metric, AP_OR_0)
    converged = counted.where(trials["status"] == "succeeded")
    pooled = study_variance(trials, axes, metric)
    summaries = []
    for context in axis.contexts(axes):
        for level in axis.levels:
            labels = {**context, axis.name: level}
            one = cell(trials, counted, labels)
            low = high = float("nan")
            if one.values:
                alike = None if one.diverged else pooled
                estimate = linear_contrast([1.0], [one.values], pooled=alike, confidence=confidence)
                low, high = estimate.low, estimate.high
            summaries.append(
                LevelSummary(
                    level=level,
                    context=context,
                    values=cell(trials, converged, labels).values,
                    diverged=one.diverged,
                    mean=one.mean,
                    low=low,
                    high=high,
                )
            )
    return summaries


# --- Effects seen on one set of images, with the verdicts that their bootstrap intervals allow ---


@dataclass(frozen=True)
class ImageEffect(Effect):
    """One level against the pipeline's own, on one metric and the same images; `n` of them."""

    method: str = "image_bootstrap"


IMAGE_EFFECTS_COLUMNS: Final = columns_of(
    *("method", "simultaneous", "df", "p_holm", "p_equivalence_holm", "margin")
)


def judge_image_effects(
    effects: Iterable[ImageEffect], *, margin: float, confidence: float = 0.95
) -> list[ImageEffect]:
    """Gives the effects with their verdicts, in the order given.

    Args:
        effects: of one study, with delta and se.
        margin: half-width of equivalence in points.
        confidence: tests are at 1 - confidence.
    """
    rows = [
        replace(
            row,
            method="no_data" if math.isnan(row.delta) else row.method,
            p_holm=_p_of_no_effect(row),
            p_equivalence_holm=_p_of_no_equivalence(row, margin),
            margin=margin,
        )
        for row in effects
    ]
    judged: dict[int, ImageEffect] = {}
    for metric in dict.fromkeys(row.metric for row in rows):
        family = {place: row for place, row in enumerate(rows) if row.metric == metric}
        found = judge(list(family.values()), alpha=1 - confidence)
        judged |= dict(zip(family, found, strict=True))
    return [judged[place] for place in range(len(rows))]


def _p_of_no_effect(row: ImageEffect) -> float:
    if row.se > 0:
        return 2 * _tail(-abs(row.delta) / row.se, row.df)
    return 1.0 if row.delta == 0 else math.nan


def _p_of_no_equivalence(row: ImageEffect, margin: float) -> float:
    if row.se > 0:
        return _tail((abs(row.delta) - margin) / row.se, row.df)
    return 0.0 if row.delta == 0 else math.nan


def _tail(statistic: float, df: float) -> float:
    """The probability below a statistic under Student's t, or under the normal for NaN."""
    return float(special.ndtr(statistic) if math.isnan(df) else special.stdtr(df, statistic))
