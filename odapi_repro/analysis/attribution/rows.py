"""An attribution: one effect of a design with everything that is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from odapi_repro.analysis.attribution.cells import Combination, Outcomes
from odapi_repro.analysis.attribution.definitions import EffectDefinition
from odapi_repro.analysis.cells import Estimand
from odapi_repro.analysis.verdicts import Verdict

__all__ = ["ATTRIBUTION_COLUMNS", "Attribution", "CellCounts", "blank_row"]


@dataclass(frozen=True)
class Attribution:
    """What a deviation, or several together, did to a metric: user's level minus reference's.

    Attributes:
        factor: the deviations, joined by ` x ` for an interaction and by ` + ` where they moved
            together.
        from_level, to_level: labels of what is compared.
        metric: a column of the table of trials.
        delta, se, low, high: in the metric's unit; NaN where they cannot be had.
        n: replicates on the side that has fewer.
        verdict: as in `odapi_repro.analysis.effects`.
        kind: `gap`, `main_effect`, `shapley_value` ...; see `EffectDefinition`.
        family: effects of one family were judged together.
        context: where the other deviations stood.
        method: `pooled`, `welch`, `divergence`, `single_run`, `no_spread`, `no_data`, or
            `same_training` (both sides come to the same trainings: exactly 0).
        replicates: of the cell that has fewest.
        cells: how many cells the effect is made of.
        simultaneous: whether the interval holds jointly with those of its family.
        estimand: `ap_or_0` (a diverged trial counts for 0) or `given_convergence` (it is dropped).
        df: degrees of freedom of `se`.
        p_value: of no effect, not adjusted.
        p_holm, p_equivalence_holm: adjusted p-values of no effect and of no equivalence.
        margin: half-width of the range called equivalent.
        se_sampling: the part of `se` that comes from sampling orders; NaN where none were.
        p_diverged_from, p_diverged_to: weighted share of the replicates that diverged on either
            side.
        left_out: trials of these cells that failed, were interrupted or have not run.
        aliases: what a fraction cannot tell from it, "0.5 a x b", with signs.
    """

    factor: str
    from_level: str
    to_level: str
    metric: str
    delta: float
    se: float
    low: float
    high: float
    n: int
    verdict: Verdict
    kind: str
    family: str
    context: str
    method: str
    replicates: int
    cells: int
    simultaneous: bool
    estimand: Estimand
    df: float
    p_value: float
    p_holm: float
    p_equivalence_holm: float
    margin: float
    se_sampling: float
    p_diverged_from: float
    p_diverged_to: float
    left_out: int
    aliases: str


ATTRIBUTION_COLUMNS: Final = tuple(
    {"from_level": "from", "to_level": "to"}.get(name, name)
    for name in Attribution.__dataclass_fields__
)
"""The columns of the table; the first ten are those of effects.csv, a contract."""


@dataclass(frozen=True)
class CellCounts:
    """The trials of one cell, counted.

    Attributes:
        counted: replicates that count for the estimand.
        finished: replicates that succeeded or diverged.
        diverged: of those.
        left_out: trials that failed, were interrupted or have not run.
    """

    counted: int
    finished: int
    diverged: int
    left_out: int

    @staticmethod
    def of(outcomes: Outcomes, cell: Combination, estimand: Estimand) -> CellCounts:
        """The counts of a cell."""
        return CellCounts(
            counted=len(outcomes.sample(cell, estimand)),
            finished=len(outcomes.replicates(cell)),
            diverged=outcomes.diverged(cell),
            left_out=outcomes.left_out.get(cell, 0),
        )


def blank_row(
    definition: EffectDefinition,
    weights: Mapping[Combination, float],
    counts: Mapping[Combination, CellCounts],
    *,
    metric: str,
    estimand: Estimand,
    margin: float,
    simultaneous: bool,
) -> Attribution:
    """An attribution with everything that is counted, and nothing estimated yet.

    Args:
        definition: of the effect.
        weights: its weights on trainings that are really different.
        counts: of every cell that has a weight.
        metric: a column of the table of trials.
        estimand: what a diverged trial counts for.
        margin: half-width of equivalence.
        simultaneous: whether the intervals of its family hold jointly.
    """
    start = {cell: -weight for cell, weight in weights.items() if weight < 0}
    end = {cell: weight for cell, weight in weights.items() if weight > 0}
    nan = math.nan
    return Attribution(
        factor=definition.name,
        from_level=definition.from_level,
        to_level=definition.to_level,
        metric=metric,
        delta=nan,
        se=nan,
        low=nan,
        high=nan,
        n=min(sum(counts[cell].counted for cell in side) for side in (start, end)),
        verdict="unresolved",
        kind=definition.kind,
        family=definition.family,
        context=definition.context,
        method="no_data",
        replicates=min((counts[cell].counted for cell in weights), default=0),
        cells=len(weights),
        simultaneous=simultaneous,
        estimand=estimand,
        df=nan,
        p_value=nan,
        p_holm=nan,
        p_equivalence_holm=nan,
        margin=margin,
        se_sampling=nan,
        p_diverged_from=_share_diverged(start, counts),
        p_diverged_to=_share_diverged(end, counts),
        left_out=sum(counts[cell].left_out for cell in weights),
        aliases=", ".join(
            f"{one.coefficient:+g} {' x '.join(one.deviations)}" for one in definition.aliases
        ),
    )


def _share_diverged(
    side: Mapping[Combination, float], counts: Mapping[Combination, CellCounts]
) -> float:
    """The share of diverged replicates, weighted as the cells of one side are."""
    total = sum(weight for cell, weight in side.items() if counts[cell].finished)
    if not total:
        return math.nan
    return (
        sum(
            weight * counts[cell].diverged / counts[cell].finished
            for cell, weight in side.items()
            if counts[cell].finished
        )
        / total
    )
