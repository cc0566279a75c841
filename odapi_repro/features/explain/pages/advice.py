"""What to change first, and what to run next: never stronger than the intervals allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from odapi_repro.analysis.attribution import (
    Attribution,
    Combination,
    StudiedDeviation,
    attributions,
    moved,
)
from odapi_repro.analysis.attribution.definitions import EffectDefinition, combined, difference
from odapi_repro.analysis.power import smallest_effect
from odapi_repro.features.explain.designs import RACE_CONFIDENCE
from odapi_repro.features.explain.pages.content import CONFIDENCE, ExplanationReport
from odapi_repro.features.explain.pages.effects import ExplainedEffect

__all__ = ["MOST_REPLICATES", "Advice", "Change", "Replicates"]

MOST_REPLICATES: Final = 50
"""More replicates of a cell than this are not recommended: the effect is told to be too small."""


@dataclass(frozen=True)
class Change:
    """A deviation, or several that were mended together, and what mending returns.

    Attributes:
        effect: its share of the gap.
        settings: field and value to write into the user's config.
        alone: what mending it alone in the user's config did; None where that was not measured.
    """

    effect: ExplainedEffect
    settings: tuple[tuple[str, str], ...]
    alone: Attribution | None


@dataclass(frozen=True)
class Replicates:
    """What it takes to decide an effect.

    Attributes:
        effect: that is not decided.
        target: the size that would be found with 80 % power, in the metric's unit: what was seen,
            or the margin where that is larger.
        replicates: of each of its cells in all; None for more than `MOST_REPLICATES`.
        trials: that this is more than have run; None likewise.
        by_orders: whether most of its error comes from the few orders that were sampled, which
            replicates do not mend.
    """

    effect: ExplainedEffect
    target: float
    replicates: int | None
    trials: int | None
    by_orders: bool


@dataclass(frozen=True)
class Advice:
    """What follows from a report."""

    report: ExplanationReport

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """The resolved losses, the largest first."""
        found = [one for one in self.report.shares if one.row.verdict == "loss"]
        return self._changes(found)

    @cached_property
    def keeps(self) -> tuple[Change, ...]:
        """The deviations that do better than the reference's level: not to be mended."""
        found = [one for one in self.report.shares if one.row.verdict == "gain"]
        return self._changes(found)

    @cached_property
    def undecided(self) -> tuple[ExplainedEffect, ...]:
        """The measured shares of which neither an effect nor its absence was shown."""
        return tuple(
            one
            for one in self.report.shares
            if one.row.verdict in ("unresolved", "single_run") and not math.isnan(one.returned)
        )

    @cached_property
    def unmeasured(self) -> tuple[ExplainedEffect, ...]:
        """The shares whose cells have not finished."""
        return tuple(one for one in self.report.shares if math.isnan(one.returned))

    @cached_property
    def harmless(self) -> tuple[ExplainedEffect, ...]:
        """The shares that are equivalent to nothing within the margin."""
        return tuple(one for one in self.report.shares if one.row.verdict == "equivalent")

    @cached_property
    def after(self) -> Attribution | None:
        """The user's config with all of `changes` mended, minus the reference; None where that
        cell was not measured or is the reference itself.
        """
        names = [name for one in self.changes for name in one.effect.definition.deviations]
        indices = [i for i, one in enumerate(self._varied) if one.name in names]
        cell = moved(self.report.design.user, indices, 0)
        if not names or cell == self.report.design.reference:
            return None
        found = self._estimated([(tuple(names), cell, self.report.design.reference)])
        return found[0] if found else None

    @cached_property
    def replicates(self) -> tuple[Replicates, ...]:
        """What would decide the unresolved shares that have an interval."""
        return tuple(
            self._needed(one)
            for one in self.undecided
            if one.row.verdict == "unresolved" and one.row.se > 0
        )

    @cached_property
    def causes_of_divergence(self) -> tuple[str, ...]:
        """The deviations that every diverged cell stands at the user's level of."""
        outcomes = self.report.counted
        cells = [cell for cell in outcomes.by_cell if outcomes.diverged(cell)]
        return tuple(
            one.name
            for index, one in enumerate(self._varied)
            if cells and all(cell[index] for cell in cells)
        )

    @cached_property
    def likeliest_to_diverge(self) -> ExplainedEffect | None:
        """The share whose trainings diverge more often than without it by most, if any do."""
        risks = [
            (one.row.p_diverged_to - one.row.p_diverged_from, one)
            for one in self.report.shares
            if one.row.p_diverged_to > one.row.p_diverged_from
        ]
        return max(risks, key=lambda risk: risk[0])[1] if risks else None

    @property
    def _varied(self) -> Sequence[StudiedDeviation]:
        return self.report.explanation.deviations

    @cached_property
    def _alone(self) -> dict[str, Attribution]:
        """Deviation -> what it does in the user's config, all others staying as they are."""
        user = self.report.design.user
        wanted = [
            ((one.name,), user, moved(user, [index], 0)) for index, one in enumerate(self._varied)
        ]
        return {row.factor: row for row in self._estimated(wanted)}

    def _changes(self, effects: Sequence[ExplainedEffect]) -> tuple[Change, ...]:
        ranked = sorted(effects, key=lambda one: -abs(one.returned))
        return tuple(
            Change(one, self._settings(one), self._alone.get(one.row.factor)) for one in ranked
        )

    def _settings(self, effect: ExplainedEffect) -> tuple[tuple[str, str], ...]:
        named = {one.name: one for one in self._varied}
        factors = [
            factor
            for name in effect.definition.deviations
            for factor in named[name].factors
            if factor in self.report.mapped
        ]
        found = [pair for factor in factors for pair in self.report.mapped[factor].settings]
        return tuple(dict.fromkeys(found))

    def _estimated(
        self, wanted: Sequence[tuple[tuple[str, ...], Combination, Combination]]
    ) -> tuple[Attribution, ...]:
        """The differences of two cells, named and judged together, where both have been measured.

        A race and a path give some cells other replicates than others; a cell without any of those
        that count is not measured.
        """
        report, counted = self.report, self.report.counted
        definitions = [
            EffectDefinition("from_user", names, "reference", "user", weights, "from_user")
            for names, to, start in wanted
            if (weights := difference(to, start))
            and counted.sample(to, report.estimand)
            and counted.sample(start, report.estimand)
        ]
        rows = attributions(
            definitions,
            counted,
            margin=report.explanation.design.margin,
            confidence=RACE_CONFIDENCE if report.race else CONFIDENCE,
            alpha=report.race.level if report.race else None,
            cells=[cell for one in report.effects for cell in one.definition.weights],
        )
        return rows[: len(definitions)]

    def _needed(self, effect: ExplainedEffect) -> Replicates:
        """By the effect's own standard error, as if all its cells had the same spread."""
        report, row = self.report, effect.row
        canonical = report.counted.canonical
        weights = combined([(1.0, {canonical(c): w}) for c, w in effect.definition.weights.items()])
        sampling = 0.0 if math.isnan(row.se_sampling) else row.se_sampling
        noise = math.sqrt(max(row.se**2 - sampling**2, 0.0))
        squares = math.fsum(weight * weight for weight in weights.values())
        sd = noise * math.sqrt(row.replicates / squares)
        target = max(abs(row.delta), row.margin)
        family = sum(one.definition.family == effect.definition.family for one in report.effects)
        enough = next(
            (
                n
                for n in range(row.replicates + 1, MOST_REPLICATES + 1)
                if smallest_effect(weights.values(), sd=sd, n=n, comparisons=family) <= target
            ),
            None,
        )
        have = {cell: len(report.counted.replicates(cell)) for cell in weights}
        trials = None if enough is None else sum(max(0, enough - n) for n in have.values())
        return Replicates(effect, target, enough, trials, sampling**2 > noise**2)
