"""What each level of a factor scored: its replicates, their mean and the interval of that mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from odapi_repro.analysis.cells import AP_OR_0, cell, outcomes
from odapi_repro.analysis.effects import study_variance
from odapi_repro.analysis.intervals import linear_contrast
from odapi_repro.factors.axes import Axis


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
