"""The mean of cells in which trials diverge: AP where training converges, 0 where it does not.

Such a cell has two kinds of noise: whether a replicate diverges, and how the AP of those that
converge varies. A t interval knows only the spread that it saw; three replicates of a cell that
diverges three times in ten show no divergence in a third of the studies, and the interval then
misses. So cells at risk are told by what is known of the others, and their chance p of divergence
is estimated with half a replicate added that diverged and half a one that did not (Jeffreys' prior;
Brown, Cai and DasGupta 2001). The variance of the mean is (p (1 - p) M^2 + (1 - p) s^2) / n with M
and s^2 the mean and variance of the AP given convergence; its parts have n degrees of freedom and
those of s^2, joined by Satterthwaite's rule.

A divergence that happened in no trial of a study is known to nobody: the intervals of that study
are about the AP of training that converges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from odapi_repro.analysis.attribution.cells import Combination, Outcomes
from odapi_repro.analysis.cells import GIVEN_CONVERGENCE
from odapi_repro.analysis.intervals import moments_of

__all__ = ["MeanVariance", "cells_at_risk", "variances_at_risk"]


@dataclass(frozen=True)
class MeanVariance:
    """The variance of a cell's mean, as parts with their degrees of freedom."""

    parts: tuple[tuple[float, float], ...]

    @property
    def variance(self) -> float:
        """The sum of the parts."""
        return math.fsum(variance for variance, _ in self.parts)


def cells_at_risk(outcomes: Outcomes, cells: Iterable[Combination]) -> frozenset[Combination]:
    """The cells in which a training may diverge, by what is known of all of them.

    Every cell that diverged holds its cause. So a cell is at risk when it holds one of the levels
    that all diverged cells have in common; when they have none, every cell is. No cell is at risk
    where none has diverged.
    """
    cells = list(cells)
    held = {cell: {(i, level) for i, level in enumerate(cell) if level} for cell in cells}
    diverged = [held[cell] for cell in cells if outcomes.diverged(cell)]
    if not diverged:
        return frozenset()
    common = set.intersection(*diverged)
    return frozenset(cell for cell in cells if not common or held[cell] & common)


def variances_at_risk(
    outcomes: Outcomes, cells: Iterable[Combination]
) -> Mapping[Combination, MeanVariance]:
    """The variance of the mean (AP or 0) of every cell, where some of them are at risk.

    A cell with a single converged replicate takes the variance common to all; one with none takes
    the mean AP of the others that converged.

    Args:
        outcomes: with at least one finished replicate in every cell.
        cells: all cells of the design that have outcomes.
    """
    cells = list(cells)
    risky = cells_at_risk(outcomes, cells)
    converged = {
        cell: moments_of(sample)
        for cell in cells
        if (sample := outcomes.sample(cell, GIVEN_CONVERGENCE))
    }
    typical = (
        math.fsum(one.mean for one in converged.values()) / len(converged) if converged else 0.0
    )
    replicated = [one for one in converged.values() if one.n > 1]
    df_common = sum(one.n - 1 for one in replicated)
    squares = math.fsum(one.variance * (one.n - 1) for one in replicated)
    common = squares / df_common if df_common else 0.0
    found = {}
    for cell in cells:
        n = len(outcomes.sample(cell))
        own = converged.get(cell)
        spread, df = (
            (own.variance, own.n - 1) if own is not None and own.n > 1 else (common, df_common)
        )
        parts: list[tuple[float, float]] = []
        chance = 0.0
        if cell in risky:
            chance = (outcomes.diverged(cell) + 0.5) / (n + 1)
            mean = own.mean if own is not None else typical
            parts.append((chance * (1 - chance) * mean**2 / n, n))
        parts.append(((1 - chance) * spread / n, df))
        found[cell] = MeanVariance(tuple(part for part in parts if part[0] > 0 and part[1] > 0))
    return found
