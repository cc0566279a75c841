"""From definitions and outcomes to attributions.

One variance is taken for all cells where they are alike: Bartlett's test at 0.25 over all of them,
and the effect's own cells no noisier than the others. Bartlett's test overlooks a single noisy
cell; an effect with it then keeps its own variances, and its interval its level. Else each cell has
its own, and the degrees of freedom are Satterthwaite's, with half of the correction that takes the
bias out of them: the square of an estimated variance s^2 on d degrees of freedom is on average
(d + 2) / d times that of the true one, which makes them too few and the interval too wide. The
whole correction (d + 2 for d, and 2 off the result) makes them too many with two or three
replicates, where they are themselves a matter of chance. Half was found by simulation
(docs/statistics.md).

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

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from scipy import special

from odapi_repro.analysis.attribution.effect_definitions import (
    Combination,
    EffectDefinition,
    Outcomes,
    combined,
)
from odapi_repro.analysis.effect import LOWER_IS_BETTER, Effect, Judgement, columns_of, judgements
from odapi_repro.analysis.intervals import (
    Estimate,
    Moments,
    PooledVariance,
    equivalence_p,
    moments_of,
    pool_moments,
    t_estimate,
    without_interval,
)
from odapi_repro.analysis.trial_table import AP_OR_0, GIVEN_CONVERGENCE, Estimand

# --- The noise between replicates, and what it allows to say of an effect ---


CAUTION: Final = 1.2
"""Above this ratio of its own variance to the pooled one an effect is not pooled. Simulated with
three replicates: intervals cover 95.7 % where cells are alike, and 92 % where one has three times
the others' standard deviation; at a ratio of 1 that is 95.9 and 93 %, at 1.5 95.5 and 91 %."""

_CORRECTION: Final = 1.0


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


def degrees_of_freedom(parts: Iterable[tuple[float, float]]) -> float:
    """Those of a sum of independent variances, given as pairs of each with its own.

    Satterthwaite (1946), with half of the correction for the parts being estimates.
    """
    total = squares = 0.0
    for part, df in parts:
        total += part
        squares += part * part / (df + _CORRECTION)
    return total * total / squares - _CORRECTION if squares > 0 else math.nan


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


@dataclass(frozen=True)
class Noise:
    """What is known of the noise between replicates, for one estimand.

    Attributes:
        estimand: what a diverged trial counts for.
        counts: the trials of every cell.
        moments: of the cells that have data.
        pooled: the variance common to cells without a diverged trial, None where they differ.
        at_risk: cells in which a trial may diverge; empty given convergence.
        risky: the variance of every cell's mean, where some are at risk.
    """

    estimand: Estimand
    counts: Mapping[Combination, CellCounts]
    moments: Mapping[Combination, Moments]
    pooled: PooledVariance | None
    at_risk: frozenset[Combination]
    risky: Mapping[Combination, MeanVariance]

    @staticmethod
    def of(
        outcomes: Outcomes, cells: Sequence[Combination], estimand: Estimand, evidence: Outcomes
    ) -> Noise:
        """The noise of these cells, each of which is a training of its own.

        Args:
            outcomes: that count.
            cells: of the effects.
            estimand: what a diverged trial counts for.
            evidence: what tells where trainings diverge, the outcomes themselves or more.
        """
        counts: dict[Combination, CellCounts] = {}
        moments: dict[Combination, Moments] = {}
        for cell in cells:
            sample = outcomes.sample(cell, estimand)
            if sample:
                moments[cell] = moments_of(sample)
            counts[cell] = CellCounts(
                counted=len(sample),
                finished=len(outcomes.replicates(cell)),
                diverged=outcomes.diverged(cell),
                left_out=outcomes.left_out.get(cell, 0),
            )
        sound = [found for cell, found in moments.items() if not counts[cell].diverged]
        at_risk = cells_at_risk(evidence) if estimand == AP_OR_0 else frozenset()
        return Noise(
            estimand=estimand,
            counts=counts,
            moments=moments,
            pooled=pool_moments(sound),
            at_risk=at_risk,
            risky=variances_at_risk(outcomes, list(moments), at_risk, evidence) if at_risk else {},
        )

    def estimate(self, weights: Mapping[Combination, float], confidence: float) -> Estimate:
        """The estimate of one effect as far as the noise between replicates goes.

        Args:
            weights: of the means of cells, all of which have data.
            confidence: of the interval.
        """
        delta = own = even = 0.0
        parts = []
        alone = False
        for cell, weight in weights.items():
            found = self.moments[cell]
            share = weight * weight / found.n
            delta += weight * found.mean
            if found.n < 2:
                alone = True
                continue
            even += share
            part = share * found.variance
            own += part
            parts.append((part, float(found.n - 1)))
        if alone:
            return without_interval(delta, se=math.nan, method="single_run")
        if not self.at_risk.isdisjoint(weights):
            return self._with_divergence(delta, weights, confidence)
        if self.pooled is not None and own <= CAUTION * self.pooled.variance * even:
            return t_estimate(
                delta,
                self.pooled.variance * even,
                float(self.pooled.degrees_of_freedom),
                method="pooled",
                confidence=confidence,
            )
        df = degrees_of_freedom(parts)
        return t_estimate(delta, own, df, method="welch", confidence=confidence)

    def _with_divergence(
        self, delta: float, weights: Mapping[Combination, float], confidence: float
    ) -> Estimate:
        parts = [
            (w * w * variance, df)
            for cell, w in weights.items()
            for variance, df in self.risky[cell].parts
        ]
        variance = math.fsum(part for part, _ in parts)
        df = degrees_of_freedom(parts)
        return t_estimate(delta, variance, df, method="divergence", confidence=confidence)

    def of_means(self, cells: Iterable[Combination], method: str) -> dict[Combination, float]:
        """The variance of the mean of each cell, as an estimate by this method took it."""
        if method == "divergence":
            return {cell: self.risky[cell].variance for cell in cells}
        if method == "pooled" and self.pooled is not None:
            return {cell: self.pooled.variance / self.moments[cell].n for cell in cells}
        return {cell: self.moments[cell].variance / self.moments[cell].n for cell in cells}


# --- From definitions and outcomes to attributions: estimates, intervals and verdicts ---


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
