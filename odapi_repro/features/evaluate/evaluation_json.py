"""An evaluation as JSON, schema 1; docs/evaluate.md says what each field means."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pandas as pd

from odapi_repro import __version__
from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.scoring.matching import AREA_RANGES
from odapi_repro.features.evaluate.evaluation_csv import interval_ends
from odapi_repro.features.evaluate.evaluation_page import caveats, findings
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport, Model
from odapi_repro.features.evaluate.mask_chain_page import chain_rows

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
