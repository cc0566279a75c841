"""What a plan could detect before it is run."""

from __future__ import annotations

import math

from scipy import special

__all__ = ["minimum_detectable_effect"]


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
    if n < 2:
        return math.inf
    df = 2 * n - 2
    critical = float(special.stdtrit(df, 0.5 + confidence / 2))
    low, high = 0.0, 2.0 * critical + 20.0
    for _ in range(80):
        middle = (low + high) / 2
        miss = special.nctdtr(df, middle, critical) - special.nctdtr(df, middle, -critical)
        low, high = (middle, high) if 1 - miss < power else (low, middle)
    return high * sd * math.sqrt(2 / n)
