"""Writes results/<study>/."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from odapi_repro.analysis.effects import effects_table
from odapi_repro.features.ablate.study_page import readme_text
from odapi_repro.features.ablate.study_report import (
    LevelMapping,
    LossPoint,
    Reported,
    ScaleNote,
    StudyReport,
)
from odapi_repro.page.results_folder import Drawing, write_results
from odapi_repro.page.tables import csv_bytes

__all__ = ["LevelMapping", "LossPoint", "Reported", "ScaleNote", "StudyReport", "write_report"]


def write_report(report: StudyReport, folder: Path) -> tuple[Path, ...]:
    """Writes trials.csv, effects.csv and README.md, then the plots, and README.md as it shows them.

    Each file is replaced whole. The same trials give the same bytes.

    Returns:
        The paths written, README.md last.

    Raises:
        UserError, EnvironmentMissing: as `write_results`.
    """

    def drawings() -> Iterable[Drawing]:
        from odapi_repro.features.ablate.level_plots import (
            render_plots,  # matplotlib takes a second to import
        )

        return render_plots(report)

    return write_results(
        folder,
        tables={
            "trials.csv": csv_bytes(report.table),
            "effects.csv": csv_bytes(effects_table(report.effects)),
        },
        drawings=drawings,
        pages=lambda files: {"README.md": readme_text(report, plots=files)},
        earlier=(
            "loss_curves.png",
            *(f"ap_by_{axis.name}.{ending}" for axis in report.axes for ending in ("png", "svg")),
        ),
    )
