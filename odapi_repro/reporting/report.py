"""Writes results/<study>/."""

from __future__ import annotations

from pathlib import Path

from odapi_repro.analysis.effects import effects_table
from odapi_repro.files import write_files
from odapi_repro.reporting.content import (
    LevelMapping,
    LossPoint,
    Reported,
    ScaleNote,
    StudyReport,
)
from odapi_repro.reporting.readme import readme_text
from odapi_repro.reporting.tables import csv_bytes

__all__ = ["LevelMapping", "LossPoint", "Reported", "ScaleNote", "StudyReport", "write_report"]


def write_report(report: StudyReport, folder: Path) -> tuple[Path, ...]:
    """Writes trials.csv, effects.csv, the plots and, last, the README.md that shows them.

    Each file is replaced whole. The same trials give the same bytes.

    Returns:
        The paths written, README.md last.
    """
    from odapi_repro.reporting.plots import render_plots  # matplotlib takes a second to import

    files = {
        "trials.csv": csv_bytes(report.table),
        "effects.csv": csv_bytes(effects_table(report.effects)),
        **render_plots(report),
    }
    files["README.md"] = readme_text(report, plots=sorted(files)).encode()
    return write_files(folder, files)
