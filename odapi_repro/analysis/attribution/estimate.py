"""From definitions and outcomes to attributions: estimates, intervals and verdicts.

Rules, all of them printed beside the numbers:

- An effect is linear in cell means, so that its standard error has a closed form. The variance is
  pooled where the cells of the design are alike and those of the effect are no noisier than the
  others; else each cell has its own. See `noise`.
- Where a trial of the design diverged, AP-or-0 takes the variance of `divergence`, for every effect
  with a cell at risk.
- An effect estimated from sampled orders adds the error of sampling: the variance between draws
  less what of it is noise between replicates, divided by their number, with the correction for a
  finite number of orders.
- Effects of one family, metric and estimand are judged together by Holm; intervals are for one
  effect each, unless simultaneous ones are asked for (Bonferroni over the family).
- Cells that come to the same training cancel: an effect of which nothing is left is exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from odapi_repro.analysis.attribution.cells import Combination, Outcomes
from odapi_repro.analysis.attribution.definitions import EffectDefinition, combined
from odapi_repro.analysis.attribution.noise import CellCounts, Noise, degrees_of_freedom
from odapi_repro.analysis.cells import AP_OR_0, GIVEN_CONVERGENCE, Estimand
from odapi_repro.analysis.effect import Effect, columns_of
from odapi_repro.analysis.intervals import (
    Estimate,
    equivalence_p,
    t_estimate,
    without_interval,
)
from odapi_repro.analysis.verdicts import LOWER_IS_BETTER, Judgement, judgements

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


def attributions(
    definitions: Sequence[EffectDefinition],
    outcomes: Outcomes,
    *,
    margin: float,
    confidence: float = 0.95,
    alpha: float | None = None,
    simultaneous: bool = False,
    cells: Iterable[Combination] | None = None,
    evidence: Outcomes | None = None,
) -> tuple[Attribution, ...]:
    """The effects of a design, each with its interval and verdict.

    Rows of the estimand `ap_or_0` come first. When a trial of the design diverged, the same rows
    given convergence follow. A loss is known given convergence only.

    Args:
        definitions: what is estimated, from one design.
        outcomes: only the replicates that shall count; see `Outcomes.restricted`.
        margin: half-width of equivalence, in the metric's unit.
        confidence: of the intervals.
        alpha: level of the tests behind the verdicts; 1 - confidence unless a race says otherwise.
        simultaneous: whether the intervals of a family hold jointly.
        cells: over which the variance is pooled; all cells of the definitions by default.
        evidence: what tells where trainings diverge: replicates that decided what was run next do
            not count for an effect, and yet they show that. The outcomes by default.
    """
    level = 1 - confidence if alpha is None else alpha
    evidence = outcomes if evidence is None else evidence
    weights = [_canonical(one.weights, outcomes) for one in definitions]
    used = {cell for one in definitions for cell in one.weights}.union(cells or ())
    pool = sorted({outcomes.canonical(cell) for cell in used})
    loss = outcomes.metric in LOWER_IS_BETTER
    estimands: tuple[Estimand, ...] = (GIVEN_CONVERGENCE,) if loss else (AP_OR_0,)
    if not loss and evidence.diverged_cells:
        estimands = (AP_OR_0, GIVEN_CONVERGENCE)
    families: dict[str, list[int]] = {}
    for place, one in enumerate(definitions):
        families.setdefault(one.family, []).append(place)
    rows: list[Attribution] = []
    for estimand in estimands:
        noise = Noise.of(outcomes, pool, estimand, evidence)
        judged: dict[int, Attribution] = {}
        for places in families.values():
            joint = 1 - (1 - confidence) / len(places) if simultaneous else confidence
            found = [
                _estimate(definitions[place], weights[place], outcomes, noise, joint)
                for place in places
            ]
            tests = [
                (one.delta, one.method, one.p_value, equivalence_p(one, margin)) for one, _ in found
            ]
            family = judgements(tests, metric=outcomes.metric, alpha=level)
            for place, (estimate, se_sampling), judgement in zip(
                places, found, family, strict=True
            ):
                same = estimate.method == SAME_TRAINING
                judged[place] = attribution_of(
                    definitions[place],
                    weights[place],
                    noise,
                    estimate,
                    replace(judgement, verdict="equivalent") if same else judgement,
                    metric=outcomes.metric,
                    margin=margin,
                    simultaneous=simultaneous,
                    se_sampling=se_sampling,
                )
        rows += [judged[place] for place in range(len(definitions))]
    return tuple(rows)


def _estimate(
    definition: EffectDefinition,
    weights: Mapping[Combination, float],
    outcomes: Outcomes,
    noise: Noise,
    confidence: float,
) -> tuple[Estimate, float]:
    """The estimate of one effect, and the standard error of having sampled orders (or NaN)."""
    nan = math.nan
    if not weights:
        return Estimate(0.0, 0.0, nan, 0.0, 0.0, nan, SAME_TRAINING), nan
    if any(cell not in noise.moments for cell in weights):
        return without_interval(nan, se=nan, method="no_data"), nan
    estimate = noise.estimate(weights, confidence)
    if not definition.draws or not estimate.se > 0:
        return estimate, nan
    if len(definition.draws) >= definition.population:
        return estimate, 0.0
    draws = [_canonical(draw, outcomes) for draw in definition.draws]
    sampling = _sampling_variance(draws, weights, noise, estimate.method)
    sampling *= 1 - len(draws) / definition.population
    return _with_sampling(estimate, sampling, len(draws), confidence), math.sqrt(sampling)


def _canonical(
    weights: Mapping[Combination, float], outcomes: Outcomes
) -> Mapping[Combination, float]:
    """The weights of trainings that are really different."""
    if not outcomes.same:
        return weights
    return combined([(1.0, {outcomes.canonical(cell): w}) for cell, w in weights.items()])


def _sampling_variance(
    draws: Sequence[Mapping[Combination, float]],
    weights: Mapping[Combination, float],
    noise: Noise,
    method: str,
) -> float:
    """The variance of the mean over draws that comes from having drawn only these; at least 0.

    The draws scatter by their own differences and by the noise of the cells. The latter part is
    known, as cells are shared: its expectation is (sum_d sum_c w_dc^2 V_c - m sum_c w_c^2 V_c) /
    (m - 1), with V_c the variance of a cell's mean and w_c the mean of the w_dc.
    """
    count = len(draws)
    if count < 2:
        return math.nan
    values = [math.fsum(w * noise.moments[cell].mean for cell, w in draw.items()) for draw in draws]
    center = math.fsum(values) / count
    scatter = math.fsum((value - center) ** 2 for value in values) / (count - 1)
    of_means = noise.of_means({cell for draw in draws for cell in draw}, method)
    each = math.fsum(w * w * of_means[cell] for draw in draws for cell, w in draw.items())
    shared = math.fsum(w * w * of_means[cell] for cell, w in weights.items())
    return max(0.0, scatter - (each - count * shared) / (count - 1)) / count


def _with_sampling(estimate: Estimate, sampling: float, draws: int, confidence: float) -> Estimate:
    """The estimate with the error of sampling added, by Satterthwaite's rule."""
    if math.isnan(sampling):
        return without_interval(estimate.delta, se=math.nan, method="single_run")
    df = degrees_of_freedom([(estimate.se**2, estimate.df), (sampling, draws - 1)])
    variance = estimate.se**2 + sampling
    return t_estimate(estimate.delta, variance, df, method=estimate.method, confidence=confidence)
