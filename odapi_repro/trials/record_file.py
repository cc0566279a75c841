"""The records by which folders of results are known, and the rows of their trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, NotRequired, TypedDict, TypeVar

from odapi_repro import __version__
from odapi_repro.errors import DamagedFile, StudyMismatch, UserError
from odapi_repro.files import cannot_write, read_record, record_text, write_whole
from odapi_repro.files.trial_files import FINISHED, Provenance, TrialState
from odapi_repro.page.results_folder import README
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_store import TrialStore

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


# --- The records by which folders of results are known: what a study is made of ---


_KINDS: Final = {
    "study.json": "a study of factors (run)",
    "sweep.json": "a study of factors without training (run --checkpoint)",
    "sanity.json": "a sanity run (run --sanity)",
    "explanation.json": "an explanation (explain)",
    "evaluation.json": "an evaluation (evaluate)",
}
_MOST_SHOWN: Final = 6


_RecordT = TypeVar("_RecordT", bound="DataclassInstance")


@dataclass(frozen=True)
class _MadeOf:
    """What of a record decides whether a study may go on."""

    foundation: Mapping[str, Any]


@dataclass(frozen=True)
class RecordFile(Generic[_RecordT]):
    """The file of one kind of record.

    Attributes:
        name: of the file; one of those by which a folder is known.
        kind: the dataclass that it holds.
        version: of its format.
        mend: what a user can do about a damaged one.
        partly: it holds more than `kind` does.
    """

    name: str
    kind: type[_RecordT]
    version: int
    mend: str
    partly: bool = False

    def read(self, folder: Path) -> _RecordT:
        """Reads the record of a folder.

        Raises:
            FileNotFoundError: there is none.
            DamagedFile: it is not as it was written, or of a newer format.
        """
        path, kind = folder / self.name, self.kind
        return read_record(path, kind, version=self.version, mend=self.mend, partly=self.partly)

    def text(self, fields: Mapping[str, Any]) -> bytes:
        """Gives the content of the file."""
        return record_text(fields, version=self.version).encode()

    def write(self, folder: Path, fields: Mapping[str, Any]) -> None:
        """Writes the record, atomically; the folder is made if need be."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        write_whole(folder / self.name, self.text(fields))

    def check_kind(self, folder: Path) -> None:
        """Refuses a folder that holds another kind of result.

        Raises:
            UserError: names what it holds.
        """
        check_result_kind(folder, self.name)

    def check_same(self, folder: Path, foundation: Mapping[str, Any]) -> None:
        """Refuses to go on with a folder whose trials were made of something else.

        Raises:
            StudyMismatch: names the fields that differ.
            DamagedFile: its record cannot be read.
        """
        path = folder / self.name
        try:
            made = read_record(path, _MadeOf, version=self.version, mend=self.mend, partly=True)
        except FileNotFoundError:
            return
        check_same_foundation(folder.name, made.foundation, foundation)


def check_result_kind(folder: Path, record: str) -> None:
    """Refuses to write one kind of result over another.

    Args:
        folder: in results/.
        record: name of the file that the result about to be written is known by.

    Raises:
        UserError: names what the folder holds.
    """
    for name, kind in _KINDS.items():
        if name != record and (folder / name).exists():
            raise _of_another_kind(folder, kind)


def check_no_other_result(folder: Path, record: str) -> None:
    """Refuses as `check_result_kind`, and a README.md without the record, too.

    Raises:
        UserError: names what the folder holds.
    """
    check_result_kind(folder, record)
    if (folder / README).exists() and not (folder / record).exists():
        raise _of_another_kind(folder, f"a {README} without {record}")


def _of_another_kind(folder: Path, held: str) -> UserError:
    return UserError(
        f"this folder holds {held}",
        expected="a new name, or that of an earlier result of the same kind",
        mend="choose another --name",
        where=str(folder),
    )


