"""The mean of cells in which trials diverge: AP where training converges, 0 where it does not.

Such a cell has two kinds of noise: whether a replicate diverges, and how the AP of those that
converge varies. A t interval knows only the spread that it saw; three replicates of a cell that
diverges three times in ten show no divergence in a third of the studies, and the interval then
misses. So cells at risk are told by what is known of the others, and their chance p of divergence
is estimated from all of them: two parts of what they show together and one of what the cell itself
shows. Where the cells at risk plainly differ (a chi-squared test at 0.001), as when one combination
always diverges and the others never do, each speaks for itself, with half a replicate added that
diverged and half a one that did not (Jeffreys' prior; Brown, Cai and DasGupta 2001). The variance
of the mean is (p (1 - p) M^2 + (1 - p) s^2) / n with M and s^2 the mean and variance of the AP
given convergence; its parts have n degrees of freedom and those of s^2.

What a cell's mean can be is a lattice: with n replicates and a chance p, an interval that misses
when one more diverges than expected covers less than it says, and one that does not covers more.
Weights and tests were found by simulation, so that they err on the side of more
(docs/statistics.md). A divergence that happened in no trial of a study is known to nobody: the
intervals of that study are about the AP of training that converges.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from scipy import special

from odapi_repro.analysis.attribution.cells import Combination, Outcomes
from odapi_repro.analysis.cells import GIVEN_CONVERGENCE
from odapi_repro.analysis.intervals import moments_of

_ALIKE_LEVEL: Final = 0.001
_COMMON_PARTS: Final = 2


@dataclass(frozen=True)
class MeanVariance:
    """The variance of a cell's mean, as parts with their degrees of freedom."""

    parts: tuple[tuple[float, float], ...]

    @property
    def variance(self) -> float:
        """The sum of the parts."""
        return math.fsum(variance for variance, _ in self.parts)


def cells_at_risk(evidence: Outcomes) -> frozenset[Combination]:
    """The cells in which a training may diverge, of those that have outcomes.

    Every cell that diverged holds a cause. Causes are sought as the fewest levels of which each
    diverged cell holds one; where several such sets explain it equally, all their levels are
    suspected. A cell is at risk when it holds a suspected level. Where the reference itself
    diverged every cell is, and where none has diverged no cell is.
    """
    cells = list(evidence.by_cell)
    held = {cell: frozenset((i, at) for i, at in enumerate(cell) if at) for cell in cells}
    diverged = {held[cell] for cell in evidence.diverged_cells}
    if not diverged:
        return frozenset()
    if frozenset() in diverged:
        return frozenset(cells)
    suspected = _explanation(diverged)
    return frozenset(cell for cell in cells if held[cell] & suspected)


def _explanation(diverged: Collection[frozenset[tuple[int, int]]]) -> frozenset[tuple[int, int]]:
    """The levels of all smallest sets that have one in common with every diverged cell."""
    levels = sorted(frozenset().union(*diverged))
    for size in range(1, len(levels) + 1):
        found = [
            chosen
            for chosen in itertools.combinations(levels, size)
            if all(not cell.isdisjoint(chosen) for cell in diverged)
        ]
        if found:
            return frozenset(level for chosen in found for level in chosen)
    return frozenset(levels)


def variances_at_risk(
    outcomes: Outcomes,
    cells: Iterable[Combination],
    at_risk: Collection[Combination],
    evidence: Outcomes,
) -> Mapping[Combination, MeanVariance]:
    """The variance of the mean (AP or 0) of every cell, where some of them are at risk.

    A cell with a single converged replicate takes the variance common to all; one with none takes
    the mean AP of the others that converged.

    Args:
        outcomes: with at least one finished replicate in every cell.
        cells: all cells of the design that have outcomes.
        at_risk: those in which a training may diverge, others with evidence among them.
        evidence: what tells how often, the outcomes themselves or more.
    """
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
    chances = _chances(
        {cell: (evidence.diverged(cell), len(evidence.replicates(cell))) for cell in at_risk}
    )
    found = {}
    for cell in cells:
        n = len(outcomes.sample(cell))
        own = converged.get(cell)
        spread, df = (
            (own.variance, own.n - 1) if own is not None and own.n > 1 else (common, df_common)
        )
        parts: list[tuple[float, float]] = []
        chance = chances.get(cell, 0.0)
        if chance:
            mean = own.mean if own is not None else typical
            parts.append((chance * (1 - chance) * mean**2 / n, n))
        parts.append(((1 - chance) * spread / n, df))
        found[cell] = MeanVariance(tuple(part for part in parts if part[0] > 0 and part[1] > 0))
    return found


def _chances(seen: Mapping[Combination, tuple[int, int]]) -> dict[Combination, float]:
    """The chance of divergence of each cell at risk, from (diverged, replicates) of all of them."""
    diverged = sum(one for one, _ in seen.values())
    replicates = sum(n for _, n in seen.values())
    share = diverged / replicates
    alike = True
    if 0 < share < 1 and len(seen) > 1:
        distance = math.fsum((one - share * n) ** 2 / n for one, n in seen.values())
        statistic = distance / (share * (1 - share))
        alike = float(special.chdtrc(len(seen) - 1, statistic)) >= _ALIKE_LEVEL
    if not alike:
        return {cell: (one + 0.5) / (n + 1) for cell, (one, n) in seen.items()}
    together = (diverged + 0.5) / (replicates + 1)
    return {
        cell: (one / n + _COMMON_PARTS * together) / (1 + _COMMON_PARTS)
        for cell, (one, n) in seen.items()
    }
