"""The files of an evaluation: CSV, JSON, and the folder results/<name>/."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from odapi_repro import __version__
from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.scoring.detection_matching import AREA_RANGES
from odapi_repro.evaluation.uncertainty.bootstrap import Interval
from odapi_repro.features.evaluate.evaluation_page import (
    CHAIN_FIGURE,
    caveats,
    evaluation_page,
    findings,
)
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport, Model
from odapi_repro.features.evaluate.evaluation_tables import chain_rows, metric_name
from odapi_repro.files import read_json
from odapi_repro.page.results_folder import Drawing, Results
from odapi_repro.page.study_tables import csv_bytes
from odapi_repro.trials.record_file import check_no_other_result

if TYPE_CHECKING:
    from PIL import Image

    from odapi_repro.features.evaluate.evaluation_pictures import Page


# --- The tables of an evaluation as CSV, for programs ---


def csv_tables(report: EvaluationReport) -> dict[str, pd.DataFrame]:
    """The tables by file name."""
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("metrics", "per_class", "errors", "recall", "confusions")
    }
    for model in report.models:
        first = {"model": model.label} if report.against is not None else {}
        for iou_type, breakdown in model.breakdowns.items():
            about = {**first, "iou_type": iou_type}
            rows["metrics"] += [
                {**first, "metric": metric_name(iou_type, name), "value": value}
                | interval_ends(breakdown.interval(name))
                for name, value in breakdown.scores.metrics.items()
            ]
            rows["per_class"] += _class_rows(report, breakdown, about)
            rows["errors"] += _error_rows(breakdown, about)
            rows["recall"] += _recall_rows(breakdown, about)
            rows["confusions"] += [
                {**about, "object": one.truth, "detected_as": one.detected, "count": one.count}
                for one in breakdown.errors.confusions
            ]
    if report.against is not None:
        rows["metrics"] += [
            {
                "model": "difference",
                "metric": metric_name(iou_type, name),
                "value": report.less(iou_type, name),
                **interval_ends(report.difference(iou_type, name)),
            }
            for iou_type, breakdown in report.model.breakdowns.items()
            for name in breakdown.scores.metrics
        ]
    tables = {f"{name}.csv": pd.DataFrame(found) for name, found in rows.items() if found}
    if report.model.chain is not None:
        tables["recall_chain.csv"] = chain_rows(report.model.chain)
    return tables


def interval_ends(interval: Interval | None) -> dict[str, float | None]:
    """The numbers of an interval by name, each None without one."""
    names = ("se", "low", "high", "excess", "limit_low", "limit_high")
    return {name: getattr(interval, name, None) for name in names}


def _class_rows(
    report: EvaluationReport, breakdown: Breakdown, about: dict[str, str]
) -> list[dict[str, Any]]:
    return [
        {
            **about,
            "class": name,
            "category_id": report.truth.category_ids[k],
            "objects": breakdown.recall.classes[k].objects,
            **breakdown.scores.per_class[k],
            **{f"AP_{end}": at for end, at in interval_ends(breakdown.interval("AP", k)).items()},
            "recall50": breakdown.recall.classes[k].at_50,
            "best_f1": breakdown.best_f1[k].f1,
            "best_f1_score": breakdown.best_f1[k].score,
            "best_f1_precision": breakdown.best_f1[k].precision,
            "best_f1_recall": breakdown.best_f1[k].recall,
        }
        for k, name in enumerate(report.truth.category_names)
    ]


def _error_rows(breakdown: Breakdown, about: dict[str, str]) -> list[dict[str, Any]]:
    errors = breakdown.errors
    return [
        {
            **about,
            "error": one.kind,
            "count": one.count,
            "count_at_best_f1": one.count_at_best_f1,
            "gain_ap50": one.gain_ap50,
            "gain_ap": one.gain_ap,
        }
        for one in (*errors.types, *errors.special)
    ]


def _recall_rows(breakdown: Breakdown, about: dict[str, str]) -> list[dict[str, Any]]:
    recall = breakdown.recall
    ious = [f"{iou:.2f}" for iou in recall.ious]
    rows: list[dict[str, Any]] = [
        {**about, "class": "", "size": one.size, "objects": one.objects, "AR100": one.average}
        | {f"recall@{iou}": value for iou, value in zip(ious, one.by_iou, strict=True)}
        for one in recall.sizes
    ]
    sizes = list(AREA_RANGES)[1:]
    for one in recall.classes:
        rows.append(
            {**about, "class": one.name, "size": "all", "objects": one.objects}
            | {"AR100": one.average, "recall@0.50": one.at_50}
        )
        rows += [
            {**about, "class": one.name, "size": size, "AR100": value}
            for size, value in zip(sizes, one.by_size, strict=True)
        ]
    return rows


# --- An evaluation as JSON, schema 1; docs/evaluate.md says what each field means ---


SCHEMA = 1
_CHAIN_THRESHOLDS = (0.5, 0.75)


def render_json(report: EvaluationReport, *, written: str | None) -> str:
    """The JSON text, with a line feed at its end; `written` is the folder of the tables."""
    content = evaluation_json(report, written=written)
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def evaluation_json(report: EvaluationReport, *, written: str | None) -> dict[str, Any]:
    """The evaluation as what `json.dumps` takes."""
    truth = report.truth
    crowd = int(truth.is_crowd.sum())
    return {
        "schema": SCHEMA,
        "name": report.name,
        "command": report.command,
        "version": __version__,
        "data": {
            "description": report.data,
            "images": truth.num_images,
            "classes": truth.num_categories,
            "objects": truth.num_annotations - crowd,
            "crowd_regions": crowd,
        },
        "digests": dict(report.digests),
        "engine": report.engine,
        "intervals": dataclasses.asdict(report.resampling) if report.resampling.resamples else None,
        "model": _model(report, report.model),
        "against": None if report.against is None else _model(report, report.against),
        "difference": None if report.against is None else _differences(report),
        "reference": report.reference_name or None,
        "reported": [dataclasses.asdict(one) for one in report.reported],
        "findings": findings(report),
        "caveats": caveats(report),
        "results": written,
    }


def _model(report: EvaluationReport, model: Model) -> dict[str, Any]:
    return {
        "label": model.label,
        "about": list(model.about),
        "detections": model.detections.num,
        **{
            iou_type: _breakdown(report, breakdown)
            for iou_type, breakdown in model.breakdowns.items()
        },
        "recall_chain": None if model.chain is None else _chain(chain_rows(model.chain)),
    }


def _chain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows at three of the thresholds; all of them are in recall_chain.csv."""
    shown = table[table["threshold"].isna() | table["threshold"].isin(_CHAIN_THRESHOLDS)]
    filled = shown.astype(object).where(shown.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in filled.to_dict("records")]


