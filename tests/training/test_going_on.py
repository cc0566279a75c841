"""A real training that ended by an exception goes on from its newest whole checkpoint."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from test_real_training import RUNTIME, data, make_trial, run

from odapi_repro.diagnosis.finished_run import list_checkpoints
from odapi_repro.features.ablate.study_plan import StudyData
from odapi_repro.trials.trial_store import TrialState, TrialStore

__all__ = ["data"]

pytestmark = pytest.mark.training
STEPS = 50


def test_a_failed_training_goes_on_and_ends_as_one_that_did_not_fail(
    data: StudyData,
    tmp_path: Path,
) -> None:
    trial = make_trial(data, "effdet_d3", steps=STEPS, deterministic=False)
    # Blocks of 10; the last interval is a short one.
    runtime = dataclasses.replace(RUNTIME, checkpoint_every_n=20, checkpoint_max_to_keep=5)
    state, folder, _ = run(trial, tmp_path, runtime=runtime)
    assert state == TrialState("succeeded", step=STEPS)
    assert [one.step for one in list_checkpoints(folder, [])] == [0, 20, 40, STEPS]

    # As a device that was lost while the last checkpoint was written would leave it.
    store = TrialStore(tmp_path)
    last = max(list_checkpoints(folder, []), key=lambda one: one.number)
    with open(f"{last.prefix}.data-00000-of-00001", "r+b") as file:
        file.seek(10_000)
        file.write(b"\0" * 512)
    for name in ("trained.json", "metrics.json", "detections.json.gz"):
        (folder / name).unlink()
    store.set_state(trial.trial_id, TrialState("failed", "device lost", STEPS, "error"))
    log = (folder / "train.log").read_bytes()

    state, _, events = run(trial, tmp_path, runtime=runtime)
    assert state == TrialState("succeeded", step=STEPS)
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert len(notes) == 2
    assert last.prefix.name in notes[0]
    assert notes[1] == "goes on from step 40"
    assert [event["step"] for event in events if event["event"] == "step"] == [STEPS]
    assert [one.step for one in list_checkpoints(folder, [])] == [0, 20, 40, STEPS]
    assert list((folder / "earlier-1").glob(f"{last.prefix.name}.*"))
    assert (folder / "train.log").read_bytes().startswith(log)
    rows = (folder / "losses.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", *map(str, (10, 20, 30, 40, 50, 50))]

    # Metrics that were lost come from the kept detections, without the model.
    metrics = (folder / "metrics.json").read_bytes()
    (folder / "metrics.json").write_bytes(b"")
    assert store.state(trial.trial_id).state == "interrupted"
    state, _, events = run(trial, tmp_path, runtime=runtime)
    assert state.state == "succeeded"
    assert not any(event["event"] == "imported" for event in events)
    assert (folder / "metrics.json").read_bytes() == metrics

    # Killed between its last checkpoint and the note that it is trained: there is no step left.
    for name in ("trained.json", "metrics.json", "detections.json.gz"):
        (folder / name).unlink()
    store.set_state(trial.trial_id, TrialState("interrupted"))
    state, _, events = run(trial, tmp_path, runtime=runtime)
    assert state == TrialState("succeeded", step=STEPS)
    assert not any(event["event"] == "step" for event in events)
    assert [one.step for one in list_checkpoints(folder, [])] == [0, 20, 40, STEPS]
    again = json.loads((folder / "metrics.json").read_text())
    assert again["metrics"] == pytest.approx(json.loads(metrics)["metrics"], abs=1e-3)
