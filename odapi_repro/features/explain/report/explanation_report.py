"""What the report of an explanation follows from: its record, its trials, and nothing else."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import pandas as pd

from odapi_repro.analysis.attribution import (
    Attribution,
    Combination,
    EffectDefinition,
    GapPart,
    GapParts,
    KnownNumber,
    Outcomes,
    attributions,
    gap_parts,
    outcomes_of,
)
from odapi_repro.analysis.attribution.effect_definitions import combined
from odapi_repro.analysis.effect import LOWER_IS_BETTER
from odapi_repro.analysis.trial_table import (
    AP_OR_0,
    GIVEN_CONVERGENCE,
    LEADING_COLUMNS,
    Estimand,
    order_columns,
)
from odapi_repro.features.explain.designs import (
    RACE_CONFIDENCE,
    Bisection,
    Design,
    DesignResult,
    Race,
    attribute,
)
from odapi_repro.features.explain.explanation import Explanation, MappedLevel, design_of, race_of
from odapi_repro.page.study_tables import csv_bytes, read_trials

_CONFIDENCE: Final = 0.95
"""Of all intervals; a race computes them a little wider, so that they hold it."""

_INTERACTION_KINDS: Final = frozenset({"interaction", "shapley_interaction", "disagreement"})

_LEAST_REST: Final = 1e-6


@dataclass(frozen=True)
class ExplainedEffect:
    """One effect of the design, under both estimands.

    Attributes:
        definition: what it is a difference of.
        row: its attribution, a diverged trial counting for 0 (for a loss: left out).
        converged: the same given convergence; None where no trial of the design diverged.
    """

    definition: EffectDefinition
    row: Attribution
    converged: Attribution | None

    @property
    def returned(self) -> float:
        """What mending it returns: the reference's level minus the user's; NaN where unknown."""
        return -self.row.delta + 0.0

    @property
    def ends(self) -> tuple[float, float]:
        """The interval of `returned`, NaN where there is none."""
        return -self.row.high + 0.0, -self.row.low + 0.0


@dataclass(frozen=True, eq=False)
class ExplanationReport:
    """Everything that results/<study>/ of an explanation says.

    Attributes:
        explanation: the record, explanation.json.
        trials: see `odapi_repro.analysis.trial_table`, one column a factor of the record.
        evaluation: AP on fewer images, columns `cell seed trial_id share images draws mean_delta
            sd`, in points; None where that was not measured.

    Raises:
        UserError: the record names a design that does not take its deviations.
        ValueError: when something is asked of it, and the table lacks a column of the record, has
            an unknown status, or holds a trial or a replicate twice.
    """

    explanation: Explanation
    trials: pd.DataFrame
    evaluation: pd.DataFrame | None = None

    @cached_property
    def table(self) -> pd.DataFrame:
        """The trials as trials.csv has them, by cell, then by seed.

        Numbers have the digits of the file, so that a study that is read again says the same.
        """
        factors = self.explanation.factors
        trials = self.trials
        if not len(trials):
            trials = pd.DataFrame(columns=[*LEADING_COLUMNS, *factors])
        ordered = order_columns(trials, factors)
        for name in factors:
            ordered[name] = ordered[name].astype(str)
        written = read_trials(io.BytesIO(csv_bytes(ordered)))
        labels = [[str(written[name].iloc[row]) for name in factors] for row in range(len(written))]
        keys = [
            (self._place(cell), int(seed), str(trial))
            for cell, seed, trial in zip(labels, written["seed"], written["trial_id"], strict=True)
        ]
        rows = sorted(range(len(written)), key=lambda row: keys[row])
        return written.iloc[rows].reset_index(drop=True)

    @cached_property
    def outcomes(self) -> Outcomes:
        """What all trials of these deviations came to."""
        record = self.explanation
        return outcomes_of(
            self.table, record.deviations, metric=record.metric, same=dict(record.same)
        )

    @cached_property
    def design(self) -> Design:
        """The design that the record names."""
        return design_of(self.explanation.design, self.explanation.deviations)

    @cached_property
    def race(self) -> Race | None:
        """The policy that adds replicates, if there is one."""
        return race_of(self.explanation.design)

    @cached_property
    def result(self) -> DesignResult:
        """Its attributions as the trials stand, and the trials that it still wants."""
        return attribute(
            self.design, self.outcomes, margin=self.explanation.design.margin, race=self.race
        )

    @cached_property
    def counted(self) -> Outcomes:
        """The outcomes that effects are estimated from."""
        race = self.result.race
        if race is None:
            return self.design.counted(self.outcomes)
        return self.outcomes.restricted(race.seeds)

    @property
    def complete(self) -> bool:
        """Whether the design waits for no trial."""
        return not self.result.wanted

    @property
    def estimand(self) -> Estimand:
        """The one that comes first: AP or 0, but for a loss given convergence."""
        return self.result.rows[0].estimand

    @cached_property
    def effects(self) -> tuple[ExplainedEffect, ...]:
        """The effects of the design, the gap first."""
        definitions = self.design.effects(self.outcomes)
        return _explained(definitions, self.result.rows)

    @property
    def gap(self) -> ExplainedEffect:
        """The user's config minus the reference, both trained here."""
        return self.effects[0]

    @cached_property
    def shares(self) -> tuple[ExplainedEffect, ...]:
        """What the gap is shared among, in the order of the waterfall from the user's end.

        The largest first; of a path or a bisection its steps as they were taken. A path that is
        known from the reference's end only is walked backwards.
        """
        primary = [one for one in self.effects[1:] if one.definition.primary]
        families = list(dict.fromkeys(one.definition.family for one in primary))
        if families and primary[0].definition.kind == "path_share":
            found = [one for one in primary if one.definition.family == families[0]]
            return tuple(found if families[0] == "path from_user" else reversed(found))
        if isinstance(self.design, Bisection):
            return tuple(primary)
        users = {one.name: one.label(1) for one in self.explanation.deviations}
        of_user = [one for one in primary if users[one.row.factor] == one.row.to_level]
        return tuple(
            sorted(of_user, key=lambda one: (math.isnan(one.returned), -_or_0(one.returned)))
        )

    @cached_property
    def rest(self) -> ExplainedEffect | None:
        """What the shares leave of the gap; None where they sum to it, by their definition."""
        gap = self.gap.definition
        parts = [(-1.0, one.definition.weights) for one in self.shares]
        weights = combined([(1.0, gap.weights), *parts])
        if not self.shares or all(abs(weight) < _LEAST_REST for weight in weights.values()):
            return None
        definition = replace(
            gap,
            kind="rest",
            deviations=("not shared out",),
            weights=weights,
            family="rest",
            context="the gap without the shares: interactions",
        )
        return _explained([definition], self.attributed([definition]))[0]

    def attributed(self, definitions: Sequence[EffectDefinition]) -> tuple[Attribution, ...]:
        """Gives further effects, judged together, as those of the design are estimated."""
        return attributions(
            definitions,
            self.counted,
            margin=self.explanation.design.margin,
            confidence=RACE_CONFIDENCE if self.race else _CONFIDENCE,
            alpha=self.race.level if self.race else None,
            cells=[cell for one in self.effects for cell in one.definition.weights],
        )

    @cached_property
    def interactions(self) -> tuple[ExplainedEffect, ...]:
        """Interactions of two, or where a deviation's effect differs between the two ends."""
        return tuple(one for one in self.effects if one.definition.kind in _INTERACTION_KINDS)

    @cached_property
    def others(self) -> tuple[ExplainedEffect, ...]:
        """The effects that are neither the gap nor a share nor an interaction."""
        shown = {id(one) for one in (self.gap, *self.shares, *self.interactions)}
        return tuple(one for one in self.effects if id(one) not in shown)

    @cached_property
    def parts(self) -> GapParts:
        """The gap in four parts.

        `config` has the interval of the attribution of the whole gap, whose variance is pooled
        over cells where they are alike.
        """
        record = self.explanation
        reported = next((r.value for r in record.reported if r.metric == record.metric), None)
        checkpoint = None if record.checkpoint is None else KnownNumber(record.checkpoint)
        parts = gap_parts(
            reported=reported,
            checkpoint=checkpoint,
            reference=self._end(self.design.reference),
            user=self._end(self.design.user),
            claimed=record.claimed,
            confidence=_CONFIDENCE,
        )
        return replace(parts, parts=tuple(self._with_interval(part) for part in parts.parts))

    @property
    def ends(self) -> tuple[float, float]:
        """The mean of the user's config and that of the reference; NaN where nothing finished."""
        user, reference = self._end(self.design.user), self._end(self.design.reference)
        return (user.value if user else math.nan, reference.value if reference else math.nan)

    @property
    def diverged(self) -> bool:
        """Whether a trial of the design diverged."""
        return any(row.estimand == GIVEN_CONVERGENCE for row in self.result.rows) and (
            self.estimand == AP_OR_0
        )

    @property
    def status_counts(self) -> dict[str, int]:
        """How many trials have each status that occurs."""
        counts = self.table["status"].value_counts(sort=False)
        return {str(status): int(count) for status, count in counts.items()}

    @property
    def wall_seconds(self) -> float:
        """The wall time of all trials, NaN where none is known."""
        seconds = pd.to_numeric(self.table["wall_seconds"], errors="coerce").dropna()
        return math.fsum(seconds) if len(seconds) else math.nan

    @property
    def scale_lines(self) -> tuple[str, ...]:
        """What the title of a figure adds where AP is not that of full scale."""
        scale = self.explanation.scale
        return () if scale == "full" else (f"{scale} scale: differences only",)

    @property
    def digits(self) -> int:
        """Digits behind the point: AP has one, a loss three."""
        return 1 if self.unit else 3

    @property
    def unit(self) -> str:
        """What the metric counts in: points, or nothing for a loss."""
        return "" if self.explanation.metric in LOWER_IS_BETTER else "points"

    @cached_property
    def mapped(self) -> Mapping[str, MappedLevel]:
        """Factor -> its levels in the configs and in the trials."""
        return {one.factor: one for one in self.explanation.mapped}

    def _end(self, cell: Combination) -> KnownNumber | None:
        values = self.counted.sample(cell, self.estimand)
        full = self.explanation.scale == "full"
        return KnownNumber.of_replicates(values, full_scale=full) if values else None

    def _with_interval(self, part: GapPart) -> GapPart:
        low, high = self.gap.ends
        if part.name != "config" or part.value is None or math.isnan(low):
            return part
        return replace(part, se=self.gap.row.se, low=low, high=high)

    def _place(self, labels: list[str]) -> tuple[tuple[int, str], ...]:
        """Where a cell stands in tables: in the order of the levels of each factor."""
        order = {
            factor: [level[factor] for level in one.levels]
            for one in self.explanation.deviations
            for factor in one.factors
        }
        return tuple(
            (order[factor].index(label) if label in order[factor] else len(order[factor]), label)
            for factor, label in zip(self.explanation.factors, labels, strict=True)
        )


def _or_0(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _explained(
    definitions: Sequence[EffectDefinition], rows: Sequence[Attribution]
) -> tuple[ExplainedEffect, ...]:
    """The effects, from the rows of `attributions` of these definitions."""
    count = len(definitions)
    second: Sequence[Attribution | None] = rows[count:] or (None,) * count
    return tuple(
        ExplainedEffect(*found) for found in zip(definitions, rows[:count], second, strict=True)
    )
