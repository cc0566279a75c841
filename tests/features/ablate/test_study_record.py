"""A study that grows, is refused, is left alone where it failed, and survives kills."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_trials import MASK_RCNN, fake_executor, plan_of, run_trials

from odapi_repro.errors import StudyMismatch
from odapi_repro.features.ablate.study_plan import Plan
from odapi_repro.features.ablate.study_record import STUDY_FILE, StudyRecord
from odapi_repro.files import write_json
from odapi_repro.trials.trial_loop import missing_trials
from odapi_repro.trials.trial_store import TrialState, TrialStore


def ignore(*_: object) -> None: ...


def grown(first: Plan, second: Plan) -> StudyRecord:
    return StudyRecord.of(first).grown_by(StudyRecord.of(second), "mine")


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    record = StudyRecord.of(plan_of("batch_size", "warmup"))
    STUDY_FILE.write(tmp_path / "mine", vars(record))
    assert StudyRecord.read(tmp_path / "mine") == record
    assert StudyRecord.read(tmp_path / "another") is None


@pytest.mark.parametrize(
    ("text", "message"), [('{"version": 99}', "format 99"), ('{"vers', "cannot be read")]
)
def test_a_record_that_is_newer_or_damaged_is_refused(tmp_path, text: str, message: str) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(StudyMismatch, match=message):
        StudyRecord.read(tmp_path)


def test_the_same_command_again_has_nothing_to_run(tmp_path: Path) -> None:
    plan, executor = plan_of("batch_size", seeds=2), fake_executor(tmp_path)
    assert missing_trials(plan.trials, executor.store, retry_failed=False) == list(plan.trials)
    run_trials(plan.trials, executor.store, executor, ignore)
    again = plan_of("batch_size", seeds=2)
    assert missing_trials(again.trials, executor.store, retry_failed=True) == []


@pytest.mark.parametrize(
    "larger",
    [
        {"seeds": 2},
        {"levels": {"batch_size": ["3"]}},
        {"levels": {"batch_size": ["2x"]}, "seeds": 3},
    ],
)
def test_a_study_grows_by_seeds_and_levels_and_keeps_what_it_had(larger: dict) -> None:
    first, second = plan_of("batch_size"), plan_of("batch_size", **larger)
    record = grown(first, second)
    ids = {trial.trial_id for trial in (*first.trials, *second.trials)}
    assert set(record.trials) == ids
    assert len(ids) > len(first.trials)
    assert record.axes["batch_size"]["levels"][0] == first.axes[0].reference_level


def test_a_study_grows_by_factors_and_shares_the_reference_cell() -> None:
    first, second = plan_of("batch_size"), plan_of("batch_size", "lr_scaling", "warmup")
    record = grown(first, second)
    assert list(record.axes) == ["batch_size", "lr_scaling", "warmup"]
    assert {trial.trial_id for trial in first.trials} <= {t.trial_id for t in second.trials}
    assert set(record.trials) == {trial.trial_id for trial in second.trials}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"pipeline": MASK_RCNN}, "pipeline.model"),
        ({"num_steps": 60}, "pipeline.train_config.num_steps"),
        ({"num_replicas": 2}, "num_replicas"),
        ({"deterministic": False}, "deterministic"),
        ({"scale": "smoke"}, "scale"),
    ],
)
def test_a_study_of_something_else_is_refused_and_the_fields_are_named(
    changed: dict, field: str
) -> None:
    with pytest.raises(StudyMismatch, match="study 'mine' exists") as caught:
        grown(plan_of("batch_size"), plan_of("batch_size", **changed))
    assert field in caught.value.found
    assert "--name" in caught.value.mend


def test_a_study_on_other_records_is_refused() -> None:
    one = StudyRecord.of(plan_of("batch_size"))
    other = StudyRecord(
        {**one.foundation, "train_records": "others"}, one.axes, one.trials, one.design
    )
    with pytest.raises(StudyMismatch, match=r"train_records: '.*' there, 'others' now"):
        one.grown_by(other, "mine")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("lr_scaling", {"batch_size": "1/4"}), ("lr_scaling", {"batch_size": "1/2"})),
        (("batch_size", {}), ("batch_size", {"lr_scaling": "linear"})),
        (("batch_size", {"lr_scaling": "linear"}), ("batch_size", {})),
    ],
)
def test_a_factor_cannot_be_held_elsewhere_in_the_same_study(first, second) -> None:
    one, other = (plan_of(name, at=at) for name, at in (first, second))
    with pytest.raises(StudyMismatch, match=r"held\.\w+\.\w+"):
        grown(one, other)


def test_what_is_held_for_one_factor_does_not_keep_another_from_being_added() -> None:
    record = grown(
        plan_of("batch_size", at={"lr_scaling": "linear"}),
        plan_of("warmup", at={"augmentation": "none"}),
    )
    assert record.axes["batch_size"]["at"] == {"lr_scaling": "linear"}
    assert record.axes["warmup"]["at"] == {"augmentation": "none"}


def test_a_grid_grows_by_a_factor_that_was_held_before() -> None:
    record = grown(
        plan_of("lr_scaling", design="grid"), plan_of("lr_scaling", "batch_size", design="grid")
    )
    assert set(record.axes) == {"lr_scaling", "batch_size"}


def test_only_missing_trials_run_and_failed_ones_wait_for_retry(tmp_path: Path) -> None:
    trials = plan_of("batch_size", seeds=2).trials
    store = TrialStore(tmp_path)
    states = ("succeeded", "diverged", "failed", "interrupted", "running")
    for trial, state in zip(trials, states, strict=False):
        folder = store.prepare(trial).folder
        write_json(folder / "metrics.json", {"metrics": {"AP": 1.0}, "num_images": 6})
        store.set_state(trial.trial_id, TrialState(state))
    assert missing_trials(trials, store, retry_failed=False) == list(trials[3:])
    assert missing_trials(trials, store, retry_failed=True) == list(trials[2:])


def test_a_trial_that_fails_does_not_keep_the_next_from_running(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"1": "fail", "2": "diverge"}))
    trials = plan_of("batch_size", levels={"batch_size": ["1x"]}, seeds=3).trials
    executor, ended = fake_executor(tmp_path), []

    def on_event(_trial: object, event: dict) -> None:
        if event["event"] == "trial_ended":
            ended.append(event["state"])

    run_trials(trials, executor.store, executor, on_event)
    assert ended == ["failed", "diverged", "succeeded"]
