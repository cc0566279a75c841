"""README.md of results/<name>/ after an evaluation: what was scored, where the points went."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from odapi_repro.features.evaluate.evaluation_report import EvaluationReport, Model
from odapi_repro.features.evaluate.evaluation_tables import (
    TYPE_TITLES,
    class_table,
    confusion_table,
    error_table,
    metric_table,
    recall_table,
)
from odapi_repro.features.evaluate.evaluation_text import (
    caveats,
    data_line,
    findings,
    interval_notes,
)
from odapi_repro.features.evaluate.mask_chain_text import chain_section
from odapi_repro.foreign_text import fenced, markdown, markdown_list, markdown_sentence
from odapi_repro.page.tables import Table

__all__ = ["CHAIN_FIGURE", "evaluation_readme"]

CHAIN_FIGURE = "recall_chain.svg"
_MOST_CLASSES = 20
_PAGES = {
    "best.png": "The images detected best",
    "worst.png": "The images detected worst",
    "confident_errors.png": "The most confident errors",
}


def evaluation_readme(report: EvaluationReport, *, files: Collection[str]) -> str:
    """The whole README; `files` are the paths of the other files beside it."""
    sections = [f"# {markdown(report.name)}\n\n" + _findings(report)]
    for iou_type in report.iou_types:
        sections += _of_type(report, iou_type, files)
    if report.model.chain is not None:
        figure = CHAIN_FIGURE if CHAIN_FIGURE in files else ""
        sections.append(chain_section(report.model.chain, figure=figure))
    sections += [
        _curves(files),
        _pictures(files),
        _reported(report),
        _list("What may not be concluded", caveats(report)),
        _list("What was evaluated", _evaluated(report)),
        f"## Run it again\n\n{fenced(report.command)}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _findings(report: EvaluationReport) -> str:
    return "\n\n".join(f"**{markdown_sentence(one)}**" for one in findings(report))


def _of_type(report: EvaluationReport, iou_type: str, files: Collection[str]) -> list[str]:
    title, own = TYPE_TITLES[iou_type], report.model.breakdowns[iou_type]
    resampling = report.resampling
    note = "In points; `-` where there is no object to score."
    if resampling.resamples:
        note += (
            f" Intervals of {100 * resampling.confidence:g} % from {resampling.resamples:,}"
            f" resamples of the images (seed {resampling.seed}); each is for one number."
        )
    if report.against is not None:
        mine, theirs = markdown(report.model.label), markdown(report.against.label)
        note += f" Differences are {mine} less {theirs}"
        note += ", resampled in pairs." if resampling.resamples else "."
    note = " ".join([note, *interval_notes(own)])
    errors = own.errors
    told = (
        "What AP50, and AP, would gain if one kind of error were mended and all else stayed as it"
        " is; the gains do not add up. Kinds as in TIDE (Bolya et al. 2020), on COCO's own matches."
        f" Found at IoU 0.5: {errors.found:,} of {errors.objects:,} objects,"
        f" {errors.found_at_best_f1:,} of them by a detection above its class's score of the best"
        " F1; `above best F1` counts the errors that are left there."
    )
    parts = [
        f"## {title}\n\n{metric_table(report, iou_type).markdown()}\n\n{note}"
        f"{_also('For programs', 'metrics.csv', files)}",
        f"## {title}: where the points went\n\n{error_table(report, iou_type).markdown()}\n\n"
        f"{told}{_also('For programs', 'errors.csv', files)}",
    ]
    confusions = confusion_table(own)
    if confusions is not None:
        parts.append(
            "Taken for another class most often, above the score of best F1:\n\n"
            + confusions.markdown()
            + f"\n\n{_also('All of them', 'confusions.csv', files).strip()}".rstrip()
        )
    parts.append(
        f"## {title}: recall by size and IoU\n\n{recall_table(own).markdown()}\n\n"
        "The mean over the classes that have such objects, in points, with 100 detections of a"
        f" class on an image; AR100 is the mean over the thresholds."
        f"{_also('By class', 'recall.csv', files)}"
    )
    parts.append(_classes(report, iou_type, files))
    return parts


def _classes(report: EvaluationReport, iou_type: str, files: Collection[str]) -> str:
    classes = report.truth.num_categories
    table: Table = class_table(report, iou_type, most=_MOST_CLASSES)
    shown = "The worst first."
    if classes > _MOST_CLASSES:
        shown = f"The {_MOST_CLASSES} worst of {classes}, the worst first."
    title = f"## {TYPE_TITLES[iou_type]}: classes"
    return (
        f"{title}\n\n{table.markdown()}\n\n{shown} `at score` is the cut at which F1 (IoU 0.5) is"
        " best on these images, with its precision and recall."
        f"{_also('All metrics', 'per_class.csv', files)}"
    )


def _also(what: str, name: str, files: Collection[str]) -> str:
    """Points to a file, if it is written."""
    if name not in files:
        return ""
    return f" {what}: [{name}]({name})."


def _curves(files: Collection[str]) -> str:
    images = [
        f"![{alt}]({name})"
        for name, alt in (
            ("pr_curves.svg", "Precision against recall"),
            ("error_types.svg", "Points gained if one kind of error were mended"),
        )
        if name in files
    ]
    return "\n\n".join(["## Plots", *images]) if images else ""


def _pictures(files: Collection[str]) -> str:
    images = [
        f"![{alt}](pictures/{name})" for name, alt in _PAGES.items() if f"pictures/{name}" in files
    ]
    if not images:
        return ""
    note = (
        "Ground truth is white and solid, missed objects are yellow and dashed. The first two pages"
        " show detections above their class's score of the best F1, the third the most confident"
        " error of an image, whatever else was found there."
    )
    return "\n\n".join(["## Pictures", note, *images])


def _reported(report: EvaluationReport) -> str:
    if not report.reported:
        return ""
    rows = tuple((r.metric, f"{r.value:g}", r.source, r.protocol) for r in report.reported)
    table = Table(("metric", "reported", "source", "protocol"), rows, numeric_from=4)
    return f"## What is reported for {markdown(report.reference_name)}\n\n{table.markdown()}"


def _evaluated(report: EvaluationReport) -> list[str]:
    lines = _model("Model", report.model)
    if report.against is not None:
        lines += _model("Against", report.against)
    return [*lines, f"Data: {data_line(report)}.", f"Scored by {report.engine}."]


def _model(title: str, model: Model) -> list[str]:
    return [f"{title}: {'; '.join((model.label, *model.about))}."]


def _list(title: str, lines: Iterable[str]) -> str:
    return f"## {title}\n\n{markdown_list(lines)}"
