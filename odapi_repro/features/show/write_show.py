"""Writes the pictures, README.md and show.json."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.features.show.show_json import show_json
from odapi_repro.features.show.show_page import show_readme
from odapi_repro.features.show.show_report import ShowReport
from odapi_repro.files import read_json
from odapi_repro.page.results_folder import Drawing, write_results

__all__ = ["check_output", "write_show"]

_JSON = "show.json"


def check_output(folder: Path) -> None:
    """Tells whether the folder can be written to or made, before it is made.

    Raises:
        UserError: it cannot.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.exists(one))
    if not there.is_dir():
        raise _not_writable(folder, f"'{there}' is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise _not_writable(folder, "no permission")


def write_show(
    report: ShowReport, drawings: Mapping[str, Sequence[Drawing]], folder: Path
) -> ShowReport:
    """Writes README.md and show.json, then the pictures, and both again as they list those.

    Pictures of an earlier call that this one lacks go.

    Args:
        report: without its files.
        drawings: of each split, by its name.
        folder: made if it is not there.

    Returns:
        The report with the pictures that could be drawn.

    Raises:
        UserError, EnvironmentMissing: the folder cannot be written to, or the disk is full.
    """
    names = {
        split: [f"{drawing.name}.png" for drawing in found] for split, found in drawings.items()
    }

    def with_files(there: Collection[str]) -> ShowReport:
        splits = (
            one.with_files(name for name in names.get(one.split, ()) if name in there)
            for one in report.splits
        )
        return dataclasses.replace(report, splits=tuple(splits))

    def pages(there: Collection[str]) -> dict[str, str]:
        whole = with_files(there)
        return {"README.md": show_readme(whole), _JSON: show_json(whole)}

    written = write_results(
        folder,
        tables={},
        drawings=lambda: itertools.chain(*drawings.values()),
        pages=pages,
        earlier=_pictures_of(folder / _JSON),
    )
    return with_files({path.name for path in written})


def _pictures_of(path: Path) -> set[str]:
    """The pictures that an earlier show.json lists; nothing of a file that is something else."""
    try:
        held = read_json(path, mend="")
        named = {name for split in held["splits"] for name in split["pictures"]}
    except (FileNotFoundError, DamagedFile, KeyError, TypeError):
        return set()
    return {str(name) for name in named if str(name).endswith(".png") and "/" not in str(name)}


def _not_writable(folder: Path, reason: str) -> UserError:
    return UserError(
        f"cannot write here: {reason}",
        expected="a folder that can be written, with space left",
        mend="name another --output_dir",
        where=str(folder),
    )