def _breakdown(report: EvaluationReport, one: Breakdown) -> dict[str, Any]:
    errors = one.errors
    return {
        "metrics": {
            name: {"value": value, **interval_ends(one.interval(name))}
            for name, value in one.scores.metrics.items()
        },
        "errors": {
            "ap50": errors.ap50,
            "ap": errors.ap,
            "objects": errors.objects,
            "found": errors.found,
            "found_at_best_f1": errors.found_at_best_f1,
            "types": [dataclasses.asdict(kind) for kind in (*errors.types, *errors.special)],
            "confusions": [dataclasses.asdict(confusion) for confusion in errors.confusions],
        },
        "recall": {
            "ious": [round(iou, 2) for iou in one.recall.ious],
            "sizes": [dataclasses.asdict(size) for size in one.recall.sizes],
        },
        "classes": [
            {
                "id": report.truth.category_ids[k],
                "name": name,
                "objects": one.recall.classes[k].objects,
                "metrics": dict(one.scores.per_class[k]),
                "ap_interval": interval_ends(one.interval("AP", k)),
                "recall": {
                    "at_50": one.recall.classes[k].at_50,
                    **dict(zip(list(AREA_RANGES)[1:], one.recall.classes[k].by_size, strict=True)),
                },
                "best_f1": {
                    field: getattr(one.best_f1[k], field)
                    for field in ("score", "f1", "precision", "recall")
                },
            }
            for k, name in enumerate(report.truth.category_names)
        ],
    }


