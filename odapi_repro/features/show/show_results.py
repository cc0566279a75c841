"""What the folder of `data show` holds: README.md and show.json, then the pictures."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.features.show.show_json import show_json
from odapi_repro.features.show.show_page import show_page
from odapi_repro.features.show.show_report import ShowReport
from odapi_repro.files import read_json
from odapi_repro.page.results_folder import Drawing, Results

_JSON = "show.json"


def check_output(folder: Path) -> None:
    """Tells whether the folder can be written to or made, before it is made.

    Raises:
        UserError: it cannot.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.exists(one))
    problem = "no permission" if there.is_dir() else f"'{there}' is no folder"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"cannot write here: {problem}",
            expected="a folder that can be written, with space left",
            mend="name another --output_dir",
            where=str(folder),
        )


def show_results(
    report: ShowReport, drawings: Mapping[str, Sequence[Drawing]], folder: Path
) -> Results:
    """Gives what is to be written; pictures of an earlier call that this one lacks go.

    Args:
        report: what was found.
        drawings: of each split, by its name.
        folder: that an earlier call may have written to.
    """
    pictures = {
        split: [f"{drawing.name}.png" for drawing in found] for split, found in drawings.items()
    }
    return Results(
        show_page(report, pictures),
        tables={},
        drawings=lambda: itertools.chain(*drawings.values()),
        earlier=_pictures_of(folder / _JSON),
        listings=lambda files: {
            _JSON: show_json(
                report,
                {
                    split: [one for one in named if one in files]
                    for split, named in pictures.items()
                },
            )
        },
    )


def _pictures_of(path: Path) -> set[str]:
    """The pictures that an earlier show.json lists; nothing of a file that is something else."""
    try:
        held = read_json(path, mend="")
        named = {name for split in held["splits"] for name in split["pictures"]}
    except (FileNotFoundError, DamagedFile, KeyError, TypeError):
        return set()
    return {str(name) for name in named if str(name).endswith(".png") and "/" not in str(name)}
