"""Writes results/<study>/ of an explanation, and reads it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pandas as pd

from odapi_repro.errors import StudyMismatch, UserError
from odapi_repro.features.explain.explain_subsets import EVALUATION_COLUMNS
from odapi_repro.features.explain.explanation import EXPLANATION_FILE
from odapi_repro.features.explain.report.effect_tables import explained_frame
from odapi_repro.features.explain.report.explanation_page import explanation_page
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.page.results_folder import Drawing, Results
from odapi_repro.page.tables import csv_bytes, read_trials
from odapi_repro.trials.record_file import check_no_other_result

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
        from odapi_repro.features.explain.report.figures import render_figures

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
