"""The files of an explanation: its JSON, and the folder results/<study>/."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from odapi_repro import __version__
from odapi_repro.analysis.attribution import Attribution, GapPart
from odapi_repro.errors import StudyMismatch, UserError
from odapi_repro.features.explain.explain_trials import EVALUATION_COLUMNS
from odapi_repro.features.explain.explanation import EXPLANATION_FILE
from odapi_repro.features.explain.report.advice import Advice, change_lines, run_lines
from odapi_repro.features.explain.report.effect_tables import cell_summaries, explained_frame
from odapi_repro.features.explain.report.effect_wording import headline
from odapi_repro.features.explain.report.explanation_notes import (
    caveats,
    design_notes,
    fewer_images,
)
from odapi_repro.features.explain.report.explanation_page import explanation_page, report_command
from odapi_repro.features.explain.report.explanation_report import (
    ExplainedEffect,
    ExplanationReport,
)
from odapi_repro.features.explain.report.interactions import interaction_lines
from odapi_repro.page.results_folder import Drawing, Results
from odapi_repro.page.study_tables import csv_bytes, read_trials
from odapi_repro.trials.record_file import check_no_other_result

# --- An explanation as JSON, schema 1; docs/explain.md says what each field means ---


SCHEMA = 1


def render_json(report: ExplanationReport) -> str:
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


# --- Writes results/<study>/ of an explanation, and reads it again ---


_TRIALS, _EVALUATION = "trials.csv", "evaluation.csv"
_FIGURES: Final = tuple(
    f"{name}.{image_format}"
    for name in ("waterfall", "effects", "interactions")
    for image_format in ("png", "svg")
)


def write_report(report: ExplanationReport, folder: Path) -> tuple[Path, ...]:
    """Writes the results of an explanation; README.md is the last of the paths that it gives.

    Raises:
        UserError: the folder holds the results of something else, or cannot be written.
        EnvironmentMissing: the disk is full.
    """
    check_no_other_result(folder, EXPLANATION_FILE.name)
    return explanation_results(report).write(folder)


def explanation_results(report: ExplanationReport) -> Results:
    """Gives what results/<study>/ holds; the same record and trials give the same bytes."""
    tables = {
        _TRIALS: csv_bytes(report.table),
        EXPLANATION_FILE.name: report.explanation.to_json().encode(),
        "effects.csv": csv_bytes(explained_frame(report)),
    }
    if report.evaluation is not None:
        tables[_EVALUATION] = csv_bytes(report.evaluation)

    def drawings() -> Iterable[Drawing]:
        # Matplotlib takes a second to import.
        from odapi_repro.features.explain.report.explanation_figures import render_figures

        return render_figures(report)

    return Results(explanation_page(report), tables, drawings, (*_FIGURES, _EVALUATION))


def read_report(folder: Path) -> ExplanationReport:
    """The report of a folder that `write_report` wrote, from its record and its trials.

    Raises:
        UserError: the folder has no record or no trials.
        StudyMismatch: they are damaged, do not belong together, or a newer version wrote them.
    """
    try:
        explanation = EXPLANATION_FILE.read(folder)
    except FileNotFoundError as error:
        raise _missing(folder / EXPLANATION_FILE.name, error) from error
    trials = _read(folder / _TRIALS, read_trials)
    scored = folder / _EVALUATION
    evaluation = _read(scored, _evaluation) if scored.exists() else None
    report = ExplanationReport(explanation, trials, evaluation)
    try:
        # Asks everything of the table that a report will.
        _ = report.result
    except (ValueError, KeyError) as error:
        raise StudyMismatch(
            f"the trials do not fit the record beside them: {error}",
            expected=f"trials.csv and {EXPLANATION_FILE.name} of one study",
            mend="take both files from where they were committed, or run the command again",
            where=str(folder / _TRIALS),
        ) from error
    return report


def _read(path: Path, parse: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    if path.exists() and not path.is_file():
        raise _damaged(path, "it is no file")  # a pipe or a device has no end
    try:
        return parse(path)
    except (ValueError, IndexError, KeyError) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise _missing(path, error) from error


def _evaluation(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={"cell": str, "trial_id": str})
    numbers = [name for name in EVALUATION_COLUMNS if name not in ("cell", "trial_id")]
    table[numbers] = table[numbers].apply(pd.to_numeric)
    return table


def _missing(path: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot be read: {error.strerror or error}",
        expected=f"a folder of results with {EXPLANATION_FILE.name} and {_TRIALS}",
        mend="name the folder of an explanation, results/<study>",
        where=str(path),
    )


def _damaged(path: Path, what: str) -> StudyMismatch:
    return StudyMismatch(
        f"the file is damaged: {what.splitlines()[0]}",
        expected="the file as odapi_repro wrote it",
        mend="take it from where it was committed, or run the command again",
        where=str(path),
    )
