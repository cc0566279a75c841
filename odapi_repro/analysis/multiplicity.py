"""Judging several effects together: Holm's adjustment, and intervals that hold jointly."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special

from odapi_repro.analysis.effect import Effect


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Holm 1979, Scand. J. Statist. 6:65-70).

    Rejecting what is at or below alpha bounds the chance of any false rejection by alpha, whatever
    the dependence between the tests (contrasts with one reference cell are dependent). A NaN is no
    test: it stays NaN and does not count.
    """
    adjusted = [math.nan] * len(p_values)
    tested = sorted(
        (index for index, p in enumerate(p_values) if not math.isnan(p)),
        key=lambda index: p_values[index],
    )
    largest = 0.0
    for rank, index in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def joint_interval(row: Effect, *, contrasts: int, confidence: float = 0.95) -> tuple[float, float]:
    """The ends of an effect's interval that holds together with those of the others (Bonferroni).

    It leaves out 0 for the smallest p-value of a family exactly when `holm` rejects that one; the
    effect that is the largest of a family may be told with it, whichever it is.

    Args:
        row: with its estimate, standard error and degrees of freedom (NaN: a normal test).
        contrasts: how many effects were judged together.
        confidence: that all of the intervals hold.

    Returns:
        low and high; NaN without a standard error, and the estimate twice where it is 0.
    """
    if not row.se > 0:
        return (row.delta, row.delta) if row.se == 0 else (math.nan, math.nan)
    upper = 1 - (1 - confidence) / (2 * contrasts)
    quantile = special.ndtri(upper) if math.isnan(row.df) else special.stdtrit(row.df, upper)
    return row.delta - float(quantile) * row.se, row.delta + float(quantile) * row.se
