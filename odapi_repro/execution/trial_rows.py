"""A trial's folder as a row of trials.csv."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odapi_repro import __version__
from odapi_repro.execution.store import TrialStore

__all__ = ["trial_row"]


def trial_row(
    store: TrialStore,
    trial_id: str,
    trial: Mapping[str, Any],
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
        trial: what the study notes of it (`study_runner.described`).
        cell: factor -> label, for every factor of the study.
        foundation: field -> value of what the study's trials share.
        study, pipeline: their names.
    """
    state = store.state(trial_id)
    # Metrics count only once the trial is settled; a kill may leave them behind.
    metrics = store.read_json(trial_id, "metrics.json") if state.state == "succeeded" else {}
    provenance = store.read_json(trial_id, "provenance.json")
    timings = provenance.get("timings", {})
    images = trial["num_steps"] * trial["global_batch_size"]
    train_records = trial.get("train_records", foundation["train_records"])
    # Of a resumed training only the last attempt was timed.
    train_seconds = None if provenance.get("resumed") else timings.get("train_seconds")
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
        **metrics.get("metrics", {}),
        "final_loss": provenance.get("final_loss"),
        "wall_seconds": provenance.get("wall_seconds"),
        "train_seconds": train_seconds,
        "eval_seconds": timings.get("eval_seconds"),
        "images_per_second": images / train_seconds if train_seconds else None,
        "device": foundation["device"],
        "num_eval_images": metrics.get("num_images"),
        "tensorflow": foundation["stack.tensorflow"],
        "odapi_repro": __version__,
        "deterministic": foundation["deterministic"],
        "train_records": train_records[:16],
        "eval_records": foundation["eval_records"][:16],
        "message": state.message.splitlines()[0] if state.message else "",
    }
