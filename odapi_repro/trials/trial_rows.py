"""What a study notes of its trials, and each as a row of trials.csv."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from odapi_repro import __version__
from odapi_repro.errors import DamagedFile
from odapi_repro.files.trial_files import FINISHED, Provenance, TrialState
from odapi_repro.trials.store import TrialStore
from odapi_repro.trials.trial import Trial


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
