"""What becomes of what an earlier attempt at a trial has left: it goes on, or is set aside.

Nothing here deletes: what a new attempt cannot use is moved into a folder beside it, and a user who
wants the room removes that.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from odapi_repro.diagnosis.finished_run import (
    CheckpointOnDisk,
    checkpoint_fault,
    list_checkpoints,
    write_checkpoint_state,
)

ASIDE: Final = "earlier-"
"""What the names of folders with what was set aside begin with."""

TRAINED: Final = "trained.json"
"""Written by the worker when the last step is done and saved; holds what the training took."""

"""Of the last checkpoint, in COCO's results format."""

_PART_OF: Final = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")


@dataclass(frozen=True)
class Restart:
    """Where a training goes on.

    Attributes:
        step: of the checkpoint that it goes on from; 0 without one.
        faults: a sentence for every newer checkpoint that cannot be restored.
        aside: name of the folder that these were moved to; empty without any.
    """

    step: int
    faults: tuple[str, ...] = ()
    aside: str = ""


def set_aside(
    folder: Path, *, keep: Iterable[str] = (), only: Collection[str] | None = None
) -> str:
    """Moves what lies in a trial's folder into a new folder in it.

    Args:
        folder: of the trial.
        keep: names that stay: they will be written anew, or are nothing that anybody paid for.
        only: names that go, as far as they are there; all by default.

    Returns:
        The new folder's name; empty where there was nothing to move.
    """
    stays = set(keep)
    names = [n for n in os.listdir(folder) if n not in stays and not n.startswith(ASIDE)]
    if only is not None:
        names = [name for name in names if name in only]
    # What says that the training is done goes before what it says it of.
    names.sort(key=lambda name: (name != TRAINED, name))
    return _moved(folder, names) if names else ""


def restart_from(folder: Path) -> Restart:
    """Finds the newest checkpoint of a folder that can be restored, and has `checkpoint` name it.

    `train_loop` restores what the file `checkpoint` names and knows no second choice. A checkpoint
    that a kill or a full disk has cut short, or whose values do not have their checksums, is set
    aside. A worker that is not the chief keeps its own in a folder `temp_worker_NNN`
    (model_lib_v2.get_filepath), which serves where the folder itself has none.
    """
    faults: list[str] = []
    bad: list[str] = []
    whole: list[CheckpointOnDisk] = []
    for place in (folder, *_worker_folders(folder)):
        whole, faulty = _sorted_out(place, faults)
        prefix = "" if place == folder else f"{place.name}/"
        bad += [f"{prefix}{name}" for name in faulty]
        if whole:
            break
    aside = _moved(folder, bad) if bad else ""
    # What `checkpoint` names, `train_loop` deletes once it is the oldest of too many: no others.
    write_checkpoint_state(folder, [one for one in whole if one.in_state or one is whole[-1]])
    return Restart((whole[-1].step or 0) if whole else 0, tuple(faults), aside)


def is_whole_gzip(path: Path) -> bool:
    """Whether a gzipped file is there to its end."""
    if not path.is_file():
        return False
    try:
        with gzip.open(path, "rb") as file:
            while file.read(1 << 20):
                pass
        return path.stat().st_size > 0
    except (OSError, EOFError, zlib.error):
        return False


def _sorted_out(place: Path, faults: list[str]) -> tuple[list[CheckpointOnDisk], list[str]]:
    """Gives the checkpoints of a folder up to the newest whole one, and the files of those after.

    Those before it are not read: they are as they were when they were restored from or saved.
    """
    on_disk = list(list_checkpoints(place, []))
    names: list[str] = []
    while on_disk:
        fault = checkpoint_fault(on_disk[-1])
        if not fault:
            break
        one = on_disk.pop()
        faults.append(f"{one.prefix.name}: {fault}")
        names += [
            name for name in sorted(os.listdir(place)) if _PART_OF.sub("", name) == one.prefix.name
        ]
    return [one for one in on_disk if not one.fault], names


def _worker_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("temp_worker_*") if path.is_dir())


def _moved(folder: Path, names: Sequence[str]) -> str:
    """Moves files and folders into a new folder beside them and gives its name."""
    number = 1
    while True:
        aside = folder / f"{ASIDE}{number}"
        with contextlib.suppress(FileExistsError):
            aside.mkdir()
            break
        number += 1
    for name in names:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        # A link moves as a link; what it leads to stays where it is.
        os.rename(folder / name, aside / name)
    return aside.name
