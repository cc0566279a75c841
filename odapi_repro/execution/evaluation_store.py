"""Finished evaluations: one folder for the detections of one variant of one pass.

`runs/evaluations/<id>/` holds `evaluation.json` (what decides the detections, whose hash is the
id), `detections.json.gz` (COCO's results format) or `stages.npz`, `images.json` (the sizes of the
images as they were decoded) and `provenance.json` (what it took). A folder appears whole or not at
all, so whatever is there is finished. The names of passes and variants decide nothing and are left
out.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["DETECTIONS", "STAGES", "EvaluationStore", "evaluation_id"]

DETECTIONS = "detections.json.gz"
STAGES = "stages.npz"
_WORK = ".work-"
_LOCK = "lock"


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
        """Gives the folder of an evaluation; None if it was never finished."""
        folder = self.folder / evaluation_id(spec)
        return folder if folder.is_dir() else None

    def add(
        self, spec: Mapping[str, Any], files: Mapping[str, Path], provenance: Mapping[str, Any]
    ) -> Path:
        """Adds a finished evaluation and gives its folder.

        Args:
            spec: what decides it.
            files: name in the folder -> file, of the same file system; copied by a hard link.
            provenance: what it took.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f"{_WORK}add-", dir=self.folder))
        made.chmod(0o755)
        for name, file in files.items():
            os.link(file, made / name)
        (made / "evaluation.json").write_text(_canonical(spec) + "\n", encoding="utf-8")
        text = json.dumps(provenance, indent=1) + "\n"
        (made / "provenance.json").write_text(text, encoding="utf-8")
        folder = self.folder / evaluation_id(spec)
        try:
            os.rename(made, folder)
        except OSError:
            # Somebody else has finished the same; theirs is as good.
            shutil.rmtree(made, ignore_errors=True)
            if not folder.is_dir():
                raise
        return folder

    @contextlib.contextmanager
    def work_folder(self) -> Iterator[Path]:
        """Gives a folder for a child to work in; what killed processes have left is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f"{_WORK}*"):
            _remove_if_left(left)
        folder = Path(tempfile.mkdtemp(prefix=_WORK, dir=self.folder))
        try:
            with open(folder / _LOCK, "w", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    """Removes a work folder whose process is gone, and so its lock."""
    with contextlib.suppress(OSError):
        with open(folder / _LOCK, "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
