"""The trial store: states survive kills, and what it cannot read it refuses."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from pathlib import Path

import pytest
from fake_trials import fake_trial

from odapi_repro.errors import EnvironmentMissing, StudyMismatch, UserError
from odapi_repro.execution import store as store_module
from odapi_repro.execution.store import TrialState, TrialStore
from odapi_repro.study.trial import TrialSpec

TRIAL = fake_trial()


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    store = TrialStore(tmp_path / "runs")
    store.prepare(TRIAL)
    return store


def test_a_trial_nobody_has_prepared_is_planned_and_makes_no_folder(tmp_path: Path) -> None:
    store = TrialStore(tmp_path / "runs")
    assert store.state("0" * 12) == TrialState("planned")
    assert not (tmp_path / "runs").exists()


def test_a_state_reads_back_as_it_was_set(store: TrialStore) -> None:
    state = TrialState("failed", "two\nlines", step=7, kind="out_of_memory")
    store.set_state(TRIAL.trial_id, state)
    assert store.state(TRIAL.trial_id) == state


def test_a_state_that_could_not_be_replaced_is_still_the_old_one(store, monkeypatch) -> None:
    store.set_state(TRIAL.trial_id, TrialState("succeeded"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "fsync", full)
    with pytest.raises(EnvironmentMissing, match="no space left"):
        store.set_state(TRIAL.trial_id, TrialState("failed"))
    assert store.state(TRIAL.trial_id).state == "succeeded"
    assert not list(store.folder(TRIAL.trial_id).glob("*.tmp"))
    assert not list(store.folder(TRIAL.trial_id).glob(".*.tmp"))


def test_running_without_anybody_who_holds_it_is_interrupted(store: TrialStore) -> None:
    with store.locked(TRIAL.trial_id):
        store.set_state(TRIAL.trial_id, TrialState("running"))
        assert store.state(TRIAL.trial_id).state == "running"
    assert store.state(TRIAL.trial_id).state == "interrupted"


def test_a_state_file_that_was_cut_short_is_an_interrupted_trial(store: TrialStore) -> None:
    (store.folder(TRIAL.trial_id) / "state.json").write_text('{"version": 1, "sta')
    assert store.state(TRIAL.trial_id).state == "interrupted"


def test_a_newer_format_is_refused_with_both_numbers(store: TrialStore) -> None:
    written = json.dumps({"version": 2, "state": "succeeded", "moons": 3})
    (store.folder(TRIAL.trial_id) / "state.json").write_text(written)
    with pytest.raises(StudyMismatch, match="format 2") as caught:
        store.state(TRIAL.trial_id)
    assert "format 1 or older" in str(caught.value)
    assert "state.json" in caught.value.where


def _hold(runs_dir: Path, held: multiprocessing.Event, done: multiprocessing.Event) -> None:
    with TrialStore(runs_dir).locked(TRIAL.trial_id):
        held.set()
        done.wait(30)


def test_a_trial_that_another_process_runs_is_refused(store: TrialStore) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(store.runs_dir, held, done))
    other.start()
    try:
        assert held.wait(30)
        with (
            pytest.raises(UserError, match="being run by another process"),
            store.locked(TRIAL.trial_id),
        ):
            pass
    finally:
        done.set()
        other.join()
    with store.locked(TRIAL.trial_id):
        pass


def test_preparing_removes_everything_of_an_earlier_attempt(store: TrialStore) -> None:
    folder = store.folder(TRIAL.trial_id)
    store.set_state(TRIAL.trial_id, TrialState("interrupted"))
    (folder / "metrics.json").write_text("{}")
    (folder / "train").mkdir()
    (folder / "train" / "events.out").write_text("x")
    with store.locked(TRIAL.trial_id):
        store.prepare(TRIAL)
        left = {entry.name for entry in folder.iterdir()}
    assert left == {".lock", "trial.json", "pipeline.config"}
    assert TrialSpec.from_json((folder / "trial.json").read_text()) == TRIAL.spec
    assert (folder / "pipeline.config").read_text() == TRIAL.pipeline_text


def test_a_json_file_that_is_missing_or_cut_short_reads_as_empty(store: TrialStore) -> None:
    assert store.read_json(TRIAL.trial_id, "metrics.json") == {}
    (store.folder(TRIAL.trial_id) / "metrics.json").write_text('{"metrics": {"AP"')
    assert store.read_json(TRIAL.trial_id, "metrics.json") == {}


def test_an_interrupted_trial_goes_on_from_its_checkpoint_only_where_bits_do_not_matter(
    tmp_path: Path,
) -> None:
    store = TrialStore(tmp_path)
    for deterministic in (True, False):
        spec = dataclasses.replace(TRIAL.spec, deterministic=deterministic)
        resumable = dataclasses.replace(TRIAL, spec=spec)
        folder = store.prepare(resumable)
        (folder / "ckpt-2.index").write_text("weights of step 1000")
        store.set_state(resumable.trial_id, TrialState("interrupted"))
        store.prepare(resumable)
        assert (folder / "ckpt-2.index").exists() is not deterministic
