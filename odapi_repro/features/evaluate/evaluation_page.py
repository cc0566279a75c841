"""What an evaluation says: its page, for a folder of results and for a terminal."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np

from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.error_analysis.match_outcomes import Outcome
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport
from odapi_repro.features.evaluate.evaluation_tables import (
    TYPE_TITLES,
    chain_section,
    class_table,
    confusion_table,
    error_table,
    metric_name,
    metric_table,
    range_text,
    recall_table,
)
from odapi_repro.features.report_sections import again_section, caveats_section, reported_section
from odapi_repro.page.blocks import (
    Block,
    Facts,
    Figure,
    Headline,
    Page,
    Paragraph,
    Section,
    code,
    link,
)
from odapi_repro.page.numbers import count_of, level_of, number, signed

CHAIN_FIGURE: Final = "recall_chain.svg"
_MOST_CLASSES: Final = 20
_LEAST_SHOWN: Final = 0.05  # what one decimal shows
_PICTURES: Final = (
    "Ground truth is white and solid, missed objects are yellow and dashed. The first two pages "
    "show detections above their class's score of the best F1, the third the most confident error "
    "of an image, whatever else was found there."
)


def evaluation_page(
    report: EvaluationReport, *, tables: Collection[str] = (), per_class: bool = False
) -> Page:
    """Gives the whole report.

    Args:
        report: the evaluation.
        tables: names of the CSV files that are written beside the page.
        per_class: a terminal shows the table of classes, too.
    """
    chain = report.model.chain
    figures = (
        Figure("pr_curves.svg", "Precision against recall"),
        Figure("error_types.svg", "Points gained if one kind of error were fixed"),
    )
    pictures = (
        Figure("pictures/best.png", "The images detected best"),
        Figure("pictures/worst.png", "The images detected worst"),
        Figure("pictures/confident_errors.png", "The most confident errors"),
    )
    return Page(
        report.name,
        (
            *(Headline(one) for one in findings(report)),
            Facts(_evaluated(report)),
            *(
                section
                for iou_type in report.iou_types
                for section in _of_type(report, iou_type, tables, per_class=per_class)
            ),
            *([chain_section(chain, figure=CHAIN_FIGURE)] if chain is not None else []),
            Section("Plots", figures),
            Section("Pictures", pictures, about=_PICTURES),
            reported_section(report.reference_name, report.reported, place="everywhere"),
            caveats_section(caveats(report)),
            again_section(report.command),
        ),
    )


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
        percent = f"{level_of(report.resampling.confidence)} interval"
        told = f"{name} {number(ap)}" + (f" ({percent} {ends})" if ends else "")
        sentences.append(f"{told}{_difference(report, iou_type)}. {_largest_loss(own)}")
    return sentences


def caveats(report: EvaluationReport) -> list[str]:
    """What you cannot conclude: what every evaluation has to say of itself, then this one."""
    found = [
        "Do not conclude that another training of the same config scores within the interval: it"
        f" holds the sampling of the {report.truth.num_images:,} images, not the noise between"
        " trainings."
        if report.resampling.resamples
        else "Do not conclude how the model does on other images: no interval was asked for.",
        "Do not add up gains: fixing two kinds of error does not gain the sum of both.",
        "Do not expect the score thresholds of best F1 to be as good on other images: they were "
        "chosen on these.",
    ]
    if report.against is not None:
        found.append(
            f"Do not conclude that {report.model.label} is trained better than"
            f" {report.against.label}: the difference is between these two sets of detections."
        )
    return [*found, *report.oddities, *report.caveats]


def _of_type(
    report: EvaluationReport, iou_type: str, tables: Collection[str], *, per_class: bool
) -> list[Section]:
    title, own = TYPE_TITLES[iou_type], report.model.breakdowns[iou_type]
    errors, confusions = own.errors, confusion_table(own)

    def also(what: str, name: str) -> str:
        return f" {what}: {link(name)}." if name in tables else ""

    found = (
        f"Found at IoU 0.5: {errors.found:,} of {errors.objects:,} objects, "
        f"{errors.found_at_best_f1:,} of them by a detection above its class's score of the best "
        f"F1; {code('above best F1')} counts the errors that are left there."
    )
    gains = (
        "What AP50, and AP, would gain if one kind of error were fixed and all else stayed as it "
        "is; the gains do not add up. Kinds as in TIDE (Bolya et al. 2020), on COCO's own matches."
        f"{also('For programs', 'errors.csv')}"
    )
    confused = Paragraph(
        "Objects most often taken for another class, above the score of best F1."
        f"{also('All of them', 'confusions.csv')}"
    )
    recall = (
        "The mean over the classes that have such objects, in points, with 100 detections of a "
        f"class on an image; AR100 is the mean over the thresholds.{also('By class', 'recall.csv')}"
    )
    note = Paragraph(f"{_metrics_note(report, own)}{also('For programs', 'metrics.csv')}")
    lost: list[Block | None] = [
        error_table(report, iou_type),
        Paragraph(found),
        _in_file(gains),
        confused if confusions else None,
        confusions,
    ]
    return [
        Section(title, [metric_table(report, iou_type), note]),
        Section(f"{title}: where the points went", lost),
        Section(f"{title}: recall by size and IoU", [recall_table(own), _in_file(recall)]),
        _classes(report, iou_type, also("All metrics", "per_class.csv")),
        Section(
            f"{title}: classes, the worst first",
            [class_table(report, iou_type)] if per_class else [],
            "terminal",
        ),
    ]


def _metrics_note(report: EvaluationReport, own: Breakdown) -> str:
    resampling = report.resampling
    note = f"In points; {code('-')} where there is no object to score."
    if resampling.resamples:
        note += (
            f" Intervals of {level_of(resampling.confidence)} from {resampling.resamples:,} "
            f"resamples of the images (seed {resampling.seed}); each is for one number."
        )
    if report.against is not None:
        note += f" Differences are {report.model.label} less {report.against.label}"
        note += ", resampled in pairs." if resampling.resamples else "."
    return " ".join([note, *interval_notes(own)])


def _classes(report: EvaluationReport, iou_type: str, also: str) -> Section:
    classes = report.truth.num_categories
    told = "The worst first."
    if classes > _MOST_CLASSES:
        told = f"The {_MOST_CLASSES} worst of {classes}, the worst first."
    note = (
        f"{told} {code('at score')} is the cut at which F1 (IoU 0.5) is best on these images, with "
        f"its precision and recall.{also}"
    )
    table = class_table(report, iou_type, most=_MOST_CLASSES)
    return Section(f"{TYPE_TITLES[iou_type]}: classes", [table, Paragraph(note)], "file")


def _in_file(text: str) -> Section:
    return Section("", [Paragraph(text)], "file")


def interval_notes(breakdown: Breakdown) -> list[str]:
    """What to mind about the intervals: of what they are, and what they cannot say."""
    interval = breakdown.interval("AP")
    if interval is None:
        return []
    notes = []
    excess = interval.excess or 0.0
    if interval.value is not None and excess >= _LEAST_SHOWN:
        limit = number(interval.value - excess)
        ends = (
            f" ({number(interval.limit_low)} to {number(interval.limit_high)})"
            if interval.limit_low is not None
            else ""
        )
        notes.append(
            f"The intervals are for sets of {interval.num_images:,} such images. AP falls as a set"
            " grows (interpolated precision is the best from a recall on): on unlimited ones it"
            f" would be about {limit}{ends}."
        )
    return [*notes, *([f"Intervals: {interval.note}."] if interval.note else [])]


def _evaluated(report: EvaluationReport) -> tuple[tuple[str, str], ...]:
    pairs = zip(("model", "against"), report.models, strict=False)
    named = ((title, "; ".join((one.label, *one.about))) for title, one in pairs)
    return (*named, ("data", _data(report)), ("scored by", report.engine))


def _data(report: EvaluationReport) -> str:
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


def _difference(report: EvaluationReport, iou_type: str) -> str:
    if report.against is None:
        return ""
    less = report.less(iou_type, "AP")
    text = f", {signed(less)} against {report.against.label}"
    interval = report.difference(iou_type, "AP")
    ends = range_text(interval, with_sign=True)
    if interval is None or interval.low is None or interval.high is None:
        return text
    if less == 0 and interval.se == 0:
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
    text = f"Most AP is lost to {first.kind} ({signed(first.gain_ap)} if fixed)"
    if second.gain_ap >= _LEAST_SHOWN:
        text += f", then {second.kind} ({signed(second.gain_ap)})"
    return f"{text}."
