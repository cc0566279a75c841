"""A trial's identity: everything that decides its outcome, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from fake_trials import EFFICIENTDET, fake_trial, request, small_data, small_records

from odapi_repro.datasets.source import DataFlags, resolve_data
from odapi_repro.errors import StudyMismatch
from odapi_repro.features.ablate.study_plan import StudyData, make_plan
from odapi_repro.files import write_json, write_whole
from odapi_repro.pipeline import load_pipeline
from odapi_repro.trials.trial import Stack, TrialSpec

SPEC = fake_trial().spec
OTHERS = {
    "pipeline_text": "model { ssd { } }",
    "extensions": ("proxy_backbone",),
    "seed": 2,
    "num_replicas": 2,
    "device": "gpu",
    "deterministic": False,
    "train_records": "other",
    "eval_records": "other",
    "label_map": "other",
    "checkpoint": "other",
    "stack": Stack("1", "2", "4"),
}


def test_the_same_spec_has_the_same_id_and_survives_its_json(tmp_path: Path) -> None:
    again = TrialSpec.read(write_whole(tmp_path / "trial.json", SPEC.to_json()), mend="")
    assert again == SPEC
    assert again.trial_id == SPEC.trial_id
    assert len(SPEC.trial_id) == 12
    assert set(SPEC.trial_id) <= set("0123456789abcdef")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(TrialSpec)])
def test_each_field_of_the_spec_decides_the_id(field: str) -> None:
    other = dataclasses.replace(SPEC, **{field: OTHERS[field]})
    assert other.trial_id != SPEC.trial_id


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    fields = json.loads(SPEC.to_json())
    fields["version"] += 1
    path = write_json(tmp_path / "trial.json", fields)
    with pytest.raises(StudyMismatch, match=r"(?s)has format 2.*format 1 or older"):
        TrialSpec.read(path, mend="")


def trial_ids(data: StudyData) -> list[str]:
    plan = make_plan(load_pipeline(EFFICIENTDET), data, request("batch_size"))
    return [trial.trial_id for trial in plan.trials]


def data_in(folder: Path) -> StudyData:
    return StudyData.of(resolve_data(DataFlags(str(folder))))


def test_records_moved_to_another_folder_keep_the_ids(tmp_path: Path) -> None:
    shutil.copytree(small_records().folder, tmp_path / "moved")
    moved = data_in(tmp_path / "moved")
    assert trial_ids(moved) == trial_ids(small_data())


def test_a_config_moved_or_reformatted_keeps_the_ids(tmp_path: Path) -> None:
    other = tmp_path / "other.config"
    other.write_text("# mine\n" + load_pipeline(EFFICIENTDET).to_text())
    moved = make_plan(load_pipeline(other), small_data(), request("batch_size"))
    assert [trial.trial_id for trial in moved.trials] == trial_ids(small_data())


def test_fewer_shards_are_other_trials(tmp_path: Path) -> None:
    shutil.copytree(small_records().folder, tmp_path / "fewer")
    for path in (tmp_path / "fewer").glob("train-0000[1-9]*"):
        path.unlink()
    made = tmp_path / "fewer"
    flags = DataFlags(
        train_records=str(made / "train-00000-of-00004.tfrecord"),
        eval_records=str(made / "val-*.tfrecord"),
        label_map=str(made / "label_map.pbtxt"),
    )
    fewer = StudyData.of(resolve_data(flags))
    assert not set(trial_ids(fewer)) & set(trial_ids(small_data()))


def test_the_spec_holds_no_path_of_this_machine_and_the_config_to_train_with_does() -> None:
    plan = make_plan(load_pipeline(EFFICIENTDET), small_data(), request("batch_size"))
    folder = str(small_records().folder)
    for trial in plan.trials:
        assert folder not in trial.spec.to_json()
        assert folder in trial.pipeline_text
