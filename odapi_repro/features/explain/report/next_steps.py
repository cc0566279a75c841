"""What to run next, in sentences: what is missing, what would decide, what needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from odapi_repro.factors import POST_HOC_FACTORS
from odapi_repro.features.explain.designs import SampledShapley
from odapi_repro.features.explain.explanation import UnvariedDeviation
from odapi_repro.features.explain.report.advice import MOST_REPLICATES, Advice, Replicates
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.features.explain.report.wording import cell_text
from odapi_repro.foreign_text import command_line
from odapi_repro.page.blocks import code
from odapi_repro.page.numbers import count_of, joined, number

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
        f"More seeds of every cell (--seeds {seeds_for(report, 2)}): with one training each, "
        "nothing tells an effect from the noise between seeds, and nothing is said of "
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
            f"{told}, all with your {joined(causes)}: mend what makes it diverge before anything "
            "else is weighed, and look at its losses (train.log)."
        ]
    likeliest = advice.likeliest_to_diverge
    if likeliest is not None:
        row = likeliest.row
        told += (
            f", most often with your {row.factor} ({row.p_diverged_to:.0%}, without it "
            f"{row.p_diverged_from:.0%})"
        )
    return [f"{told}; no deviation is in all of these: look at their losses (train.log)."]


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
            f"--seeds {told} gives every cell so many; --race adds them only to the cells of what "
            "is not decided."
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
            f"{name}: to show {what} would take more than {MOST_REPLICATES} replicates a cell, and "
            "is left open."
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
        return f"{about} changes what is measured: see the section on fewer images."
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
        f"{joined(names)}: no factor varies it; put the reference's value into your config, and "
        "explain that one."
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
            f"At full scale, first your config with {first} mended: the proxy tells direction and "
            "rank, not how much AP it is on your data."
        )
    return lines
