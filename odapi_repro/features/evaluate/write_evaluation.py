"""Writes results/<name>/ of an evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.features.evaluate.evaluation_csv import csv_tables
from odapi_repro.features.evaluate.evaluation_json import render_json
from odapi_repro.features.evaluate.evaluation_page import CHAIN_FIGURE, evaluation_page
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport
from odapi_repro.files import read_json
from odapi_repro.page.results_folder import Drawing, Results
from odapi_repro.page.tables import csv_bytes
from odapi_repro.trials.record_file import check_no_other_result

if TYPE_CHECKING:
    from PIL import Image

    from odapi_repro.features.evaluate.shown_images import Page


EVALUATION_FILE = "evaluation.json"
"""By this file a folder in results/ is known to be an evaluation's, not a study's."""

_WHAT: Final = ("model", "against", "data")
# All files but the pictures; those that are not written again are of an earlier evaluation.
_FILES = (
    *("metrics.csv", "per_class.csv", "errors.csv", "recall.csv", "confusions.csv"),
    *("recall_chain.csv", CHAIN_FIGURE, "pr_curves.svg", "error_types.svg"),
)


def write_evaluation(
    report: EvaluationReport, folder: Path, *, num_pictures: int = 12
) -> tuple[Path, ...]:
    """Writes tables, evaluation.json and README.md, then plots and pictures.

    README.md is written again as it shows them. Each file is replaced whole; files of an earlier
    evaluation of this name that are not written again are removed. The same detections give the
    same bytes.

    Args:
        report: what was found.
        folder: results/<name>.
        num_pictures: images on each page; 0 for none.

    Returns:
        The paths written, README.md last.

    Raises:
        UserError: as `check_is_free`, or the folder cannot be written.
        EnvironmentMissing: the disk is full.
    """
    check_is_free(folder, report.digests)
    earlier = [f"pictures/{path.name}" for path in (folder / "pictures").glob("*.png")]
    tables = {name: csv_bytes(table) for name, table in csv_tables(report).items()}
    record = {EVALUATION_FILE: render_json(report, written=str(folder)).encode()}
    results = Results(
        evaluation_page(report, tables=tables),
        tables={**tables, **record},
        drawings=partial(_drawings, report, num_pictures),
        earlier=(*_FILES, *earlier),
    )
    written = results.write(folder)
    with contextlib.suppress(OSError):
        (folder / "pictures").rmdir()  # Where nothing is left in it.
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
    check_no_other_result(folder, EVALUATION_FILE)
    if not own.exists():
        return
    try:
        earlier = read_json(own, mend="")["digests"]
        changed = [what for what in _WHAT if earlier.get(what) != digests.get(what)]
    except (DamagedFile, KeyError, AttributeError):
        changed = list(_WHAT)  # what it is an evaluation of is not known
    if changed:
        raise UserError(
            "this folder holds an evaluation of "
            + ("other data" if changed == ["data"] else "other detections"),
            expected="a new name, or that of an earlier evaluation of the same",
            mend=f"choose another, such as --name {folder.name}-2, or delete the folder",
            where=str(folder),
        )


def _drawings(report: EvaluationReport, num_pictures: int) -> Iterator[Drawing]:
    # Matplotlib takes a second to import.
    from odapi_repro.features.evaluate.evaluation_plots import render_evaluation_plots

    yield from render_evaluation_plots(report)
    if num_pictures and report.read_images is not None:
        from odapi_repro.features.evaluate.shown_images import pages

        shown = pages(report, num_pictures)
        wanted = sorted({tile.image for page in shown for tile in page.tiles})
        images = cache(partial(report.read_images, wanted))
        yield from (Drawing(page.name, partial(_picture, page, images)) for page in shown)


def _picture(page: Page, images: Callable[[], Mapping[int, Image.Image]]) -> dict[str, bytes]:
    """The page as PNG; nothing without any of its images."""
    from odapi_repro.features.evaluate.pictures import render_page

    found = images()
    if not any(tile.image in found for tile in page.tiles):
        return {}
    return {f"pictures/{page.name}.png": render_page(page, found)}
