"""Looking at a study several times: the level of each look.

When replicates are added until effects are decided, a null effect has several chances to look
significant. A boundary tests at a stricter level at every look, so that the chance of a false
decision at any of them is alpha. Wang and Tsiatis' family (1987, Biometrics 43:193-199) puts the
critical value at c (n_k / n_K)^(shape - 1/2): shape 1/2 is Pocock's boundary, the same at every
look; 0 is O'Brien and Fleming's, which is strict early and leaves almost the whole level to the
last look. c is found by Armitage, McPherson and Rowe's recursion (1969) for independent normal
increments, and the levels are used for t tests (the significance level approach of Jennison and
Turnbull 2000, section 3.8).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

# Gauss and Legendre's, on -1 to 1: enough for steps of a fiftieth of the range.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)


def look_levels(
    replicates: Sequence[int], *, alpha: float = 0.05, shape: float = 0.0
) -> tuple[float, ...]:
    """The two-sided level of the test at each look that makes it `alpha` over all of them.

    Three evenly spaced looks at 0.05 are at 0.0005, 0.0141 and 0.0451; with shape 1/2 each is at
    0.0221.

    Args:
        replicates: how many there are of each cell at each look, increasing.
        alpha: level over all looks, between 0 and 1.
        shape: 0 (O'Brien and Fleming) to 1/2 (Pocock).

    Raises:
        ValueError: no look, or numbers that do not increase.
    """
    counts = tuple(replicates)
    if not counts or counts[0] < 1 or any(b <= a for a, b in itertools.pairwise(counts)):
        raise ValueError(f"replicates at each look must increase: {counts}")
    return _levels(counts, alpha, shape)


@lru_cache(maxsize=64)
def _levels(replicates: tuple[int, ...], alpha: float, shape: float) -> tuple[float, ...]:
    rising = [(n / replicates[-1]) ** (shape - 0.5) for n in replicates]
    low, high = -float(special.ndtri(alpha / 2)), 8.0
    for _ in range(48):
        middle = (low + high) / 2
        crossing = _crossing(replicates, [middle * one for one in rising])
        low, high = (middle, high) if crossing > alpha else (low, middle)
    return tuple(2 * float(special.ndtr(-high * one)) for one in rising)


def _crossing(replicates: tuple[int, ...], bounds: Sequence[float]) -> float:
    """The chance that a standardised normal sum leaves +-bound at any of the looks."""
    reach = bounds[0] * math.sqrt(replicates[0])
    grid, weights = reach * _NODES, reach * _WEIGHTS
    density = _normal(grid, replicates[0])
    for (before, after), bound in zip(itertools.pairwise(replicates), bounds[1:], strict=True):
        reach = bound * math.sqrt(after)
        onto = reach * _NODES
        density = _normal(onto[:, None] - grid, after - before) @ (density * weights)
        grid, weights = onto, reach * _WEIGHTS
    return 1.0 - float((density * weights).sum())


def _normal(value: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    density: NDArray[np.float64] = np.exp(-(value**2) / (2 * variance))
    return density / math.sqrt(2 * math.pi * variance)
