"""A trial notes where its records come from, down to the json that they were converted from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from fake_trials import EFFICIENTDET, fake_executor, request, small_records

from odapi_repro.datasets.conversion.manifest import (
    DatasetManifest,
    SplitManifest,
    write_manifest,
)
from odapi_repro.datasets.source import DataFlags, resolve_data
from odapi_repro.features.ablate.study_plan import make_plan
from odapi_repro.pipeline import load_pipeline
from odapi_repro.trials.groundwork import StudyData, data_provenance


def copied(folder: Path) -> StudyData:
    shutil.copytree(small_records().folder, folder)
    return data_in(folder)


def data_in(folder: Path) -> StudyData:
    return StudyData.of(resolve_data(DataFlags(str(folder))))


def write_manifest_of(data: StudyData, folder: Path) -> None:
    split = SplitManifest(
        name="train",
        identity="i",
        annotations_name="instances_train.json",
        annotations_sha256="abc",
        flags={"subset": 0.01},
        images={"in_json": 1200, "written": 12},
        annotations={"in_json": 50, "kept": 49, "zero_area": 1},
        objects={},
        per_class={1: 49},
        per_size={"small": 49},
        subset={},
        has_masks=True,
        keypoints=(),
        files=data.train.files,
        digest=data.train.digest,
    )
    write_manifest(DatasetManifest("l", 6, {"odapi_repro": "0"}, {"train": split}), folder)


def test_records_of_unknown_origin_have_their_digests_and_counts(tmp_path: Path) -> None:
    data = copied(tmp_path / "set")
    found = data_provenance(data)
    assert found["train"] == {"digest": data.train.digest, "files": 4, "examples": 12}
    assert found["eval"]["examples"] == 6


def test_converted_records_carry_what_their_manifest_says(tmp_path: Path) -> None:
    data = copied(tmp_path / "set")
    write_manifest_of(data, tmp_path / "set")
    found = data_provenance(data)
    conversion = found["train"]["conversion"]
    assert conversion["annotations_sha256"] == "abc"
    assert conversion["objects"] == {"in_json": 50, "kept": 49, "zero_area": 1}
    assert (conversion["files_of"], conversion["changed"]) == (4, [])
    assert "conversion" not in found["eval"]


def test_one_shard_of_four_says_of_how_many(tmp_path: Path) -> None:
    data = copied(tmp_path / "set")
    write_manifest_of(data, tmp_path / "set")
    found = data_provenance(data.reading(1))["train"]
    assert (found["files"], found["conversion"]["files_of"]) == (1, 4)


def test_a_file_that_is_not_the_manifests_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_manifest_of(copied(folder), folder)
    names = sorted(path.name for path in folder.glob("train-*"))
    shutil.copy(folder / names[1], folder / names[0])
    assert data_provenance(data_in(folder))["train"]["conversion"]["changed"] == [names[0]]


def test_a_trial_notes_it_without_becoming_another_trial(tmp_path: Path) -> None:
    data = copied(tmp_path / "set")
    pipeline = load_pipeline(EFFICIENTDET)
    before = make_plan(pipeline, data, request("batch_size")).trials[0]
    write_manifest_of(data, tmp_path / "set")
    trial = make_plan(pipeline, data_in(tmp_path / "set"), request("batch_size")).trials[0]
    assert trial.trial_id == before.trial_id
    executor = fake_executor(tmp_path / "runs")
    executor.run(trial, lambda *_: None)
    noted = json.loads((tmp_path / "runs" / trial.trial_id / "provenance.json").read_text())
    assert noted["data"]["train"]["conversion"]["annotations"] == "instances_train.json"
