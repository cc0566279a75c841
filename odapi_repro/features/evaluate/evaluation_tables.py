"""The tables of an evaluation, as rows for pages, plots and files."""

from __future__ import annotations

from typing import Final

import pandas as pd

from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.mask_chain.detector_stages import ChainStage
from odapi_repro.evaluation.mask_chain.recall_chain import SIZES, ChainReport
from odapi_repro.evaluation.scoring.detection_matching import IOU_THRESHOLDS
from odapi_repro.evaluation.scoring.metrics import METRIC_NAMES
from odapi_repro.evaluation.uncertainty.bootstrap import Interval
from odapi_repro.factors import FACTORS, POST_HOC_FACTORS
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport
from odapi_repro.page.blocks import Bullets, Figure, Paragraph, Section, Table, code
from odapi_repro.page.numbers import level_of, number, signed

# --- The tables of an evaluation, as rows for a terminal and for Markdown ---


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
    header = ["error", "count", "above best F1", "AP50 if fixed", "AP if fixed"]
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


# --- The chain of recall in words and tables: at which stage objects are lost, and what sets it ---


_COLUMNS = (
    ("IoU .50", "all", 0.5),
    (".75", "all", 0.75),
    (".50:.95", "all", None),
    ("small", "small", None),
    ("medium", "medium", None),
    ("large", "large", None),
)


def chain_section(report: ChainReport, *, figure: str = "") -> Section:
    """The chain, from its heading on.

    Args:
        report: the chain.
        figure: name of the plot's file.
    """
    proposals = (
        "Share of the objects that the first so many proposals of an image overlap, of whatever "
        "class, in %."
    )
    return Section(
        f"Where {int(report.objects[0]):,} objects are lost",
        [
            Figure(figure, "Share of the objects lost at each stage"),
            Section("", [chain_table(report, reasons=True), Paragraph(_note(report))], "file"),
            Section(
                "",
                [chain_table(report), Paragraph("In % of them; *: changing it takes a training.")],
                "terminal",
            ),
            Bullets(tuple(chain_findings(report))),
            Section("", [proposal_table(report), Paragraph(proposals)], "file"),
        ],
    )


def chain_table(report: ChainReport, *, reasons: bool = False) -> Table:
    """A row a stage with the share lost there, in %, and what is found; a column a size.

    Args:
        report: the chain.
        reasons: why an object is lost at each stage and all that changes it, in place of what sets
            the stage alone (with a `*` where to change that takes a training).
    """
    names = tuple(name for name, _, _ in _COLUMNS)
    header: tuple[str, ...] = ("lost at", "set by")
    if reasons:
        header = ("lost at", "why", "by settings", "by training")
    rows = [
        (
            stage.name,
            *_words(stage, reasons=reasons),
            *(number(report.share_lost(stage.name, size, iou)) for _, size, iou in _COLUMNS),
        )
        for stage in report.stages
    ]
    found = tuple(number(report.share_found(size, iou)) for _, size, iou in _COLUMNS)
    rows.append(("found", *[""] * (len(header) - 1), *found))
    return Table((*header, *names), tuple(rows), numeric_from=len(header))


def proposal_table(report: ChainReport) -> Table:
    """A row a number of proposals: how many objects they overlap."""
    rows = tuple(
        (
            str(one.num_proposals),
            number(one.at_50[0]),
            *(number(value) for value in one.average),
        )
        for one in report.proposals
    )
    return Table(("proposals", "IoU .50", ".50:.95", *SIZES[1:]), rows, numeric_from=0)


def chain_findings(report: ChainReport) -> list[str]:
    """What the chain says, in a few sentences."""
    if not report.objects[0]:
        return ["There is no object to find."]
    at_50, at_75, average = (number(report.share_found(iou=iou)) for iou in (0.5, 0.75, None))
    lines = [f"Found: {average} % of the objects on average ({at_50} % at 0.5, {at_75} % at 0.75)."]
    for iou, where in ((0.5, "at IoU 0.5"), (None, "on average")):
        worst = report.largest_loss(iou=iou)
        if worst is not None:
            share = number(report.share_lost(worst.name, iou=iou))
            lines.append(
                f"Most are lost, {where}, at {worst.name} ({share} %: {worst.lost});"
                f" {_owned(worst)}."
            )
    owned = sum(
        report.share_lost(stage.name) or 0.0
        for stage in report.stages
        if not stage.owned_by_training
    )
    lines.append(
        f"{number(owned)} % are lost on average where a setting of the trained checkpoint owns"
        " the stage; the stages of the rest take a training."
    )
    refined = 100.0 * float(report.refined[0, 0]) / int(report.objects[0])
    lines.append(
        f"{number(refined)} % are found at IoU 0.5 although no proposal overlaps them by 0.5."
    )
    perfect = report.perfect_masks
    if perfect is not None:
        height, width = perfect.mask_size
        lines.append(
            f"A mask head without error would find {number(perfect.recall[0])} % of the objects"
            f" with its grid of {height}x{width} (mean IoU {number(perfect.mean_iou[0])} %) if"
            " every box were the object's own."
        )
    return lines


def chain_rows(report: ChainReport) -> pd.DataFrame:
    """The chain as a tidy table: a row a stage (and `found`), size and IoU threshold.

    `threshold` is empty for the average over all ten; `share` is in percent of the objects;
    `factor` is what sets the stage where `run --ablate` has a factor of that name, else empty.
    """
    rows = []
    for size in SIZES:
        objects = int(report.objects[SIZES.index(size)])
        for iou in [*IOU_THRESHOLDS.round(2).tolist(), None]:
            for stage in report.stages:
                share = report.share_lost(stage.name, size, iou)
                factor = stage.owner if stage.owner_is_factor else ""
                rows.append(
                    (stage.name, stage.part, stage.owner, factor, size, iou, objects, share)
                )
            rows.append(("found", "", "", "", size, iou, objects, report.share_found(size, iou)))
    names = ["stage", "part", "set_by", "factor", "size", "threshold", "objects", "share"]
    return pd.DataFrame(rows, columns=names)


def _note(report: ChainReport) -> str:
    masks = "masks" if report.perfect_masks is not None else "boxes"
    return (
        "In % of the objects; sizes on average over the IoU thresholds .50:.95, as the third "
        "column. Every object that is not found is lost at exactly one stage, so the columns sum "
        f"to 100. {code('found')} is what COCO's matching of {masks} finds, over all objects at "
        f"once (AR100 averages over the classes). {code('by settings')} can be changed on a "
        f"trained checkpoint, {code('by training')} takes a training; the nearest come first."
        f"{_not_factors(report)}"
    )


def _owned(stage: ChainStage) -> str:
    """What sets a stage, and whether `run --ablate` can vary it."""
    if stage.owner_is_factor:
        return f"its factor is {stage.owner}"
    return f"{stage.owner} of the config sets it, for which run --ablate has no factor"


def _not_factors(report: ChainReport) -> str:
    """A sentence on what changes a stage and is no factor of `run --ablate`; empty without any."""
    every = [name for stage in report.stages for name in (*stage.settings, *stage.training)]
    names = [one for one in dict.fromkeys(every) if not (one in FACTORS or one in POST_HOC_FACTORS)]
    if not names:
        return ""
    return (
        f" {code('run --ablate')} has no factor for {', '.join(names)}: edit the config for these."
    )


def _words(stage: ChainStage, *, reasons: bool) -> tuple[str, ...]:
    if reasons:
        return stage.lost, ", ".join(stage.settings), ", ".join(stage.training)
    return (f"{stage.owner} *" if stage.owned_by_training else stage.owner,)
