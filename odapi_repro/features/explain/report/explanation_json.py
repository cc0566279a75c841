"""An explanation as JSON, schema 1; docs/explain.md says what each field means."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from odapi_repro import __version__
from odapi_repro.analysis.attribution import Attribution, GapPart
from odapi_repro.features.explain.report.advice import Advice, change_lines
from odapi_repro.features.explain.report.cells import cell_summaries
from odapi_repro.features.explain.report.explanation_page import report_command
from odapi_repro.features.explain.report.explanation_report import (
    ExplainedEffect,
    ExplanationReport,
)
from odapi_repro.features.explain.report.fewer_images import fewer_images
from odapi_repro.features.explain.report.interactions import interaction_lines
from odapi_repro.features.explain.report.next_steps import run_lines
from odapi_repro.features.explain.report.notes import caveats, design_notes
from odapi_repro.features.explain.report.wording import headline

SCHEMA = 1


def render(report: ExplanationReport) -> str:
    """The JSON text, with a line feed at its end; what is not known is null."""
    content = _plain(explanation_json(report))
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def explanation_json(report: ExplanationReport) -> dict[str, Any]:
    """The explanation as numbers; NaN where something is not known."""
    record, advice = report.explanation, Advice(report)
    user, reference = report.ends
    parts = report.parts
    return {
        "schema": SCHEMA,
        "version": __version__,
        "study": record.study,
        "command": record.command,
        "report_command": report_command(report),
        "pipeline": record.pipeline,
        "reference": record.reference,
        "scale": record.scale,
        "metric": record.metric,
        "data": {
            "description": record.data,
            "train_images": record.num_train_images,
            "eval_images": record.num_eval_images,
        },
        "headline": headline(report),
        "complete": report.complete,
        "wanted": [
            {"cell": dict(one.labels), "seeds": list(one.seeds)} for one in report.result.wanted
        ],
        "ends": {"user": user, "reference": reference},
        "gap": _effect(report.gap),
        "parts": [_part(part) for part in parts.parts],
        "parts_sum": {
            "total": parts.total,
            "known": parts.explained,
            "unknown": parts.remainder,
        },
        "shares": [_effect(one) for one in report.shares],
        "rest": None if report.rest is None else _effect(report.rest),
        "interactions": [_effect(one) for one in report.interactions],
        "other_effects": [_effect(one) for one in report.others],
        "interaction_notes": interaction_lines(report),
        "change_first": [
            {
                "deviations": list(one.effect.definition.deviations),
                "returns": one.effect.returned,
                "low": one.effect.ends[0],
                "high": one.effect.ends[1],
                "alone": None if one.alone is None else _row(one.alone),
                "settings": [{"field": field, "value": value} for field, value in one.settings],
            }
            for one in advice.changes
        ],
        "after_changes": None if advice.after is None else _row(advice.after),
        "keep": [one.effect.row.factor for one in advice.keeps],
        "undecided": [one.row.factor for one in advice.undecided],
        "equivalent": [one.row.factor for one in advice.harmless],
        "to_decide": [
            {
                "deviation": one.effect.row.factor,
                "effect": one.target,
                "replicates": one.replicates,
                "trials": one.trials,
                "by_orders": one.by_orders,
            }
            for one in advice.replicates
        ],
        "change_lines": change_lines(report, advice),
        "run_next": run_lines(report, advice),
        "not_varied": [dataclasses.asdict(one) for one in record.unvaried],
        "levels": [dataclasses.asdict(one) for one in record.mapped],
        "scale_notes": [dataclasses.asdict(one) for one in record.scale_notes],
        "reported": [dataclasses.asdict(one) for one in record.reported],
        "fewer_images": [dataclasses.asdict(one) for one in fewer_images(report)],
        "design": {**dataclasses.asdict(record.design), "notes": design_notes(report)},
        "cells": [
            {**dataclasses.asdict(one), "mean": one.mean, "sd": one.sd}
            for one in cell_summaries(report)
        ],
        "caveats": caveats(report),
        "cost": {
            "trials": len(report.table),
            "by_status": report.status_counts,
            "wall_seconds": report.wall_seconds,
        },
    }


def _effect(effect: ExplainedEffect) -> dict[str, Any]:
    found = {"deviations": list(effect.definition.deviations), **_row(effect.row)}
    if effect.converged is not None:
        found["given_convergence"] = _row(effect.converged)
    return found


def _row(row: Attribution) -> dict[str, Any]:
    return {
        {"from_level": "from", "to_level": "to"}.get(name, name): value
        for name, value in dataclasses.asdict(row).items()
    }


def _part(part: GapPart) -> dict[str, Any]:
    return dataclasses.asdict(part)


def _plain(value: Any) -> Any:
    """The same with null for NaN and infinity, and lists for tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
