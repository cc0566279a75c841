"""Writes results/<study>/ of a sweep without training."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from odapi_repro.analysis.image_effects import image_effects_table
from odapi_repro.features.sweep.sweep_report import PostHocReport
from odapi_repro.features.sweep.sweep_text import post_hoc_readme, post_hoc_terminal
from odapi_repro.page.results_folder import Drawing, write_results
from odapi_repro.page.tables import csv_bytes

__all__ = ["print_post_hoc_report", "write_post_hoc_report"]


def write_post_hoc_report(report: PostHocReport, folder: Path) -> tuple[Path, ...]:
    """Writes trials.csv, effects.csv and README.md, then the plot, and README.md as it shows it.

    Returns:
        The paths written, README.md last.

    Raises:
        UserError, EnvironmentMissing: as `write_results`.
    """

    def drawings() -> Iterable[Drawing]:
        from odapi_repro.features.sweep.sweep_plot import (
            render_post_hoc_plots,  # imports matplotlib
        )

        return render_post_hoc_plots(report)

    return write_results(
        folder,
        tables={
            "trials.csv": csv_bytes(report.table),
            "effects.csv": csv_bytes(image_effects_table(report.effects)),
        },
        drawings=drawings,
        pages=lambda files: {"README.md": post_hoc_readme(report, plots=files)},
        earlier=("effects.png", "effects.svg"),
    )


def print_post_hoc_report(report: PostHocReport, stream: TextIO | None = None) -> None:
    """Prints the table and the headline; in ASCII unless the stream is a terminal for more."""
    stream = sys.stdout if stream is None else stream
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    ascii_only = not (stream.isatty() and encoding == "utf8")
    stream.write(post_hoc_terminal(report, ascii_only=ascii_only))
