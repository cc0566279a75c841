"""The tables of an evaluation as CSV, for programs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.scoring.matching import AREA_RANGES
from odapi_repro.evaluation.uncertainty.bootstrap import Interval
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport
from odapi_repro.features.evaluate.evaluation_tables import metric_name
from odapi_repro.features.evaluate.mask_chain_page import chain_rows


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