def check_same_foundation(study: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Refuses to let a study grow by trials that are made of something else.

    Args:
        study: its name.
        mine: field -> value as the study has it.
        theirs: as it would be now.

    Raises:
        StudyMismatch: names the fields that differ.
    """
    differing = [n for n in {**mine, **theirs} if mine.get(n) != theirs.get(n)]
    if not differing:
        return
    told = [f"{n}: {mine.get(n)!r} there, {theirs.get(n)!r} now" for n in differing[:_MOST_SHOWN]]
    if len(differing) > _MOST_SHOWN:
        told.append(f"and {len(differing) - _MOST_SHOWN} more fields")
    raise StudyMismatch(
        f"study '{study}' exists, and its trials were made of something else:\n    "
        + "\n    ".join(told),
        expected="the same pipeline, checkpoints, records and held constants in one study",
        mend="give this one another --name, or undo the change",
    )


# --- What a study notes of its trials, and each as a row of trials.csv ---


class TrialEntry(TypedDict):
    """What a study notes of a trial, beside what its folder holds."""

    cell: dict[str, str]
    seed: int
    num_steps: int
    global_batch_size: int
    num_replicas: int
    base_lr: float
    train_records: NotRequired[str]


def described(trial: Trial, *, train_records: str) -> TrialEntry:
    """Gives what a study notes of a trial, beside what its folder holds.

    Args:
        trial: any of the study's.
        train_records: digest of the study's training records; noted where a trial reads others.
    """
    own = trial.spec.train_records
    entry: TrialEntry = {
        "cell": dict(trial.cell),
        "seed": trial.spec.seed,
        "num_steps": trial.num_steps,
        "global_batch_size": trial.global_batch_size,
        "num_replicas": trial.spec.num_replicas,
        "base_lr": trial.base_lr,
    }
    if own != train_records:
        entry["train_records"] = own
    return entry


def trial_row(
    store: TrialStore,
    trial_id: str,
    trial: TrialEntry,
    *,
    cell: Mapping[str, str],
    foundation: Mapping[str, Any],
    study: str,
    pipeline: str,
) -> dict[str, Any]:
    """Gives the row of a trial as it stands now, in the columns of `analysis.trials`.

    Args:
        store: of all trials.
        trial_id: which.
        trial: what the study notes of it (`described`).
        cell: factor -> label, for every factor of the study.
        foundation: field -> value of what the study's trials share.
        study, pipeline: their names.
    """
    try:
        state = store.state(trial_id)
    except DamagedFile as error:
        state = TrialState("interrupted", error.found)
    # Metrics count only once the trial is settled; a kill may leave them behind.
    scored = store.metrics(trial_id) if state.state == "succeeded" else None
    message = state.message.splitlines()[0] if state.message else ""
    took = None
    try:
        took = store.checked_provenance(trial_id)
        if took is None and state.state in FINISHED:
            message = message or "provenance.json is gone: what it took and its loss are not known"
        message = message or store.changed_losses(trial_id)
    except DamagedFile as error:
        # The table says what there is, whatever has become of one file.
        message = message or error.found
    took = took or Provenance()
    images = trial["num_steps"] * trial["global_batch_size"]
    train_records = trial.get("train_records", foundation["train_records"])
    # Of a resumed training only the last attempt was timed.
    train_seconds = None if took.resumed else took.timings.get("train_seconds")
    return {
        "trial_id": trial_id,
        "study": study,
        "pipeline": pipeline,
        "scale": foundation["scale"],
        "seed": trial["seed"],
        "status": state.state,
        **cell,
        "global_batch_size": trial["global_batch_size"],
        "num_replicas": trial["num_replicas"],
        "num_steps": trial["num_steps"],
        "images_seen": images,
        "base_lr": trial["base_lr"],
        **(scored.metrics if scored else {}),
        "final_loss": took.final_loss,
        "wall_seconds": took.wall_seconds,
        "train_seconds": train_seconds,
        "eval_seconds": took.timings.get("eval_seconds"),
        "images_per_second": images / train_seconds if train_seconds else None,
        "device": foundation["device"],
        "num_eval_images": scored.num_images if scored else None,
        "tensorflow": foundation["stack.tensorflow"],
        "odapi_repro": __version__,
        "deterministic": foundation["deterministic"],
        "train_records": train_records[:16],
        "eval_records": foundation["eval_records"][:16],
        "message": message,
    }
