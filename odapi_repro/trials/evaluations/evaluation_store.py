"""Finished evaluations: one folder for the detections of one variant of one pass.

`runs/evaluations/<id>/` holds `evaluation.json` (what decides the detections, whose hash is the
id), `detections.json.gz` (COCO's results format) or `stages.npz`, `images.json` (the sizes of the
images as they were decoded) and `provenance.json` (what it took). A folder appears whole or not at
all; one that was damaged since is treated as not there, and set aside (`damaged-<id>`) when it is
made again. The names of passes and variants decide nothing and are left out.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from odapi_repro.errors import DamagedFile, EnvironmentMissing, UserError
from odapi_repro.files import (
    NO_SPACE,
    is_held,
    locked,
    put_in_place,
    read_json,
    write_json,
    write_whole,
)
from odapi_repro.files.trial_files import DETECTIONS

STAGES = "stages.npz"
IMAGES = "images.json"
_SPEC = "evaluation.json"
_PROVENANCE = "provenance.json"
_WORK = ".work-"
_LOCK = "lock"
_STORE_LOCK = ".lock"
_AT_ONCE = 1 << 20


def evaluation_id(spec: Mapping[str, Any]) -> str:
    """Gives twelve hex digits of the SHA-256 of a spec's canonical JSON."""
    return hashlib.sha256(_canonical(spec).encode()).hexdigest()[:12]


def _canonical(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True, indent=1)


class EvaluationStore:
    """The folder of all finished evaluations.

    Args:
        runs_dir: the folder of all trials; `evaluations` in it is made when it is needed.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.folder = runs_dir / "evaluations"

    def find(self, spec: Mapping[str, Any]) -> Path | None:
        """Gives the folder of an evaluation; None if it was never finished, or is damaged."""
        folder = self.folder / evaluation_id(spec)
        return folder if _is_whole(folder, spec) else None

    @staticmethod
    def provenance(folder: Path) -> dict[str, Any]:
        """Gives what an evaluation took, of a folder that `find` gave."""
        return _read(folder / _PROVENANCE)

    def add(
        self,
        spec: Mapping[str, Any],
        found: Path,
        images: Path,
        provenance: Mapping[str, Any],
        log: Path,
    ) -> Path:
        """Adds a finished evaluation and gives its folder.

        Args:
            spec: what decides it.
            found: its detections or stages, below a folder of `work_folder`; moved.
            images: its images.json; copied, for the next pass writes it again.
            provenance: what it took.
            log: what was written so far; copied.

        Raises:
            UserError: the folder cannot be written to.
            EnvironmentMissing: the disk is full.
        """
        folder = self.folder / evaluation_id(spec)
        with self.work_folder() as work, self._writing():
            made = work / folder.name
            made.mkdir()
            shutil.copyfile(images, made / IMAGES)
            shutil.copyfile(log, made / log.name)
            write_whole(made / _SPEC, _canonical(spec) + "\n")
            write_json(made / _PROVENANCE, provenance)
            os.replace(found, made / _content(spec))
            with self._locked():
                # Where somebody else has finished the same, theirs is as good.
                if self.find(spec) is None:
                    self._set_aside(folder)
                    put_in_place(made, folder)
        return folder

    @contextlib.contextmanager
    def work_folder(self) -> Iterator[Path]:
        """Gives a folder for a child to work in; what killed processes have left is removed.

        Raises:
            UserError: the folder of evaluations cannot be written to.
            EnvironmentMissing: the disk is full.
        """
        with contextlib.ExitStack() as held:
            with self._writing():
                self.folder.mkdir(parents=True, exist_ok=True)
                # Nobody sees a folder between its making and its locking.
                with self._locked():
                    for left in self.folder.glob(f"{_WORK}*"):
                        _remove_if_left(left)
                    folder = Path(tempfile.mkdtemp(prefix=_WORK, dir=self.folder))
                    held.callback(shutil.rmtree, folder, ignore_errors=True)
                    held.enter_context(locked(folder / _LOCK))
            yield folder

    def _set_aside(self, folder: Path) -> None:
        """Moves a damaged folder away, in the place of the one before it."""
        if folder.exists():
            aside = self.folder / f"damaged-{folder.name}"
            shutil.rmtree(aside, ignore_errors=True)
            aside.unlink(missing_ok=True)
            os.rename(folder, aside)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.folder / _STORE_LOCK, wait=True):
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises what the system says against writing as an error that a user can mend."""
        try:
            yield
        except OSError as error:
            if error.errno in NO_SPACE:
                raise EnvironmentMissing(
                    "no space left on the disk",
                    expected="room for the detections",
                    mend="free some space and give the same command again; finished passes are "
                    "kept",
                    where=str(self.folder),
                ) from error
            raise UserError(
                f"detections cannot be kept here ({error})",
                expected="a folder that can be written to, on a disk that knows file locks",
                mend="choose another --runs_dir",
                where=str(self.folder),
            ) from error


def _content(spec: Mapping[str, Any]) -> str:
    return STAGES if spec.get("stages") else DETECTIONS


def _is_whole(folder: Path, spec: Mapping[str, Any]) -> bool:
    """Whether every file of an evaluation is there and reads to its end."""
    try:
        sizes = _read(folder / IMAGES)
        return (
            _read(folder / _SPEC) == json.loads(_canonical(spec))
            and _read(folder / _PROVENANCE) is not None
            and _are_lengths(sizes.get("heights"))
            and _are_lengths(sizes.get("widths"))
            and len(sizes["heights"]) == len(sizes["widths"])
            and _reads_to_its_end(folder / _content(spec))
        )
    except (
        *(OSError, EOFError, ValueError, RuntimeError),
        *(DamagedFile, zlib.error, zipfile.BadZipFile),
    ):
        return False


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, mend="delete the folder: the evaluation is made again")


def _are_lengths(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int for value in values)


def _reads_to_its_end(path: Path) -> bool:
    """Whether the checksums of a gzip or zip file hold; raises where it cannot be read at all."""
    if not path.is_file():
        return False
    if path.name == STAGES:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    with gzip.open(path, "rb") as file:
        while file.read(_AT_ONCE):
            pass
    return path.stat().st_size > 0


def _remove_if_left(folder: Path) -> None:
    """Removes a work folder whose process is gone, and so its lock."""
    if not is_held(folder / _LOCK):
        shutil.rmtree(folder, ignore_errors=True)
