"""What a study notes of its trials, whether they are of one foundation, and which are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from odapi_repro.errors import StudyMismatch
from odapi_repro.trials.store import FINISHED, TrialStore
from odapi_repro.trials.trial import Trial

__all__ = ["TrialEntry", "check_same_foundation", "described", "missing_trials"]


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
    shown = [f"{n}: {mine.get(n)!r} there, {theirs.get(n)!r} now" for n in differing[:6]]
    if len(differing) > 6:
        shown.append(f"and {len(differing) - 6} more fields")
    raise StudyMismatch(
        f"study '{study}' exists, and its trials were made of something else:\n    "
        + "\n    ".join(shown),
        expected="the same pipeline, records and held constants in one study",
        mend="give this one another --name, or undo the change",
    )


def missing_trials(
    trials: Sequence[Trial], store: TrialStore, *, retry_failed: bool
) -> list[Trial]:
    """Gives the trials that have to run: not finished, and not failed unless they are retried."""
    settled = FINISHED if retry_failed else FINISHED | {"failed"}
    return [trial for trial in trials if store.state(trial.trial_id).state not in settled]
