"""Judging several effects together: Holm's step-down adjustment."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["holm"]


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
