"""From trials on disk to the rows of trials.csv."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_trials import fake_executor, plan_of, run_trials

from odapi_repro.analysis.trial_table import BOX_METRICS, check_trials
from odapi_repro.features.ablate.study_record import StudyRecord
from odapi_repro.features.ablate.study_report import assemble_report, trial_rows
from odapi_repro.files import write_json
from odapi_repro.trials.trial_store import TrialState, TrialStore


def ignore(*_: object) -> None: ...


def test_a_row_holds_what_the_trial_measured_and_what_it_was_made_of(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"2": "diverge", "3": "fail"}))
    plan = plan_of("batch_size", levels={"batch_size": ["1x"]}, seeds=4)
    executor = fake_executor(tmp_path)
    run_trials(plan.trials[:3], executor.store, executor, ignore)
    record = StudyRecord.of(plan)
    good, diverged, failed, planned = trial_rows(record, plan, executor.store, "mine")
    batch = plan.setting.recipe.global_batch_size
    assert good["AP"] == pytest.approx(20 + batch / 10 + 0.01)
    assert good["APs"] is None
    assert (good["trial_id"], good["seed"]) == (plan.trials[0].trial_id, 1)
    assert good["images_seen"] == plan.setting.recipe.images_seen
    assert good["final_loss"] == pytest.approx(batch / 10 + 1 / 4)
    statuses = [row["status"] for row in (good, diverged, failed, planned)]
    assert statuses == ["succeeded", "diverged", "failed", "planned"]
    assert "AP" not in diverged
    assert diverged["message"] == f"loss nan at step 3 of {plan.setting.recipe.num_steps}"
    assert failed["message"] == "ValueError:"
    report = assemble_report(record, plan, executor.store, study="mine", command="the command")
    assert [name for name in BOX_METRICS if name in report.table.columns] == list(BOX_METRICS)
    assert len(report.table) == 4
    curve = report.loss_curves[plan.trials[0].trial_id]
    assert [(point[0], point[1]) for point in curve] == [(s, s * batch) for s in range(1, 5)]
    assert report.loss_curves[plan.trials[3].trial_id] == []


def test_metrics_that_a_kill_left_behind_do_not_count(tmp_path: Path) -> None:
    plan = plan_of("batch_size", levels={"batch_size": ["1x"]})
    store, (trial,) = TrialStore(tmp_path), plan.trials
    store.prepare(trial)
    path = store.folder(trial.trial_id) / "metrics.json"
    write_json(path, {"metrics": {"AP": 99.0}, "num_images": 6})
    store.set_state(trial.trial_id, TrialState("running"))
    (row,) = trial_rows(StudyRecord.of(plan), plan, store, "mine")
    assert row["status"] == "interrupted"
    assert "AP" not in row


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"factors": ["batch_size"]}, {"factors": ["warmup"], "at": {"augmentation": "none"}}),
        ({"factors": ["batch_size"]}, {"factors": ["batch_size", "lr_scaling"]}),
        (
            {"factors": ["batch_size"]},
            {"factors": ["warmup"], "at": {"augmentation": "none"}, "design": "grid"},
        ),
        ({"factors": ["lr_scaling"]}, {"factors": ["lr_scaling", "batch_size"], "design": "grid"}),
    ],
)
def test_every_trial_of_a_study_that_grew_stands_at_a_level_of_every_factor(
    tmp_path, first: dict, second: dict
) -> None:
    plans = [
        plan_of(*made["factors"], **{k: v for k, v in made.items() if k != "factors"})
        for made in (first, second)
    ]
    record = StudyRecord.of(plans[0]).grown_by(StudyRecord.of(plans[1]), "mine")
    store = TrialStore(tmp_path)
    report = assemble_report(record, plans[1], store, study="mine", command="the command")
    names = [axis.name for axis in report.axes]
    check_trials(report.trials, names)
    for axis in report.axes:
        assert "" not in axis.levels
        assert set(report.trials[axis.name]) <= set(axis.levels)
        assert report.trials[axis.name].notna().all()
        labels = {label for plan in plans for ax in plan.axes for label in ax.levels}
        assert axis.reference_level in labels | {"reference"}


def test_the_reader_is_warned_of_what_the_numbers_cannot_say(tmp_path: Path) -> None:
    plan = plan_of("batch_size", deterministic=False)
    record, store = StudyRecord.of(plan), TrialStore(tmp_path)
    report = assemble_report(record, plan, store, study="mine", command="the command")
    text = " ".join(report.caveats)
    assert "6 evaluation images" in text
    assert "not deterministic" in text
    assert "random weights" in text


def test_one_damaged_file_does_not_cost_the_table(tmp_path: Path) -> None:
    plan = plan_of("batch_size")
    executor = fake_executor(tmp_path)
    run_trials(plan.trials, executor.store, executor, ignore)
    first, second, _ = plan.trials
    path = executor.store.folder(first.trial_id) / "provenance.json"
    path.write_text(path.read_text() + " ")
    (executor.store.folder(second.trial_id) / "state.json").write_text("[]")
    rows = trial_rows(StudyRecord.of(plan), plan, executor.store, "mine")
    assert [row["status"] for row in rows] == ["succeeded", "interrupted", "succeeded"]
    assert "provenance.json" in rows[0]["message"]
    assert rows[0]["wall_seconds"] is None
    assert "state.json" in rows[1]["message"]
    assert rows[2]["message"] == ""