def _differences(report: EvaluationReport) -> dict[str, Any]:
    return {
        iou_type: {
            name: {
                "value": report.less(iou_type, name),
                **interval_ends(report.difference(iou_type, name)),
            }
            for name in own.scores.metrics
        }
        for iou_type, own in report.model.breakdowns.items()
    }


# --- Writes results/<name>/ of an evaluation ---


EVALUATION_FILE = "evaluation.json"
"""By this file a folder in results/ is known to be an evaluation's, not a study's."""

_WHAT: Final = ("model", "against", "data")
# All files but the pictures; those that are not written again are of an earlier evaluation.
_FILES = (
    *("metrics.csv", "per_class.csv", "errors.csv", "recall.csv", "confusions.csv"),
    *("recall_chain.csv", CHAIN_FIGURE, "pr_curves.svg", "error_types.svg"),
)


def write_evaluation(
    report: EvaluationReport, folder: Path, *, num_pictures: int = 12
) -> tuple[Path, ...]:
    """Writes tables, evaluation.json and README.md, then plots and pictures.

    README.md is written again as it shows them. Each file is replaced whole; files of an earlier
    evaluation of this name that are not written again are removed. The same detections give the
    same bytes.

    Args:
        report: what was found.
        folder: results/<name>.
        num_pictures: images on each page; 0 for none.

    Returns:
        The paths written, README.md last.

    Raises:
        UserError: as `check_is_free`, or the folder cannot be written.
        EnvironmentMissing: the disk is full.
    """
    check_is_free(folder, report.digests)
    earlier = [f"pictures/{path.name}" for path in (folder / "pictures").glob("*.png")]
    tables = {name: csv_bytes(table) for name, table in csv_tables(report).items()}
    record = {EVALUATION_FILE: render_json(report, written=str(folder)).encode()}
    results = Results(
        evaluation_page(report, tables=tables),
        tables={**tables, **record},
        drawings=partial(_drawings, report, num_pictures),
        earlier=(*_FILES, *earlier),
    )
    written = results.write(folder)
    with contextlib.suppress(OSError):
        (folder / "pictures").rmdir()  # Where nothing is left in it.
    return written


def check_is_free(folder: Path, digests: Mapping[str, str]) -> None:
    """Refuses a folder that holds anything else than an earlier evaluation of the same.

    Args:
        folder: results/<name>.
        digests: of what is evaluated, as `EvaluationReport` has them.

    Raises:
        UserError: it holds a study, an explanation, or an evaluation of other detections or data.
    """
    own = folder / EVALUATION_FILE
    check_no_other_result(folder, EVALUATION_FILE)
    if not own.exists():
        return
    try:
        earlier = read_json(own, mend="")["digests"]
        changed = [what for what in _WHAT if earlier.get(what) != digests.get(what)]
    except (DamagedFile, KeyError, AttributeError):
        changed = list(_WHAT)  # what it is an evaluation of is not known
    if changed:
        raise UserError(
            "this folder holds an evaluation of "
            + ("other data" if changed == ["data"] else "other detections"),
            expected="a new name, or that of an earlier evaluation of the same",
            mend=f"choose another, such as --name {folder.name}-2, or delete the folder",
            where=str(folder),
        )


def _drawings(report: EvaluationReport, num_pictures: int) -> Iterator[Drawing]:
    # Matplotlib takes a second to import.
    from odapi_repro.features.evaluate.evaluation_plots import render_evaluation_plots

    yield from render_evaluation_plots(report)
    if num_pictures and report.read_images is not None:
        from odapi_repro.features.evaluate.evaluation_pictures import pages

        shown = pages(report, num_pictures)
        wanted = sorted({tile.image for page in shown for tile in page.tiles})
        images = cache(partial(report.read_images, wanted))
        yield from (Drawing(page.name, partial(_picture, page, images)) for page in shown)


def _picture(page: Page, images: Callable[[], Mapping[int, Image.Image]]) -> dict[str, bytes]:
    """The page as PNG; nothing without any of its images."""
    from odapi_repro.features.evaluate.evaluation_pictures import render_page

    found = images()
    if not any(tile.image in found for tile in page.tiles):
        return {}
    return {f"pictures/{page.name}.png": render_page(page, found)}
