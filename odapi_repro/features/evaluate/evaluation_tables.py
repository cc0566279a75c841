"""The tables of an evaluation, as rows for a terminal and for Markdown."""

from __future__ import annotations

from typing import Final

from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.scoring.metrics import METRIC_NAMES
from odapi_repro.evaluation.uncertainty.bootstrap import Interval
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport
from odapi_repro.page.blocks import Table
from odapi_repro.page.numbers import level_of, number, signed

TYPE_TITLES: Final = {"bbox": "Boxes", "segm": "Masks"}

_MEANINGS: Final = {
    "AP": (".50:.95", "all", "100"),
    "AP50": (".50", "all", "100"),
    "AP75": (".75", "all", "100"),
    "APs": (".50:.95", "small", "100"),
    "APm": (".50:.95", "medium", "100"),
    "APl": (".50:.95", "large", "100"),
    "AR1": (".50:.95", "all", "1"),
    "AR10": (".50:.95", "all", "10"),
    "AR100": (".50:.95", "all", "100"),
    "ARs": (".50:.95", "small", "100"),
    "ARm": (".50:.95", "medium", "100"),
    "ARl": (".50:.95", "large", "100"),
}
"""IoU, area and detections of a class on an image, as pycocotools prints them."""

_WIDEST_NAME: Final = 40
"""Letters of a class on a terminal."""

_KINDS: Final = {
    "classification": "classification: right place, wrong class",
    "localisation": "localisation: right class, wrong place",
    "both": "both: wrong class, wrong place",
    "duplicate": "duplicate: found already",
    "background": "background: nothing there",
    "missed": "missed: no detection near",
    "false_positive": "all wrong detections",
    "false_negative": "all objects not found",
}


def metric_name(iou_type: str, metric: str) -> str:
    """Gives COCO's name, with `mask_` before it for masks."""
    return f"mask_{metric}" if iou_type == "segm" else metric


def range_text(interval: Interval | None, *, with_sign: bool = False) -> str:
    """The ends of an interval, empty without one."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    form = signed if with_sign else number
    return f"{form(interval.low)} to {form(interval.high)}"


def metric_table(report: EvaluationReport, iou_type: str) -> Table:
    """The 12 metrics with intervals; what was reported, and what it is compared with, beside it."""
    own, against = _pair(report, iou_type)
    percent = level_of(report.resampling.confidence)
    intervals = own.intervals is not None
    has_reported = any(report.reported_value(iou_type, name) is not None for name in METRIC_NAMES)
    header = ["metric", "IoU", "area", "max", report.model.label if against else "points"]
    header += [percent] if intervals else []
    header += ["reported"] if has_reported else []
    if against is not None and report.against is not None:
        header += [report.against.label, "difference", *([percent] if intervals else [])]
    rows = []
    for name in METRIC_NAMES:
        row = [name, *_MEANINGS[name], number(own.scores.metrics[name])]
        row += [range_text(own.interval(name))] if intervals else []
        if has_reported:
            reported = report.reported_value(iou_type, name)
            row.append("" if reported is None else number(reported))
        if against is not None:
            row.append(number(against.scores.metrics[name]))
            row.append(signed(report.less(iou_type, name)))
            if intervals:
                row.append(range_text(report.difference(iou_type, name), with_sign=True))
        rows.append(tuple(row))
    return Table(tuple(header), tuple(rows), numeric_from=1)


def error_table(report: EvaluationReport, iou_type: str) -> Table:
    """The error types: how many, and what mending each would bring."""
    own, against = _pair(report, iou_type)
    header = ["error", "count", "above best F1", "AP50 if mended", "AP if mended"]
    if against is not None and report.against is not None:
        header.append(f"AP50, {report.against.label}")
    rows = []
    for position, one in enumerate((*own.errors.types, *own.errors.special)):
        row = [
            _KINDS[one.kind] if against is None else one.kind.replace("_", " "),
            f"{one.count:,}",
            f"{one.count_at_best_f1:,}",
            signed(one.gain_ap50),
            signed(one.gain_ap),
        ]
        if against is not None:
            other = (*against.errors.types, *against.errors.special)[position]
            row.append(signed(other.gain_ap50))
        rows.append(tuple(row))
    return Table(tuple(header), tuple(rows))


def recall_table(breakdown: Breakdown) -> Table:
    """Recall by size and IoU threshold."""
    recall = breakdown.recall
    header = (
        "size",
        "objects",
        "AR100",
        *(f"@{iou:.2f}".replace("0.", ".") for iou in recall.ious),
    )
    rows = tuple(
        (one.size, f"{one.objects:,}", number(one.average), *map(number, one.by_iou))
        for one in recall.sizes
    )
    return Table(header, rows)


def class_table(report: EvaluationReport, iou_type: str, *, most: int | None = None) -> Table:
    """Every class by its own metrics, the worst AP first; classes without objects last."""
    own, _ = _pair(report, iou_type)
    names = report.truth.category_names
    metrics = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
    header = ("class", "objects", *metrics, "best F1", "at score", "precision", "recall")

    def order(k: int) -> tuple[bool, float]:
        ap = own.scores.per_class[k]["AP"]
        return ap is None, ap or 0.0

    rows = []
    for k in sorted(range(len(names)), key=order)[:most]:
        scores, best = own.scores.per_class[k], own.best_f1[k]
        rows.append(
            (
                names[k],
                f"{own.recall.classes[k].objects:,}",
                *(number(scores[metric]) for metric in metrics),
                *(number(value, 2) for value in (best.f1, best.score, best.precision, best.recall)),
            )
        )
    return Table(header, tuple(rows), widest=_WIDEST_NAME)


def confusion_table(breakdown: Breakdown, *, most: int = 8) -> Table | None:
    """The most frequent confusions; None without any."""
    rows = tuple(
        (one.truth, one.detected, f"{one.count:,}") for one in breakdown.errors.confusions[:most]
    )
    return Table(("object", "detected as", "times"), rows, numeric_from=2) if rows else None


def _pair(report: EvaluationReport, iou_type: str) -> tuple[Breakdown, Breakdown | None]:
    other = None if report.against is None else report.against.breakdowns[iou_type]
    return report.model.breakdowns[iou_type], other
