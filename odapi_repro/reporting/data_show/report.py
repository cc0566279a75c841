"""Writes the pictures, README.md and show.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from odapi_repro.errors import UserError
from odapi_repro.files import write_files
from odapi_repro.reporting.data_show.content import ShowReport
from odapi_repro.reporting.data_show.json_file import show_json
from odapi_repro.reporting.data_show.readme import show_readme

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


def write_show(report: ShowReport, pictures: Mapping[str, bytes], folder: Path) -> None:
    """Makes the folder and writes everything, each file whole or not at all.

    Pictures of an earlier call that this one lacks go.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    earlier = _pictures_of(folder / _JSON)
    files = {
        **pictures,
        "README.md": show_readme(report).encode(),
        _JSON: show_json(report).encode(),
    }
    write_files(folder, files, stale=earlier)


def _pictures_of(path: Path) -> set[str]:
    """The pictures that an earlier show.json lists; nothing of a file that is something else."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        named = {name for split in held["splits"] for name in split["pictures"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {str(name) for name in named if str(name).endswith(".png") and "/" not in str(name)}


def _not_writable(folder: Path, reason: str) -> UserError:
    return UserError(
        f"cannot write here: {reason}",
        expected="a folder that can be written, with space left",
        mend="name another --output_dir",
        where=str(folder),
    )
