"""A hold really trained: from the weights of another trial, and from a step 0 of its own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from odapi_repro.datasets.embedded import embedded_dataset
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.source import DataFlags, resolve_data
from odapi_repro.diagnosis.finished_run import CheckpointIndex, read_index
from odapi_repro.evaluation.checkpoint import find_checkpoint
from odapi_repro.features.sanity.sanity_trainings import SanityTrainings
from odapi_repro.pipeline import load_pipeline
from odapi_repro.trials.executors.local_executor import LocalExecutor, Runtime
from odapi_repro.trials.groundwork import StudyData, TrialConditions
from odapi_repro.trials.trial_store import TrialStore

pytestmark = pytest.mark.training

SPEC = ShapesSpec(train_images=12, val_images=4, train_shards=1, val_shards=1)
STEP = "_training_step"
CONDITIONS = TrialConditions(
    scale="smoke",
    num_steps=None,
    num_replicas=1,
    device="cpu",
    deterministic=True,
    checkpoint=None,
    sample_1_of_n_eval_examples=1,
)


def data(folder: Path) -> StudyData:
    made = embedded_dataset(folder, spec=SPEC)
    return StudyData.of(resolve_data(DataFlags(str(made.folder))))


def weights(index: CheckpointIndex) -> dict[str, int]:
    """Variable of the model -> checksum of its values."""
    return {
        name: variable.checksum
        for name, variable in index.variables.items()
        if name.startswith("model/") and "OPTIMIZER_SLOT" not in name and STEP not in name
    }


def test_a_hold_begins_with_the_weights_of_its_checkpoint_and_with_step_0(tmp_path: Path) -> None:
    """The OD API's own restoring would go on with the checkpoint's step, and so with its rate."""
    store = TrialStore(tmp_path / "runs")
    trainings = SanityTrainings(load_pipeline("pipelines/effdet_d3.config"), CONDITIONS, {})
    records = data(tmp_path / "shapes")
    runtime = Runtime(steps_per_iteration=1, checkpoint_every_n=4, checkpoint_max_to_keep=5)
    executor = LocalExecutor(store, runtime)

    reference = trainings.reference(records).trial
    assert executor.run(reference, lambda *_: None).state == "succeeded"
    source = find_checkpoint(store.folder(reference.trial_id))
    assert source.step == 4

    hold = trainings.hold(records, source.prefix)
    assert executor.run(hold.trial, lambda *_: None).state == "succeeded"
    folder = store.folder(hold.trial.trial_id)
    before, first = weights(read_index(source.prefix)), weights(read_index(folder / "ckpt-1"))
    assert len(first) > 100
    assert first == before
    assert read_index(folder / "ckpt-1").scalar(f"model/{STEP}/.ATTRIBUTES/VARIABLE_VALUE") == 0
    with open(folder / "losses.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == pytest.approx([hold.peak_rate] * 4, rel=1e-6)
