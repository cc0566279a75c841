"""What to change first in the config, and what to run next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from odapi_repro.analysis.attribution import Attribution, Combination, StudiedDeviation, moved
from odapi_repro.analysis.attribution.effect_definitions import (
    EffectDefinition,
    combined,
    difference,
)
from odapi_repro.analysis.intervals import smallest_effect
from odapi_repro.factors import POST_HOC_FACTORS
from odapi_repro.features.explain.designs import Bisection, SampledShapley
from odapi_repro.features.explain.explanation import UnvariedDeviation
from odapi_repro.features.explain.report.effect_wording import (
    cell_text,
    change_text,
    returned_text,
    sized,
)
from odapi_repro.features.explain.report.explanation_report import (
    ExplainedEffect,
    ExplanationReport,
)
from odapi_repro.foreign_text import command_line
from odapi_repro.page.blocks import code
from odapi_repro.page.numbers import count_of, joined, number

# --- What to change first, and what to run next: never stronger than the intervals allow ---


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
        counted, estimand = self.report.counted, self.report.estimand
        definitions = [
            EffectDefinition("from_user", names, "reference", "user", weights, "from_user")
            for names, to, start in wanted
            if (weights := difference(to, start))
            and counted.sample(to, estimand)
            and counted.sample(start, estimand)
        ]
        return self.report.attributed(definitions)[: len(definitions)]

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


def change_lines(report: ExplanationReport, advice: Advice) -> list[str]:
    """What to change first, what better stays, and what is not decided."""
    lines = [_change(report, one) for one in advice.changes]
    if advice.after is not None and not math.isnan(advice.after.delta):
        lines.append(_after(report, advice, advice.after))
    if not lines:
        lines.append(_nothing(report, advice))
    lines += [
        f"Keep your {one.effect.row.factor}: fixing it returns "
        f"{returned_text(one.effect, report.digits)}, a resolved loss."
        for one in advice.keeps
    ]
    if advice.undecided:
        told = [
            f"{one.row.factor} ({returned_text(one, report.digits)})" for one in advice.undecided
        ]
        lines.append(
            f"Undecided, so neither recommended nor cleared: {joined(told)}; what fixing them "
            "returned is in brackets."
        )
    if 0 < len(advice.unmeasured) < len(report.shares):
        lines.append(f"Not measured yet: {joined([one.row.factor for one in advice.unmeasured])}.")
    if advice.harmless:
        names = joined([name for one in advice.harmless for name in one.definition.deviations])
        margin = report.explanation.design.margin
        lines.append(f"No need to change (equivalent within ±{margin:g} points): {names}.")
    return lines


def _change(report: ExplanationReport, change: Change) -> str:
    effect, digits = change.effect, report.digits
    moved = [
        one for one in report.explanation.deviations if one.name in effect.definition.deviations
    ]
    share = returned_text(effect, digits)
    if len(moved) == 1:
        text = f"Fix {moved[0].name}, {change_text(report, moved[0])}: its share is {share}"
    else:
        names = joined([one.name for one in moved])
        text = f"Fix {names} together: their share is {share}"
    alone = change.alone
    if alone is not None and not math.isclose(alone.delta, effect.row.delta, abs_tol=1e-9):
        told = sized(-alone.delta, -alone.high, -alone.low, digits)
        text += f"; fixed alone in your config, it returned {told}"
        if alone.verdict != "loss":
            text += f" ({alone.verdict.replace('_', ' ')})"
    if effect.row.p_diverged_to > effect.row.p_diverged_from:
        text += (
            f"; trainings with it diverged in {effect.row.p_diverged_to:.0%}, without in "
            f"{effect.row.p_diverged_from:.0%}"
        )
    settings = "; ".join(code(f"{field}: {value}") for field, value in change.settings)
    return f"{text}. Write {settings}." if settings else f"{text}."


def _after(report: ExplanationReport, advice: Advice, row: Attribution) -> str:
    size = sized(row.delta, row.low, row.high, report.digits)
    told = {
        "loss": "a gap is left",
        "gain": "more than the reference",
        "equivalent": f"equivalent to the reference within ±{row.margin:g}",
    }.get(row.verdict, "no gap is resolved any more (which does not mean that there is none)")
    few = "this" if len(advice.changes) == 1 else "all of these"
    return f"With {few} fixed, your config scored {size} against the reference: {told}."


def _nothing(report: ExplanationReport, advice: Advice) -> str:
    if isinstance(report.design, Bisection):
        state = report.design.state(report.outcomes)
        if state.culprits == ():
            return (
                f"Nothing: your config scored within {report.design.margin:g} of the reference in "
                "the trials that decide."
            )
    if not report.shares or all(math.isnan(one.returned) for one in report.shares):
        return "Unknown so far: no share of the gap has been measured."
    if not advice.undecided and not advice.unmeasured:
        return "No change is needed: no deviation costs anything that was resolved."
    return "No deviation is known to cost AP: none of the losses is resolved."


# --- What to run next, in sentences: what is missing, what would decide, what needs no training ---


# The last part of a field -> the factor that needs no training.
_EVALUATION_FIELDS: Final = {
    "score_threshold": "score_threshold",
    "iou_threshold": "nms_iou",
    "soft_nms_sigma": "soft_nms",
    "max_total_detections": "detections_per_image",
    "max_detections_per_class": "detections_per_class",
}
_MOST_LISTED: Final = 6


def run_lines(report: ExplanationReport, advice: Advice) -> list[str]:
    """What to run next, what is most needed first."""
    lines = [
        *_unfinished(report),
        *_single_runs(report, advice),
        *_divergence(report, advice),
        *_decisions(report, advice),
        *_evaluation(report),
        *_unexpressed(report),
        *_scale(report, advice),
    ]
    return lines or ["Nothing: every deviation is decided."]


def _unfinished(report: ExplanationReport) -> list[str]:
    lines = []
    wanted = report.result.wanted
    if wanted:
        cells = [
            cell_text(report.explanation.deviations, one.combination, one.labels)
            for one in wanted[:_MOST_LISTED]
        ]
        more = len(wanted) - len(cells)
        told = "; ".join([*cells, *([f"{count_of(more, 'more cell')}"] if more else [])])
        trials = count_of(sum(len(one.seeds) for one in wanted), "trial")
        lines.append(f"{trials} that the design still waits for, by the same command: {told}.")
    failed = report.status_counts.get("failed", 0)
    if failed:
        lines.append(
            f"{count_of(failed, 'failed trial')} again (--retry failed): a failure is no outcome."
        )
    return lines


def _single_runs(report: ExplanationReport, advice: Advice) -> list[str]:
    single = [one.row.factor for one in advice.undecided if one.row.verdict == "single_run"]
    if not single:
        return []
    return [
        f"More seeds of every cell (--seeds {seeds_for(report, 2)}): with one training each, an "
        "effect cannot be told from the noise between seeds, so there is no verdict on "
        f"{joined(single)}."
    ]


def _divergence(report: ExplanationReport, advice: Advice) -> list[str]:
    diverged = report.status_counts.get("diverged", 0)
    if not diverged:
        return []
    causes = advice.causes_of_divergence
    told = f"{count_of(diverged, 'trial')} diverged"
    if causes:
        return [
            f"{told}, all with your {joined(causes)}. Fix what makes it diverge before you weigh "
            "anything else; its losses are in train.log."
        ]
    likeliest = advice.likeliest_to_diverge
    if likeliest is not None:
        row = likeliest.row
        told += (
            f", most often with your {row.factor} ({row.p_diverged_to:.0%}, without it "
            f"{row.p_diverged_from:.0%})"
        )
    return [f"{told}. No deviation is in all of them; their losses are in train.log."]


def _decisions(report: ExplanationReport, advice: Advice) -> list[str]:
    lines = [_decide(report, one) for one in advice.replicates]
    wanted = [one.replicates for one in advice.replicates if one.replicates and not one.by_orders]
    if not wanted:
        return lines
    race = report.result.race
    if race is None:
        least, most = seeds_for(report, min(wanted)), seeds_for(report, max(wanted))
        told = f"{least}" if least == most else f"{least} to {most}"
        lines.append(
            f"--seeds {told} gives every cell that many; --race adds them only where an effect is "
            "undecided."
        )
    elif race.reason == "budget":
        lines.append("The race has spent its budget: a larger --budget lets it go on.")
    elif race.reason == "looks":
        lines.append(
            f"The race is over after {race.looks} looks; a new one with more --seeds begins higher."
        )
    return lines


def seeds_for(report: ExplanationReport, replicates: int) -> int:
    """The --seeds with which every cell has so many replicates that effects are estimated from.

    A path and a bisection decide by a third of the seeds, at least one, and estimate from the rest.
    """
    if not report.explanation.design.order_seeds:
        return replicates
    seeds = replicates + 1
    while seeds - max(1, seeds // 3) < replicates:
        seeds += 1
    return seeds


def _decide(report: ExplanationReport, one: Replicates) -> str:
    digits, row = report.digits, one.effect.row
    name = row.factor
    what = (
        f"an effect of the {number(one.target, digits)} seen"
        if abs(row.delta) >= row.margin
        else f"an effect as large as the margin, {number(one.target, digits)},"
    )
    if one.by_orders and isinstance(report.design, SampledShapley):
        return (
            f"{name}: most of its error comes from the {2 * len(report.design.orders)} orders "
            "sampled; more of them (--orders), not more seeds."
        )
    if one.replicates is None:
        return (
            f"{name}: to show {what} would take more than {MOST_REPLICATES} replicates a cell, so "
            "it stays open."
        )
    return (
        f"{name}: {one.replicates} replicates of each of its {count_of(row.cells, 'cell')} would "
        f"show {what} four times in five ({count_of(one.trials or 0, 'more trial')})."
    )


def _evaluation(report: ExplanationReport) -> list[str]:
    """What needs no training: the factors of the evaluation, on a checkpoint that is there."""
    record = report.explanation
    lines = []
    for one in record.unvaried:
        if one.kind != "evaluation":
            continue
        for field in one.fields:
            factor = _EVALUATION_FIELDS.get(field.path.rsplit(".", 1)[-1])
            if factor in POST_HOC_FACTORS and field.user and field.reference:
                levels = f"{field.reference},{field.user}"
                named = ["--pipeline", record.pipeline, "--ablate", factor, "--levels", levels]
                command = f"python -m odapi_repro.run {command_line(named)}"
                lines.append(
                    f"{factor}, without training: "
                    f"{code(f'{command} --checkpoint <your training folder>')}."
                )
            else:
                lines.append(_evaluated_otherwise(report, one))
    return list(dict.fromkeys(lines))


def _evaluated_otherwise(report: ExplanationReport, one: UnvariedDeviation) -> str:
    paths = joined([field.path.rsplit(".", 1)[-1] for field in one.fields])
    about = one.factor if paths == one.factor else f"{one.factor} ({paths})"
    if report.evaluation is not None:
        return f"{about} changes what is measured. See the section on fewer images."
    return (
        f"{about} changes what is measured: evaluate one checkpoint with your setting and with the "
        f"reference's ({code('python -m odapi_repro.evaluate')})."
    )


def _unexpressed(report: ExplanationReport) -> list[str]:
    names = list(
        dict.fromkeys(
            one.factor for one in report.explanation.unvaried if one.kind == "unexpressed"
        )
    )
    if not names:
        return []
    return [
        f"{joined(names)}: no factor varies it. Put the reference's value into your config and run "
        "explain on the result."
    ]


def _scale(report: ExplanationReport, advice: Advice) -> list[str]:
    record = report.explanation
    if record.scale == "full":
        return []
    lines: list[str] = []
    kinds: Sequence[tuple[str, str]] = (
        ("at_this_scale", f"{record.scale} scale cannot vary it"),
        ("held", "it was left out on request"),
    )
    for kind, why in kinds:
        names = [one.factor for one in record.unvaried if one.kind == kind]
        if names:
            lines.append(f"{joined(names)}: {why}; --scale full would.")
    if advice.changes and record.scale == "proxy":
        first = advice.changes[0].effect.row.factor
        lines.append(
            f"At full scale, first your config with {first} fixed: a proxy shows direction and "
            "rank, not how much AP it costs on your data."
        )
    return lines
