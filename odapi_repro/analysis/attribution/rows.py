"""An attribution: one effect of a design with everything that is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from odapi_repro.analysis.attribution.cells import Combination
from odapi_repro.analysis.attribution.definitions import EffectDefinition
from odapi_repro.analysis.attribution.noise import CellCounts, Noise
from odapi_repro.analysis.cells import AP_OR_0, Estimand
from odapi_repro.analysis.effect import Effect, columns_of
from odapi_repro.analysis.intervals import Estimate
from odapi_repro.analysis.verdicts import Judgement

SAME_TRAINING: Final = "same_training"

_TWO_REPLICATES: Final = (
    "two replicates: if one cell is much noisier than the others, the interval covers 90 %, not 95"
)


@dataclass(frozen=True)
class Attribution(Effect):
    """What a deviation, or several together, did to a metric: user's level minus reference's.

    Attributes:
        factor: the deviations, joined by ` x ` for an interaction and by ` + ` where they moved
            together.
        kind: `gap`, `main_effect`, `shapley_value` ...; see `EffectDefinition`.
        family: effects of one family were judged together.
        context: where the other deviations stood.
        method: `pooled`, `welch`, `divergence`, `single_run`, `no_spread`, `no_data`, or
            `same_training` (both sides come to the same trainings: exactly 0).
        replicates: of the cell that has fewest.
        cells: how many cells the effect is made of.
        estimand: `ap_or_0` (a diverged trial counts for 0) or `given_convergence` (it is dropped).
        p_value: of no effect, not adjusted.
        se_sampling: the part of `se` that comes from sampling orders; NaN where none were.
        p_diverged_from, p_diverged_to: weighted share of the replicates that diverged on either
            side.
        left_out: trials of these cells that failed, were interrupted or have not run.
        aliases: what a fraction cannot tell from it, "0.5 a x b", with signs.
        note: where its interval may not hold its level, in words; mostly empty.
    """

    kind: str = ""
    family: str = ""
    context: str = ""
    replicates: int = 0
    cells: int = 0
    estimand: Estimand = AP_OR_0
    p_value: float = math.nan
    se_sampling: float = math.nan
    p_diverged_from: float = math.nan
    p_diverged_to: float = math.nan
    left_out: int = 0
    aliases: str = ""
    note: str = ""


ATTRIBUTION_COLUMNS: Final = columns_of(
    *("kind", "family", "context", "method", "replicates", "cells", "simultaneous", "estimand"),
    *("df", "p_value", "p_holm", "p_equivalence_holm", "margin", "se_sampling"),
    *("p_diverged_from", "p_diverged_to", "left_out", "aliases", "note"),
)


def attribution_of(
    definition: EffectDefinition,
    weights: Mapping[Combination, float],
    noise: Noise,
    estimate: Estimate,
    judgement: Judgement,
    *,
    metric: str,
    margin: float,
    simultaneous: bool,
    se_sampling: float,
) -> Attribution:
    """One effect with everything that is said of it.

    Args:
        definition: of the effect.
        weights: its weights on trainings that are really different.
        noise: with the trials of every cell that has a weight.
        estimate: of it.
        judgement: within its family.
        metric: a column of the table of trials.
        margin: half-width of equivalence.
        simultaneous: whether the intervals of its family hold jointly.
        se_sampling: standard error of having sampled orders, NaN where none were.
    """
    counts = [(weight, noise.counts[cell]) for cell, weight in weights.items()]
    start = [(-weight, one) for weight, one in counts if weight < 0]
    end = [(weight, one) for weight, one in counts if weight > 0]
    replicates = min([one.counted for _, one in counts], default=0)
    few = replicates == 2 and estimate.method in ("pooled", "welch")
    return Attribution(
        factor=definition.name,
        from_level=definition.from_level,
        to_level=definition.to_level,
        metric=metric,
        delta=estimate.delta,
        se=estimate.se,
        low=estimate.low,
        high=estimate.high,
        n=min(sum([one.counted for _, one in side]) for side in (start, end)),
        verdict=judgement.verdict,
        kind=definition.kind,
        family=definition.family,
        context=definition.context,
        method=estimate.method,
        replicates=replicates,
        cells=len(weights),
        simultaneous=simultaneous,
        estimand=noise.estimand,
        df=estimate.df,
        p_value=estimate.p_value,
        p_holm=judgement.p_holm,
        p_equivalence_holm=judgement.p_equivalence_holm,
        margin=margin,
        se_sampling=se_sampling,
        p_diverged_from=_share_diverged(start),
        p_diverged_to=_share_diverged(end),
        left_out=sum([one.left_out for _, one in counts]),
        aliases=", ".join(
            f"{one.coefficient:+g} {' x '.join(one.deviations)}" for one in definition.aliases
        ),
        note=_TWO_REPLICATES if few else "",
    )


def _share_diverged(side: Sequence[tuple[float, CellCounts]]) -> float:
    """The share of diverged replicates, weighted as the cells of one side are."""
    known = [(weight, one) for weight, one in side if one.finished]
    total = sum([weight for weight, _ in known])
    if not total:
        return math.nan
    return sum([weight * one.diverged / one.finished for weight, one in known]) / total
