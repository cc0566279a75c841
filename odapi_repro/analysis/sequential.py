"""Looking at a study several times: the level of each look.

When replicates are added until effects are decided, a null effect has several chances to look
significant. Pocock's boundary (1977, Biometrika 64:191-199) tests at one stricter level at every
look, so that the chance of a false decision at any of them is alpha. The level is found by
Armitage, McPherson and Rowe's recursion (1969) for independent normal increments, and used for t
tests (the significance level approach of Jennison and Turnbull 2000).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["pocock_level"]

_GRID = 401


@lru_cache(maxsize=64)
def _level(replicates: tuple[int, ...], alpha: float) -> float:
    low, high = -float(special.ndtri(alpha / 2)), 8.0
    for _ in range(48):
        middle = (low + high) / 2
        low, high = (middle, high) if _crossing(replicates, middle) > alpha else (low, middle)
    return 2 * float(special.ndtr(-high))


def pocock_level(replicates: Sequence[int], *, alpha: float = 0.05) -> float:
    """The two-sided level of the test at each look that makes it `alpha` over all of them.

    Two, three and four evenly spaced looks at 0.05 give 0.0294, 0.0221 and 0.0182.

    Args:
        replicates: how many there are of each cell at each look, increasing.
        alpha: level over all looks, between 0 and 1.

    Raises:
        ValueError: no look, or numbers that do not increase.
    """
    counts = tuple(replicates)
    if not counts or counts[0] < 1 or any(b <= a for a, b in itertools.pairwise(counts)):
        raise ValueError(f"replicates at each look must increase: {counts}")
    return _level(counts, alpha)


def _crossing(replicates: tuple[int, ...], bound: float) -> float:
    """The chance that a standardised normal sum leaves +-bound at any of the looks."""
    grid = np.linspace(-bound, bound, _GRID) * math.sqrt(replicates[0])
    density = np.exp(-(grid**2) / (2 * replicates[0])) / math.sqrt(2 * math.pi * replicates[0])
    for before, after in itertools.pairwise(replicates):
        step = after - before
        onto = np.linspace(-bound, bound, _GRID) * math.sqrt(after)
        kernel = np.exp(-((onto[:, None] - grid) ** 2) / (2 * step)) / math.sqrt(2 * math.pi * step)
        density = kernel @ (density * _trapezoid(grid))
        grid = onto
    return 1.0 - float((density * _trapezoid(grid)).sum())


def _trapezoid(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.full(len(grid), grid[1] - grid[0])
    weights[[0, -1]] /= 2
    return weights
