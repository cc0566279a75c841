"""What a plan could detect before it is run."""

from __future__ import annotations

import math
from collections.abc import Collection

from scipy import special


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
