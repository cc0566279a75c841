"""What a person reads of a study: results/<study>/ with tables, plots and a README."""

from odapi_repro.reporting.content import (
    LevelMapping,
    LossPoint,
    Reported,
    ScaleNote,
    StudyReport,
)
from odapi_repro.reporting.report import write_report
from odapi_repro.reporting.terminal import print_report, render_terminal

__all__ = [
    "LevelMapping",
    "LossPoint",
    "Reported",
    "ScaleNote",
    "StudyReport",
    "print_report",
    "render_terminal",
    "write_report",
]
