"""The trial store: one folder a trial, shared by every study that needs it.

`runs/<trial_id>/` holds `trial.json` (the spec), `pipeline.config`, `state.json`,
`provenance.json`, `metrics.json`, `losses.csv`, `detections.json.gz`, `train.log`, and checkpoints
and events as the OD API writes them. A state is replaced atomically, so a kill at any moment leaves
the old one or the new one; whoever runs a trial holds a lock on its folder that dies with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.errors import EnvironmentMissing, StudyMismatch, UserError
from odapi_repro.study.trial import Trial

__all__ = ["FINISHED", "STATES", "TRAINED", "TrialState", "TrialStore", "write_atomically"]

STATES = ("planned", "running", "succeeded", "diverged", "failed", "interrupted")
# What needs no run again: a diverged trial is a result.
FINISHED = frozenset({"succeeded", "diverged"})
STATE_VERSION = 1
# Written by the worker when the last step is done and saved; holds what the training took.
TRAINED = "trained.json"
_LOCK = ".lock"


@dataclass(frozen=True)
class TrialState:
    """Where a trial stands.

    Attributes:
        state: one of `STATES`.
        message: why, for `diverged`, `failed` and `interrupted`.
        step: steps done when it was written.
        kind: of a failure: `out_of_memory`, `disk_full`, `input`, `error`.
    """

    state: str
    message: str = ""
    step: int = 0
    kind: str = ""


def write_atomically(path: Path, text: str) -> None:
    """Replaces a text file in one step, on disk before it is seen.

    Raises:
        EnvironmentMissing: no space left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EnvironmentMissing(
                "no space left on the disk",
                expected="room for checkpoints, detections and tables",
                mend="free some space and give the same command again; finished trials are kept",
                where=str(path.parent),
            ) from error
        raise


class TrialStore:
    """The folder of all trials.

    Args:
        runs_dir: made when the first trial is prepared.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir

    def folder(self, trial_id: str) -> Path:
        """Where a trial lives."""
        return self.runs_dir / trial_id

    def state(self, trial_id: str) -> TrialState:
        """Gives a trial's state; one that says `running` with nobody holding it is interrupted.

        Raises:
            StudyMismatch: written by a newer version.
        """
        path = self.folder(trial_id) / "state.json"
        try:
            fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return TrialState("planned")
        except ValueError:
            return TrialState("interrupted", "state.json was cut short")
        version = fields.pop("version", 0)
        if version > STATE_VERSION:
            raise StudyMismatch(
                f"state.json has format {version}",
                expected=f"format {STATE_VERSION} or older",
                mend="use the version of odapi_repro that wrote it, or another --runs_dir",
                where=str(path),
            )
        state = TrialState(**fields)
        if state.state == "running" and not self._is_locked(trial_id):
            return TrialState("interrupted", "killed while it ran", state.step)
        return state

    def set_state(self, trial_id: str, state: TrialState) -> None:
        """Replaces a trial's state."""
        fields = {"version": STATE_VERSION, **state.__dict__}
        write_atomically(self.folder(trial_id) / "state.json", json.dumps(fields, indent=1) + "\n")

    def prepare(self, trial: Trial) -> Path:
        """Makes the folder of a trial about to run and gives it.

        Nothing of an earlier attempt is left, except for a trial that has trained to its end and
        failed or was interrupted in its evaluation, and for one that is not deterministic and was
        interrupted after a checkpoint: that one goes on from there, as `train_loop` does by
        itself. A deterministic one starts over, because the order of its data depends on where it
        started, and the same trial must give the same numbers.
        """
        folder = self.folder(trial.trial_id)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / TRAINED).exists():
            # Only its evaluation is missing.
            return folder
        interrupted = self.state(trial.trial_id).state in ("interrupted", "running")
        if interrupted and not trial.spec.deterministic and any(folder.glob("ckpt-*.index")):
            return folder
        for entry in folder.iterdir():
            if entry.name == _LOCK:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        write_atomically(folder / "trial.json", trial.spec.to_json() + "\n")
        write_atomically(folder / "pipeline.config", trial.pipeline_text)
        return folder

    def write_json(self, trial_id: str, name: str, value: object) -> None:
        """Writes one of the trial's JSON files."""
        write_atomically(self.folder(trial_id) / name, json.dumps(value, indent=1) + "\n")

    def read_json(self, trial_id: str, name: str) -> dict[str, Any]:
        """Reads one of the trial's JSON files; empty when there is none."""
        try:
            text = (self.folder(trial_id) / name).read_text(encoding="utf-8")
            value: Mapping[str, Any] = json.loads(text)
        except (FileNotFoundError, ValueError):
            return {}
        return dict(value)

    @contextlib.contextmanager
    def locked(self, trial_id: str) -> Iterator[None]:
        """Holds a trial for this process; the system lets go when the process dies.

        Raises:
            UserError: another process runs this trial.
        """
        folder = self.folder(trial_id)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / _LOCK, "a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(
                    f"trial {trial_id} is being run by another process",
                    expected="one process a study",
                    mend="wait for it, or choose another --runs_dir",
                    where=str(folder),
                ) from error
            yield

    def _is_locked(self, trial_id: str) -> bool:
        try:
            with open(self.folder(trial_id) / _LOCK, "a", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False
