"""An evaluation as a terminal shows it, and its findings in sentences."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import numpy as np

from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.error_analysis.outcomes import Outcome
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport, Model
from odapi_repro.features.evaluate.evaluation_tables import (
    TYPE_TITLES,
    class_table,
    confusion_table,
    error_table,
    less,
    metric_name,
    metric_table,
    points,
    range_text,
    recall_table,
    signed_points,
)
from odapi_repro.features.evaluate.mask_chain_text import chain_text
from odapi_repro.foreign_text import shortened_name, shown
from odapi_repro.page.numbers import count_of

__all__ = [
    "caveats",
    "data_line",
    "findings",
    "interval_notes",
    "render_evaluation",
    "reported_lines",
]

_WIDTH = 100
_NAME = 40  # letters of a class in a sentence
_LEAST_SHOWN = 0.05  # what one decimal shows


def render_evaluation(
    report: EvaluationReport, *, per_class: bool = False, ascii_only: bool = True
) -> str:
    """The tables and findings; pandas is imported for it, matplotlib is not."""
    blocks = [_head(report)]
    for iou_type, own in report.model.breakdowns.items():
        table = _indented(metric_table(report, iou_type).text())
        notes = _wrapped(interval_notes(own), "  ")
        blocks.append("\n".join([TYPE_TITLES[iou_type], "", table, *notes]))
        blocks.append(f"Where the points went\n\n{_errors(report, iou_type)}")
        recall = recall_table(own).text()
        blocks.append(f"Recall by size and IoU threshold\n\n{_indented(recall)}")
        if per_class:
            classes = class_table(report, iou_type).text()
            blocks.append(f"Classes, the worst first\n\n{_indented(classes)}")
    if report.model.chain is not None:
        blocks.append(chain_text(report.model.chain))
    reported = reported_lines(report)
    if reported:
        blocks.append("\n".join(["Reported", "", *_wrapped(reported, "  ")]))
    blocks.append("\n".join(_wrapped(findings(report))))
    text = "\n\n".join(blocks) + "\n"
    return text.encode("ascii", "replace").decode() if ascii_only else text


def findings(report: EvaluationReport) -> list[str]:
    """What was found, in one or two sentences for boxes and for masks."""
    sentences = []
    for iou_type, own in report.model.breakdowns.items():
        name = metric_name(iou_type, "AP")
        ap = own.scores.metrics["AP"]
        if ap is None:
            sentences.append(f"{name}: there is no object to score.")
            continue
        ends = range_text(own.interval("AP"))
        percent = f"{100 * report.resampling.confidence:g} % interval"
        told = f"{name} {points(ap)}" + (f" ({percent} {ends})" if ends else "")
        sentences.append(f"{told}{_difference(report, iou_type)}. {_largest_loss(own)}")
    return sentences


def interval_notes(breakdown: Breakdown) -> list[str]:
    """What to mind about the intervals: of what they are, and what they cannot say."""
    interval = breakdown.interval("AP")
    if interval is None:
        return []
    notes = []
    excess = interval.excess or 0.0
    if interval.value is not None and excess >= _LEAST_SHOWN:
        limit = points(interval.value - excess)
        ends = (
            f" ({points(interval.limit_low)} to {points(interval.limit_high)})"
            if interval.limit_low is not None
            else ""
        )
        notes.append(
            f"The intervals are of sets of {interval.num_images:,} such images. AP falls as a set"
            " grows (interpolated precision is the best from a recall on): on unlimited ones it"
            f" would be about {limit}{ends}."
        )
    return [*notes, *([f"Intervals: {interval.note}."] if interval.note else [])]


def data_line(report: EvaluationReport) -> str:
    """What was scored, in numbers."""
    truth = report.truth
    crowd = int(truth.is_crowd.sum())
    used = len(set(truth.categories[~truth.is_crowd].tolist()))
    parts = [
        report.data,
        f"{truth.num_annotations - crowd:,} objects of {used:,} classes"
        + (
            f" ({truth.num_categories - used:,} without any)" if used < truth.num_categories else ""
        ),
    ]
    if crowd:
        parts.append(count_of(crowd, "crowd region"))
    return ", ".join([*parts, f"{report.model.detections.num:,} detections"])


def reported_lines(report: EvaluationReport) -> list[str]:
    """What is reported for the model, each with the protocol it was measured under."""
    return [
        f"{report.reference_name}: {one.text}, {one.source}; {one.protocol}."
        for one in report.reported
    ]


def caveats(report: EvaluationReport) -> list[str]:
    """What may not be concluded: what every evaluation has to say of itself, then this one."""
    found = [
        "Do not conclude that another training of the same config scores within the interval: it"
        f" holds the sampling of the {report.truth.num_images:,} images, not the noise between"
        " trainings."
        if report.resampling.resamples
        else "Do not conclude how the model does on other images: no interval was asked for.",
        "Do not add up gains: mending two kinds of error does not bring the sum of what each"
        " brings.",
        "Do not expect the scores of best F1 to be as good on other images: they were chosen on"
        " these.",
    ]
    if report.against is not None:
        found.append(
            f"Do not conclude that {report.model.label} is trained better than"
            f" {report.against.label}: the difference is of these two sets of detections."
        )
    return [*found, *report.oddities, *report.caveats]


def _head(report: EvaluationReport) -> str:
    lines = [*_named("model", report.model)]
    if report.against is not None:
        lines += _named("against", report.against)
    lines += _wrapped([data_line(report)], "data     ", rest=" " * 9)
    resampling = report.resampling
    how = f"scored by {report.engine}"
    if resampling.resamples:
        how += (
            f"; {100 * resampling.confidence:g} % intervals from {resampling.resamples:,} resamples"
            f" of the images, seed {resampling.seed}"
        )
    return "\n".join([*lines, f"how      {how}"])


def _named(title: str, model: Model) -> list[str]:
    return _wrapped(["; ".join((model.label, *model.about))], f"{title:9}", rest=" " * 9)


def _errors(report: EvaluationReport, iou_type: str) -> str:
    own = report.model.breakdowns[iou_type]
    lines = _indented(error_table(report, iou_type).text()).splitlines()
    # A gap before the two that sum up others.
    lines.insert(1 + len(own.errors.types), "")
    confusions = confusion_table(own, most=5)
    errors = own.errors
    lines += [
        "",
        f"  found: {errors.found:,} of {errors.objects:,} objects at IoU 0.5,"
        f" {errors.found_at_best_f1:,} of them above their class's score of the best F1",
    ]
    if confusions is not None:
        told = ", ".join(
            f"{shortened_name(one, _NAME)} as {shortened_name(other, _NAME)} {count}x"
            for one, other, count in confusions.rows
        )
        lines += _wrapped([f"taken for another class most often: {told}"], "  ")
    return "\n".join(lines)


def _difference(report: EvaluationReport, iou_type: str) -> str:
    if report.against is None:
        return ""
    both = (report.model, report.against)
    mine, theirs = (model.breakdowns[iou_type].scores.metrics["AP"] for model in both)
    text = f", {signed_points(less(mine, theirs))} against {report.against.label}"
    interval = report.difference(iou_type, "AP")
    ends = range_text(interval, signed=True)
    if interval is None or interval.low is None or interval.high is None:
        return text
    if mine == theirs and interval.se == 0:
        return f", the same as {report.against.label}"
    resolved = interval.low * interval.high > 0
    return f"{text} ({ends}{'' if resolved else ': not resolved on these images'})"


def _largest_loss(breakdown: Breakdown) -> str:
    ranked = sorted(breakdown.errors.types, key=lambda one: -one.gain_ap)
    first, second = ranked[:2]
    errors = breakdown.errors
    if not errors.found:
        of = breakdown.outcomes
        other = len(np.unique(of.objects[of.kinds == Outcome.CLASSIFICATION]))
        placed = f" A box of another class lies on {other:,} of them." if other else ""
        return f"None of {errors.objects:,} objects is found at IoU 0.5.{placed}"
    if first.gain_ap < _LEAST_SHOWN:
        return "No single kind of error costs AP."
    text = f"Most AP is lost to {first.kind} ({signed_points(first.gain_ap)} if mended)"
    if second.gain_ap >= _LEAST_SHOWN:
        text += f", then {second.kind} ({signed_points(second.gain_ap)})"
    return f"{text}."


def _indented(text: str) -> str:
    return textwrap.indent(text, "  ")


def _wrapped(lines: Iterable[str], first: str = "", rest: str | None = None) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            shown(line),
            _WIDTH,
            initial_indent=first,
            subsequent_indent=first if rest is None else rest,
            break_on_hyphens=False,
            break_long_words=False,
        )
    ]
