"""label_noise, train_fraction and duplicate_share: damage as an ablation like any other."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from fake_trials import EFFICIENTDET, MASK_RCNN, fake_executor, plan_of, small_data

from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Setting
from odapi_repro.pipeline import load_pipeline, parse_pipeline, read_recipe, render_recipe
from odapi_repro.trials.trial import Trial

THREE = ("label_noise", "train_fraction", "duplicate_share")
PLACES = [(p, s) for p in (EFFICIENTDET, MASK_RCNN) for s in ("proxy", "full")]


def setting_of(pipeline: Path = EFFICIENTDET, scale: str = "full") -> Setting:
    return plan_of("batch_size", pipeline=pipeline, scale=scale).setting


@pytest.mark.parametrize(("pipeline", "scale"), PLACES)
@pytest.mark.parametrize("name", THREE)
def test_each_begins_with_the_records_as_they_are_and_edits_what_it_owns(
    name: str, pipeline: Path, scale: str
) -> None:
    setting, factor = setting_of(pipeline, scale), FACTORS[name]
    levels = factor.default_levels(setting)
    assert factor.reference_level(setting) == levels[0]
    assert len(levels) >= 3
    for level in levels:
        assert factor.parse_level(level.label, setting) == level
        edited = factor.edit(setting.recipe, level)
        changed = {f for f in vars(edited) if getattr(edited, f) != getattr(setting.recipe, f)}
        assert changed == (set() if level == levels[0] else set(factor.owns))
        # No field of the config says what the records hold.
        assert render_recipe(edited, setting.pipeline).proto == setting.pipeline.proto


@pytest.mark.parametrize("name", THREE)
def test_the_reference_is_the_trial_of_every_other_study(name: str) -> None:
    assert plan_of(name).trials[0].trial_id == plan_of("batch_size").trials[0].trial_id
    assert plan_of(name).trials[0].edited_records is None


def test_each_level_and_seed_is_a_trial_of_its_own_on_records_of_its_own() -> None:
    plan = plan_of("train_fraction", levels={"train_fraction": ["0.5", "25%"]}, seeds=2)
    edited = [trial for trial in plan.trials if trial.edited_records is not None]
    assert len(edited) == 4
    assert len({trial.spec.train_records for trial in edited}) == 4
    assert len({trial.spec.pipeline_text for trial in plan.trials}) == 1
    assert len({trial.spec.eval_records for trial in plan.trials}) == 1
    for trial in edited:
        assert records_read(trial) == [str(p) for p in trial.edited_records.train_files]
    assert [trial.cell["train_fraction"] for trial in edited] == ["0.5", "0.25"] * 2


def records_read(trial: Trial) -> list[str]:
    reader = parse_pipeline(trial.pipeline_text).proto.train_input_reader
    return list(reader.tf_record_input_reader.input_path)


def test_a_fraction_is_taken_of_the_shards_that_are_read() -> None:
    plan = plan_of("train_fraction", levels={"train_fraction": ["0.5"]}, at={"train_shards": "2"})
    edited = plan.trials[-1].edited_records
    assert edited.sources == small_data().train_files[:2]


def test_a_plan_makes_no_records_and_the_trial_that_needs_them_does(tmp_path: Path) -> None:
    plan = plan_of("label_noise", levels={"label_noise": ["dropped:0.5"]})
    trial = plan.trials[-1]
    moved = dataclasses.replace(trial.edited_records, root=tmp_path / "cache")
    assert not moved.folder.exists()
    executor = fake_executor(tmp_path / "runs")
    state = executor.run(dataclasses.replace(trial, edited_records=moved), lambda *_: None)
    assert state.state == "succeeded"
    assert all(path.is_file() for path in moved.train_files)
    noted = json.loads((tmp_path / "runs" / trial.trial_id / "provenance.json").read_text())
    objects = noted["record_edits"]["objects"]
    assert noted["record_edits"]["edits"] == "label_noise=dropped:0.5"
    assert abs(noted["record_edits"]["noisy_objects"] - objects) <= 1


def test_records_that_cannot_be_made_leave_the_trial_interrupted(tmp_path: Path) -> None:
    plan = plan_of("label_noise", levels={"label_noise": ["dropped:0.5"]})
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    edited = dataclasses.replace(plan.trials[-1].edited_records, root=blocked)
    trial = dataclasses.replace(plan.trials[-1], edited_records=edited)
    executor = fake_executor(tmp_path / "runs")
    with pytest.raises(UserError, match="cannot be made"):
        executor.run(trial, lambda *_: None)
    assert executor.store.state(trial.trial_id).state == "interrupted"


def test_shares_are_typed_in_three_ways() -> None:
    setting, factor = setting_of(), FACTORS["train_fraction"]
    assert {factor.parse_level(text, setting).value for text in ("0.2", "20%", "1/5")} == {0.2}


def test_a_third_parses_back_from_its_label() -> None:
    setting, factor = setting_of(), FACTORS["train_fraction"]
    level = factor.parse_level("1/3", setting)
    assert factor.parse_level(level.label, setting) == level


def test_with_one_class_nothing_is_swapped() -> None:
    pipeline = load_pipeline(EFFICIENTDET).edited(
        lambda proto: setattr(proto.model.ssd, "num_classes", 1)
    )
    recipe = read_recipe(pipeline)
    setting, factor = Setting(pipeline, recipe, recipe), FACTORS["label_noise"]
    labels = [level.label for level in factor.default_levels(setting)]
    assert labels == ["none", "shifted:0.2", "dropped:0.2"]
    with pytest.raises(UserError, match="one class"):
        factor.parse_level("swapped:0.5", setting)


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("label_noise", "shfted:0.2", "did you mean 'shifted'?"),
        ("label_noise", "shifted", "KIND:SHARE"),
        ("label_noise", "shifted", "the share is missing"),
        ("label_noise", "shifted", "e.g. shifted:0.2"),
        ("label_noise", "shifted:0", "share of the objects, above 0 to 1"),
        ("label_noise", "absolute:1.2", "share of the images with objects"),
        ("label_noise", "0.2", "none, or KIND:SHARE"),
        ("train_fraction", "0", "above 0 to 1"),
        ("train_fraction", "150%", "above 0 to 1"),
        ("train_fraction", "half", "0.2, 20% or 1/5"),
        ("train_fraction", "nan", "0.2, 20% or 1/5"),
        ("duplicate_share", "1", "0 to below 1"),
        ("duplicate_share", "-0.1", "0 to below 1"),
    ],
)
def test_a_wrong_level_is_refused_with_what_is_expected(name: str, text: str, named: str) -> None:
    with pytest.raises(UserError) as caught:
        FACTORS[name].parse_level(text, setting_of())
    assert text in caught.value.found
    assert named in str(caught.value)
