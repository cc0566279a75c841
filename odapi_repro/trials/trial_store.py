"""The trial store: one folder a trial, shared by every study that needs it.

Nothing here deletes: what a new attempt cannot use is moved into a folder beside it, and a user who
wants the room removes that.

`runs/<trial_id>/` holds `trial.json` (the spec), `pipeline.config`, `state.json`,
`provenance.json`, `metrics.json`, `losses.csv`, `detections.json.gz`, `train.log`, and checkpoints
and events as the OD API writes them. A file is replaced whole, so a kill at any moment leaves the
old one or the new one; whoever runs a trial holds a lock on its folder that dies with it. What a
damaged file held is never guessed: the file is named, with what to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import os
import re
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from odapi_repro.diagnosis.finished_run import (
    CheckpointOnDisk,
    checkpoint_fault,
    list_checkpoints,
    write_checkpoint_state,
)
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
from odapi_repro.trials.child_process import SCRATCH
from odapi_repro.trials.trial import Trial, TrialSpec

# --- What becomes of what an earlier attempt at a trial has left: it goes on, or is set aside ---


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


# --- The trial store: one folder a trial, shared by every study that needs it ---


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
