"""Writes results/<name>/ of an evaluation."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from odapi_repro.errors import UserError
from odapi_repro.files import write_files
from odapi_repro.reporting.evaluation.content import EvaluationReport
from odapi_repro.reporting.evaluation.csv_files import csv_tables
from odapi_repro.reporting.evaluation.json_file import render_json
from odapi_repro.reporting.evaluation.readme import CHAIN_FIGURE, evaluation_readme
from odapi_repro.reporting.tables import csv_bytes

__all__ = ["EVALUATION_FILE", "check_is_free", "write_evaluation"]

EVALUATION_FILE = "evaluation.json"
"""By this file a folder in results/ is known to be an evaluation's, not a study's."""

_OF_STUDIES = ("study.json", "sweep.json", "explanation.json")
_WHAT: Final = ("model", "against", "data")
# All files but the pictures; those that are not written again are of an earlier evaluation.
_FILES = (
    *("metrics.csv", "per_class.csv", "errors.csv", "recall.csv", "confusions.csv"),
    *("recall_chain.csv", CHAIN_FIGURE, "pr_curves.svg", "error_types.svg"),
)


def write_evaluation(
    report: EvaluationReport, folder: Path, *, num_pictures: int = 12
) -> tuple[Path, ...]:
    """Writes tables, plots, pictures, evaluation.json and, last, the README.md that shows them.

    Each file is replaced whole; files of an earlier evaluation of this name that are not written
    again are removed. The same detections give the same bytes.

    Args:
        report: what was found.
        folder: results/<name>.
        num_pictures: images on each page; 0 for none.

    Returns:
        The paths written, README.md last.

    Raises:
        UserError: as `check_is_free`, or the folder cannot be written.
    """
    check_is_free(folder, report.digests)
    # Matplotlib takes a second to import.
    from odapi_repro.reporting.evaluation.plots import render_evaluation_plots

    files = {
        **{name: csv_bytes(table) for name, table in csv_tables(report).items()},
        **render_evaluation_plots(report),
        **_chain(report),
        **_pictures(report, num_pictures),
        EVALUATION_FILE: render_json(report, written=str(folder)).encode(),
    }
    files["README.md"] = evaluation_readme(report, files=files).encode()
    earlier = [f"pictures/{picture.name}" for picture in (folder / "pictures").glob("*.png")]
    written = write_files(folder, files, stale=(*_FILES, *earlier))
    with contextlib.suppress(OSError):
        (folder / "pictures").rmdir()  # An empty one.
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
    held = any((folder / name).exists() for name in _OF_STUDIES)
    if held or ((folder / "README.md").exists() and not own.exists()):
        raise UserError(
            "this folder holds the results of a study",
            expected="a new name, or that of an earlier evaluation",
            mend="choose another --name",
            where=str(folder),
        )
    if not own.exists():
        return
    try:
        earlier = json.loads(own.read_text(encoding="utf-8"))["digests"]
        changed = [what for what in _WHAT if earlier.get(what) != digests.get(what)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        changed = list(_WHAT)  # It does not say of what it is.
    if changed:
        raise UserError(
            "this folder holds an evaluation of "
            + ("other data" if changed == ["data"] else "other detections"),
            expected="a new name, or that of an earlier evaluation of the same",
            mend=f"choose another, such as --name {folder.name}-2, or delete the folder",
            where=str(folder),
        )


def _chain(report: EvaluationReport) -> dict[str, bytes]:
    if report.model.chain is None:
        return {}
    from odapi_repro.reporting.evaluation.mask_chain_plot import chain_figure
    from odapi_repro.reporting.style import encode, plot_style

    with plot_style():
        return {CHAIN_FIGURE: encode(chain_figure(report.model.chain), "svg")}


def _pictures(report: EvaluationReport, count: int) -> dict[str, bytes]:
    if not count or report.read_images is None:
        return {}
    from odapi_repro.reporting.evaluation.pages import pages
    from odapi_repro.reporting.evaluation.pictures import render_page

    shown = pages(report, count)
    images = report.read_images(sorted({tile.image for page in shown for tile in page.tiles}))
    return {
        f"pictures/{page.name}.png": render_page(page, images)
        for page in shown
        if any(tile.image in images for tile in page.tiles)
    }
