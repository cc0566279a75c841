"""The trial store: one folder a trial, shared by every study that needs it.

`runs/<trial_id>/` holds `trial.json` (the spec), `pipeline.config`, `state.json`,
`provenance.json`, `metrics.json`, `losses.csv`, `detections.json.gz`, `train.log`, and checkpoints
and events as the OD API writes them. A file is replaced whole, so a kill at any moment leaves the
old one or the new one; whoever runs a trial holds a lock on its folder that dies with it. What a
damaged file held is never guessed: the file is named, with what to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.files import (
    Busy,
    cannot_write,
    damaged,
    digest_of,
    is_held,
    locked,
    read_json,
    typed,
    write_json,
    write_record,
    write_whole,
)
from odapi_repro.files.trial_files import (
    CONFIG,
    DETECTIONS,
    FINISHED,
    LOSSES,
    MENDS,
    METRICS,
    PROVENANCE,
    SPEC,
    STATE,
    STATE_VERSION,
    TRAINED_ONLY,
    Metrics,
    Provenance,
    TrialState,
    read_metrics,
    read_provenance,
    read_state,
)
from odapi_repro.trials.attempts import (
    TRAINED,
    Restart,
    is_whole_gzip,
    restart_from,
    set_aside,
)
from odapi_repro.trials.events import SCRATCH
from odapi_repro.trials.trial import Trial, TrialSpec

_LOCK: Final = ".lock"
_WRITTEN_ANEW: Final = (STATE, SPEC, CONFIG, "job.json", _LOCK)
_TRIAL_ID: Final = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Attempt:
    """The folder of a trial that is about to run.

    Attributes:
        folder: of the trial.
        train: whether there is something left to train.
        resumed: whether it goes on from an earlier attempt.
        from_step: of the checkpoint that its training goes on from; 0 for the start.
        notes: sentences for the user: where it goes on, what was set aside and why.
    """

    folder: Path
    train: bool
    resumed: bool
    from_step: int = 0
    notes: tuple[str, ...] = ()


class TrialBusy(Busy):
    """Another process runs the trial."""


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

    def trial_ids(self) -> list[str]:
        """Gives the ids of all trials here, in order; what else lies here is passed over."""
        try:
            names = os.listdir(self.runs_dir)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(filter(_TRIAL_ID.fullmatch, names))

    def state(self, trial_id: str) -> TrialState:
        """Gives a trial's state, without taking its lock.

        One that says `running` with nobody holding it is interrupted, as is one whose state is
        gone, and one that says `succeeded` without metrics that read: what it lacks is made again.

        Raises:
            DamagedFile: the state does not read, or a newer version wrote it.
        """
        held = read_state(self.folder(trial_id))
        if held is not None and held.state == "running" and self.is_free(trial_id):
            # Whoever ran it may have ended it between the two looks.
            held = read_state(self.folder(trial_id))
            if held is not None and held.state == "running":
                return TrialState("interrupted", "killed while it ran", held.step)
        if held is None:
            return self._without_state(trial_id)
        state = TrialState(held.state, held.message, held.step, held.kind)
        if state.state == "succeeded" and state.kind != TRAINED_ONLY:
            problem = self._problem_of_metrics(trial_id, held.digests.get(METRICS))
            if problem:
                return TrialState("interrupted", problem, state.step)
        return state

    def is_free(self, trial_id: str) -> bool:
        """Whether nobody runs a trial now."""
        return not is_held(self.folder(trial_id) / _LOCK)

    def set_state(self, trial_id: str, state: TrialState) -> None:
        """Replaces a trial's state; of one that is finished, with digests of what it rests on."""
        folder = self.folder(trial_id)
        digests = {}
        if state.state in FINISHED:
            names = (METRICS, PROVENANCE, LOSSES)
            digests = {name: digest_of(folder / name) for name in names if (folder / name).exists()}
        fields = {**dataclasses.asdict(state), "digests": digests}
        write_record(folder / STATE, fields, version=STATE_VERSION)

    def spec(self, trial_id: str) -> TrialSpec | None:
        """Gives what a trial is made of; None where its folder does not say.

        Raises:
            DamagedFile: trial.json does not read, or a newer version wrote it.
        """
        path = self.folder(trial_id) / SPEC
        try:
            return TrialSpec.read(path, mend=MENDS[SPEC])
        except FileNotFoundError:
            return None

    def metrics(self, trial_id: str) -> Metrics | None:
        """Gives the metrics of a trial that succeeded; None where there are none.

        Raises:
            DamagedFile: metrics.json does not read.
        """
        return read_metrics(self.folder(trial_id))

    def provenance(self, trial_id: str) -> Provenance | None:
        """Gives what a trial took; None where nothing says it.

        Raises:
            DamagedFile: provenance.json does not read.
        """
        return read_provenance(self.folder(trial_id))

    def checked_provenance(self, trial_id: str) -> Provenance | None:
        """Gives what a trial took, held against the digest in its state.

        Raises:
            DamagedFile: provenance.json does not read, or is not what was written.
        """
        path = self.folder(trial_id) / PROVENANCE
        took = self.provenance(trial_id)
        held = read_state(self.folder(trial_id))
        digest = held.digests.get(PROVENANCE, "") if held else ""
        if took is not None and digest not in ("", digest_of(path)):
            raise damaged(path, "it was changed after it was written", MENDS[PROVENANCE])
        return took

    def changed_losses(self, trial_id: str) -> str:
        """Says that losses.csv is not what it was when the trial ended; empty where it is.

        Raises:
            DamagedFile: the state does not read.
        """
        held = read_state(self.folder(trial_id))
        digest = held.digests.get(LOSSES, "") if held else ""
        now = digest_of(self.folder(trial_id) / LOSSES)
        return "" if digest in ("", now) else f"{LOSSES} was changed after it was written"

    def prepare(self, trial: Trial, *, fresh_start: bool = False) -> Attempt:
        """Makes the folder of a trial about to run, whose lock the caller holds.

        A trial that has trained to its end, and has the checkpoint or the detections of that, only
        lacks its evaluation. One that is not deterministic goes on from its newest checkpoint that
        can be restored, whatever ended it, as `train_loop` does by itself. A deterministic one
        starts over, because the order of its data depends on where it started, and the same trial
        must give the same numbers; what it had is set aside, and so it is for a `fresh_start`.
        Nothing is deleted.
        """
        folder = self.folder(trial.trial_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            attempt = self._attempt(trial, folder, fresh_start=fresh_start)
        except OSError as error:
            raise cannot_write(folder, error) from error
        write_whole(folder / SPEC, trial.spec.to_json() + "\n")
        write_whole(folder / CONFIG, trial.pipeline_text)
        return attempt

    def write_provenance(self, trial_id: str, attempt: Attempt, fields: Mapping[str, Any]) -> None:
        """Writes provenance.json; what it says of an attempt that this one goes on from stays."""
        path = self.folder(trial_id) / PROVENANCE
        earlier: dict[str, Any] = {}
        if attempt.resumed:
            with contextlib.suppress(FileNotFoundError, DamagedFile):
                earlier = read_json(path, mend="")
        before = Provenance()
        with contextlib.suppress(ValueError):
            before = typed(earlier, Provenance)
        # An evaluation alone leaves the training as it was timed.
        resumed = attempt.resumed if attempt.train else bool(earlier.get("resumed", True))
        write_json(
            path,
            {
                **earlier,
                **fields,
                "timings": {**before.timings, **fields.get("timings", {})},
                "wall_seconds": (before.wall_seconds or 0.0) + fields["wall_seconds"],
                "resumed": resumed,
            },
        )

    @contextlib.contextmanager
    def locked(self, trial_id: str) -> Iterator[None]:
        """Holds a trial for this process; the system lets go when the process dies.

        Raises:
            TrialBusy: another process runs this trial.
            UserError: the runs folder is on a disk without file locks, or cannot be written to.
        """
        folder = self.folder(trial_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(folder / _LOCK))
            except Busy as error:
                raise TrialBusy(
                    f"trial {trial_id} is being run by another process",
                    expected="one process a trial",
                    mend="wait for it, or choose another --runs_dir",
                    where=str(folder),
                ) from error
            yield

    def _attempt(self, trial: Trial, folder: Path, *, fresh_start: bool) -> Attempt:
        for left in folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        goes_on = not (fresh_start or trial.spec.deterministic)
        restart: Restart | None = None
        if not fresh_start and (goes_on or (folder / TRAINED).exists()):
            if (folder / TRAINED).exists() and is_whole_gzip(folder / DETECTIONS):
                note = "has trained to its end, and lacks only its metrics"
                return Attempt(folder, train=False, resumed=True, notes=(note,))
            restart = restart_from(folder)
            if restart.step >= trial.num_steps:
                if not (folder / TRAINED).exists():
                    # Killed between its last checkpoint and this note.
                    write_json(folder / TRAINED, {})
                note = "has trained to its end, and lacks only its evaluation"
                return Attempt(folder, train=False, resumed=True, notes=(note,))
        if restart is None or not goes_on:
            aside = set_aside(folder, keep=_WRITTEN_ANEW)
            why = "it was asked to" if fresh_start else "it is deterministic"
            note = f"starts over, because {why}; an earlier attempt is in {folder / aside}"
            return Attempt(folder, train=True, resumed=False, notes=(note,) if aside else ())
        # These are of an end that the training comes to anew, with other numbers.
        set_aside(folder, only=(TRAINED, DETECTIONS, METRICS))
        return Attempt(
            folder,
            train=True,
            resumed=restart.step > 0,
            from_step=restart.step,
            notes=_notes(restart, folder),
        )

    def _without_state(self, trial_id: str) -> TrialState:
        """Gives the state of a folder that does not say: somebody has removed the file."""
        if (self.folder(trial_id) / "train.log").exists():
            return TrialState("interrupted", "its state.json is gone")
        return TrialState("planned")

    def _problem_of_metrics(self, trial_id: str, digest: str | None) -> str:
        try:
            metrics = self.metrics(trial_id)
        except UserError as error:
            return f"{error.found}; they are made again from its detections"
        if metrics and digest and digest != digest_of(self.folder(trial_id) / METRICS):
            return "its metrics.json was changed; it is made again from its detections"
        return "" if metrics else "its metrics.json is gone; it is made again from its detections"


def _notes(restart: Restart, folder: Path) -> tuple[str, ...]:
    notes = [
        f"checkpoint {fault}; it was moved to {folder / restart.aside}" for fault in restart.faults
    ]
    if restart.step:
        notes.append(f"goes on from step {restart.step}")
    return tuple(notes)
