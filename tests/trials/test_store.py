"""The trial store: states survive kills, and what it cannot read it refuses."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import gzip
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from fake_trials import fake_trial
from run_writers import write_training_checkpoint

from odapi_repro.diagnosis.finished_run import read_checkpoint_state
from odapi_repro.errors import DamagedFile, EnvironmentMissing, StudyMismatch, UserError
from odapi_repro.files import write_json
from odapi_repro.trials.trial import TrialSpec
from odapi_repro.trials.trial_store import (
    TRAINED_ONLY,
    Attempt,
    Provenance,
    TrialState,
    TrialStore,
)

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
    store.set_state(TRIAL.trial_id, TrialState("failed", "earlier"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentMissing, match=r"[Nn]o space left"):
        store.set_state(TRIAL.trial_id, TrialState("failed", "later"))
    assert store.state(TRIAL.trial_id).message == "earlier"
    assert not list(store.folder(TRIAL.trial_id).glob(".*.tmp"))


def test_running_without_anybody_who_holds_it_is_interrupted(store: TrialStore) -> None:
    with store.locked(TRIAL.trial_id):
        store.set_state(TRIAL.trial_id, TrialState("running"))
        assert store.state(TRIAL.trial_id).state == "running"
    assert store.state(TRIAL.trial_id).state == "interrupted"


@pytest.mark.parametrize(
    "content",
    [
        *('{"version": 1, "sta', "[]", "null", '{"version": 1}', '{"version": 1, "state": "done"}'),
        '{"version": "1", "state": "failed"}',
        '{"version": 1, "state": "failed", "step": "7"}',
        '{"version": 1, "state": "failed", "message": null}',
        '{"version": 1, "state": "failed", "more": 1}',
    ],
)
def test_a_state_that_nobody_wrote_is_never_guessed(store: TrialStore, content: str) -> None:
    state = store.folder(TRIAL.trial_id) / "state.json"
    state.write_text(content)
    with pytest.raises(DamagedFile, match=r"(?s)state\.json.*delete it") as caught:
        store.state(TRIAL.trial_id)
    assert caught.value.where == str(state)


def test_a_trial_whose_state_is_gone_is_interrupted_and_not_begun_anew(store: TrialStore) -> None:
    (store.folder(TRIAL.trial_id) / "train.log").write_text("hours of it")
    assert store.state(TRIAL.trial_id).state == "interrupted"


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"metrics": {"AP": "x"}}'])
def test_a_success_without_metrics_that_read_is_not_done(store: TrialStore, content) -> None:
    path = store.folder(TRIAL.trial_id) / "metrics.json"
    if content is not None:
        path.write_text(content)
    store.set_state(TRIAL.trial_id, TrialState("succeeded", step=4))
    state = store.state(TRIAL.trial_id)
    assert (state.state, state.step) == ("interrupted", 4)
    assert "made again from its detections" in state.message
    write_json(path, {"metrics": {"AP": None}, "num_images": 6, "num_detections": 0})
    store.set_state(TRIAL.trial_id, TrialState("succeeded", step=4))
    assert store.state(TRIAL.trial_id).state == "succeeded"


def test_a_digit_that_was_changed_in_a_finished_trial_is_noticed(store: TrialStore) -> None:
    folder = store.folder(TRIAL.trial_id)
    write_json(folder / "metrics.json", {"metrics": {"AP": 21.5}, "num_images": 6})
    write_json(folder / "provenance.json", {"wall_seconds": 9.0, "final_loss": 0.5})
    store.set_state(TRIAL.trial_id, TrialState("succeeded", step=4))
    assert store.state(TRIAL.trial_id).state == "succeeded"
    assert store.checked_provenance(TRIAL.trial_id) == Provenance(9.0, final_loss=0.5)
    write_json(folder / "provenance.json", {"wall_seconds": 9.0, "final_loss": 0.6})
    with pytest.raises(DamagedFile, match="changed after it was written"):
        store.checked_provenance(TRIAL.trial_id)
    write_json(folder / "metrics.json", {"metrics": {"AP": 31.5}, "num_images": 6})
    assert "metrics.json was changed" in store.state(TRIAL.trial_id).message
    state = folder / "state.json"
    state.write_text(state.read_text().replace("succeeded", "diverged"))
    with pytest.raises(DamagedFile, match="changed after it was written"):
        store.state(TRIAL.trial_id)


def test_a_worker_that_is_not_the_chief_is_done_without_metrics(store: TrialStore) -> None:
    store.set_state(TRIAL.trial_id, TrialState("succeeded", "", 4, TRAINED_ONLY))
    assert store.state(TRIAL.trial_id).state == "succeeded"


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


def test_who_looks_keeps_nobody_from_taking_a_trial(store: TrialStore) -> None:
    """A look takes no lock: 3,000 were taken beside a process that did nothing but look."""
    store.set_state(TRIAL.trial_id, TrialState("running"))
    context = multiprocessing.get_context("spawn")
    began, done = context.Event(), context.Event()
    other = context.Process(target=_look, args=(store.runs_dir, began, done))
    other.start()
    try:
        assert began.wait(30)
        for _ in range(3000):
            with store.locked(TRIAL.trial_id):
                pass
    finally:
        done.set()
        other.join()
    assert other.exitcode == 0


def _look(runs_dir: Path, began: multiprocessing.Event, done: multiprocessing.Event) -> None:
    store = TrialStore(runs_dir)
    store.state(TRIAL.trial_id)
    began.set()
    while not done.is_set():
        store.state(TRIAL.trial_id)


def test_the_lock_of_a_killed_process_is_free(store: TrialStore) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(store.runs_dir, held, done))
    other.start()
    assert held.wait(30)
    store.set_state(TRIAL.trial_id, TrialState("running"))
    assert store.state(TRIAL.trial_id).state == "running"
    other.kill()
    other.join()
    assert store.state(TRIAL.trial_id).state == "interrupted"
    with store.locked(TRIAL.trial_id):
        pass


def test_a_disk_without_locks_is_said_and_nobody_is_accused(store: TrialStore, monkeypatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", none)
    with (
        pytest.raises(UserError, match="No locks available") as caught,
        store.locked(TRIAL.trial_id),
    ):
        pass
    assert "another process" not in str(caught.value)


def test_a_deterministic_trial_starts_over_and_what_it_had_is_set_aside(store: TrialStore) -> None:
    folder = store.folder(TRIAL.trial_id)
    store.set_state(TRIAL.trial_id, TrialState("failed"))
    (folder / "train.log").write_text("an hour")
    write_training_checkpoint(folder, 2, 3)
    (tmp := folder.parent / "elsewhere").mkdir()
    (tmp / "events.out").write_text("x")
    (folder / "train").symlink_to(tmp)
    for number in (1, 2):
        with store.locked(TRIAL.trial_id):
            attempt = store.prepare(TRIAL)
        assert (attempt.train, attempt.resumed) == (True, False)
        left = {entry.name for entry in folder.iterdir()}
        aside = {f"earlier-{one}" for one in range(1, number + 1)}
        assert left == {".lock", "trial.json", "pipeline.config", "state.json", *aside}
        assert str(folder / f"earlier-{number}") in attempt.notes[0]
        (folder / "train.log").write_text("another hour")
    assert (folder / "earlier-1" / "train.log").read_text() == "an hour"
    assert (folder / "earlier-1" / "ckpt-2.index").exists()
    assert (folder / "earlier-1" / "train" / "events.out").read_text() == "x"
    assert TrialSpec.read(folder / "trial.json", mend="") == TRIAL.spec
    assert (folder / "pipeline.config").read_text() == TRIAL.pipeline_text


RESUMABLE = dataclasses.replace(
    TRIAL, spec=dataclasses.replace(TRIAL.spec, deterministic=False), num_steps=8
)


@pytest.fixture
def resumed(tmp_path: Path) -> TrialStore:
    """A trial that is not deterministic, with a log, losses and checkpoints of steps 2 and 4."""
    store = TrialStore(tmp_path / "runs")
    folder = store.prepare(RESUMABLE).folder
    (folder / "train.log").write_text("days")
    (folder / "losses.csv").write_text("step,total_loss\n4,1.5\n")
    for number, step in ((1, 2), (2, 4)):
        write_training_checkpoint(folder, number, step)
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "ckpt-2"\n'
        'all_model_checkpoint_paths: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-2"\n'
    )
    return store


@pytest.mark.parametrize("ended", ["failed", "interrupted", "running"])
def test_a_trial_that_is_not_deterministic_goes_on_whatever_ended_it(resumed, ended) -> None:
    folder = resumed.folder(RESUMABLE.trial_id)
    resumed.set_state(RESUMABLE.trial_id, TrialState(ended, kind="error"))
    before = (folder / "checkpoint").read_text()
    attempt = resumed.prepare(RESUMABLE)
    assert (attempt.train, attempt.resumed, attempt.from_step) == (True, True, 4)
    assert attempt.notes == ("goes on from step 4",)
    assert (folder / "train.log").read_text() == "days"
    assert (folder / "losses.csv").exists()
    assert (folder / "checkpoint").read_text() == before


def test_a_fresh_start_that_was_asked_for_sets_everything_aside(resumed) -> None:
    folder = resumed.folder(RESUMABLE.trial_id)
    attempt = resumed.prepare(RESUMABLE, fresh_start=True)
    assert (attempt.train, attempt.from_step) == (True, 0)
    assert not list(folder.glob("ckpt-*"))
    assert len(list((folder / "earlier-1").glob("ckpt-*.index"))) == 2


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("index", _cut),
        ("index", _flip),
        ("index", lambda path: path.write_bytes(b"")),
        ("data-00000-of-00001", _cut),
        ("data-00000-of-00001", _flip),
        ("data-00000-of-00001", Path.unlink),
    ],
)
def test_a_last_checkpoint_that_cannot_be_restored_falls_back_to_the_one_before(
    resumed, part, damage
) -> None:
    folder = resumed.folder(RESUMABLE.trial_id)
    damage(folder / f"ckpt-2.{part}")
    attempt = resumed.prepare(RESUMABLE)
    assert attempt.from_step == 2
    assert "checkpoint ckpt-2: " in attempt.notes[0]
    assert "earlier-1" in attempt.notes[0]
    state = read_checkpoint_state(folder)
    assert state is not None
    assert state.latest == folder / "ckpt-1"
    assert state.kept == (folder / "ckpt-1",)
    assert (folder / "earlier-1").is_dir()
    assert not list(folder.glob("ckpt-2.*"))


@pytest.mark.parametrize("content", [None, "", "half a sta", 'model_checkpoint_path: "ckpt-9"'])
def test_without_a_file_that_names_them_the_newest_checkpoint_is_named_again(
    resumed, content
) -> None:
    """`train_loop` finds no checkpoint without it, and would start at step 0."""
    path = resumed.folder(RESUMABLE.trial_id) / "checkpoint"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert resumed.prepare(RESUMABLE).from_step == 4
    state = read_checkpoint_state(path.parent)
    assert state is not None
    assert state.latest == path.parent / "ckpt-2"


def test_with_no_checkpoint_left_a_training_starts_at_its_start_and_keeps_all(resumed) -> None:
    folder = resumed.folder(RESUMABLE.trial_id)
    for number in (1, 2):
        _cut(folder / f"ckpt-{number}.index")
    attempt = resumed.prepare(RESUMABLE)
    assert (attempt.train, attempt.from_step) == (True, 0)
    assert len(attempt.notes) == 2
    assert not (folder / "checkpoint").exists()
    assert len(list((folder / "earlier-1").glob("ckpt-*.index"))) == 2


def test_a_worker_that_is_not_the_chief_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    """The OD API gives it a folder of its own, and restores from the trial's."""
    store = TrialStore(tmp_path / "runs")
    folder = store.prepare(RESUMABLE).folder
    own = folder / "temp_worker_001"
    own.mkdir()
    write_training_checkpoint(own, 7, 6)
    store.set_state(RESUMABLE.trial_id, TrialState("failed"))
    assert store.prepare(RESUMABLE).from_step == 6
    assert (own / "ckpt-7.index").exists()
    state = read_checkpoint_state(folder)
    assert state is not None
    assert state.latest == own / "ckpt-7"


@pytest.mark.parametrize("trial", [TRIAL, RESUMABLE], ids=["deterministic", "resumable"])
@pytest.mark.parametrize("left", ["checkpoint", "detections"])
def test_a_trial_that_only_lacks_its_evaluation_is_not_trained_again(tmp_path, trial, left) -> None:
    store = TrialStore(tmp_path / "runs")
    folder = store.prepare(trial).folder
    write_json(folder / "trained.json", {"train_seconds": 9.0})
    if left == "checkpoint":
        write_training_checkpoint(folder, 2, trial.num_steps)
    else:
        with gzip.open(folder / "detections.json.gz", "wb") as file:
            file.write(b"[]")
    store.set_state(trial.trial_id, TrialState("failed"))
    attempt = store.prepare(trial)
    assert (attempt.train, attempt.resumed) == (False, True)
    assert not (folder / "earlier-1").exists()


def test_a_kill_between_the_last_checkpoint_and_its_note_costs_no_training(tmp_path) -> None:
    """The loop would take no step, build no model, and save half of one as the newest."""
    store = TrialStore(tmp_path / "runs")
    folder = store.prepare(RESUMABLE).folder
    write_training_checkpoint(folder, 3, RESUMABLE.num_steps)
    store.set_state(RESUMABLE.trial_id, TrialState("running"))
    attempt = store.prepare(RESUMABLE)
    assert (attempt.train, attempt.resumed) == (False, True)
    assert (folder / "trained.json").exists()


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_trained_trial_without_its_last_checkpoint_is_trained_again(resumed, damage) -> None:
    folder = resumed.folder(RESUMABLE.trial_id)
    write_json(folder / "trained.json", {})
    write_training_checkpoint(folder, 3, RESUMABLE.num_steps)
    if damage == "cut":
        _cut(folder / "ckpt-3.index")
    else:
        for part in folder.glob("ckpt-3.*"):
            part.unlink()
    resumed.set_state(RESUMABLE.trial_id, TrialState("failed"))
    attempt = resumed.prepare(RESUMABLE)
    assert (attempt.train, attempt.from_step) == (True, 4)
    assert not (folder / "trained.json").exists()


def test_detections_of_another_end_are_not_scored_for_this_one(resumed) -> None:
    """A kill after the training's end and before its own detections would leave these."""
    folder = resumed.folder(RESUMABLE.trial_id)
    with gzip.open(folder / "detections.json.gz", "wb") as file:
        file.write(b"[]")
    assert resumed.prepare(RESUMABLE).from_step == 4
    assert not (folder / "detections.json.gz").exists()
    assert (folder / "earlier-1" / "detections.json.gz").exists()


def test_a_trained_deterministic_trial_without_its_last_checkpoint_starts_over(store) -> None:
    folder = store.folder(TRIAL.trial_id)
    write_json(folder / "trained.json", {})
    attempt = store.prepare(TRIAL)
    assert (attempt.train, attempt.from_step) == (True, 0)
    assert (folder / "earlier-1" / "trained.json").exists()


def test_losses_that_were_changed_since_are_said(store: TrialStore) -> None:
    folder = store.folder(TRIAL.trial_id)
    (folder / "losses.csv").write_text("step,total_loss\n4,1.5\n")
    store.set_state(TRIAL.trial_id, TrialState("diverged", "nan", 4))
    assert store.changed_losses(TRIAL.trial_id) == ""
    (folder / "losses.csv").write_text("step,total_loss\n4,2.5\n")
    assert "losses.csv was changed" in store.changed_losses(TRIAL.trial_id)


def test_what_an_evaluation_alone_took_is_added_to_what_the_training_took(store) -> None:
    first = Attempt(store.folder(TRIAL.trial_id), train=True, resumed=False)
    took = {"timings": {"train_seconds": 9.0}, "wall_seconds": 20.0, "tensorflow": "2.20"}
    store.write_provenance(TRIAL.trial_id, first, {**took, "final_loss": 0.5})
    again = dataclasses.replace(first, train=False, resumed=True)
    store.write_provenance(TRIAL.trial_id, again, {"timings": {}, "wall_seconds": 1.0})
    told = store.provenance(TRIAL.trial_id)
    assert told == Provenance(21.0, {"train_seconds": 9.0}, 0.5, resumed=False)


@pytest.mark.parametrize("name", ["metrics", "provenance", "spec"])
@pytest.mark.parametrize("content", ["[]", '{"timings": 3, "metrics": 3}', "{", "null"])
def test_each_file_of_a_trial_that_does_not_read_is_named_with_what_to_do(
    store, name, content
) -> None:
    path = store.folder(TRIAL.trial_id) / f"{'trial' if name == 'spec' else name}.json"
    path.write_text(content)
    with pytest.raises(DamagedFile, match="delete the file") as caught:
        getattr(store, name)(TRIAL.trial_id)
    assert caught.value.where == str(path)


def test_what_is_no_trial_in_a_runs_folder_is_passed_over(store: TrialStore) -> None:
    runs = store.runs_dir
    (runs / "evaluations").mkdir()
    (runs / "notes.txt").write_text("mine")
    (runs / "abc-backup").mkdir()
    (runs / "loop").symlink_to(runs / "loop")
    assert store.trial_ids() == [TRIAL.trial_id]
    assert TrialStore(runs / "notes.txt").trial_ids() == []
    assert TrialStore(runs / "none").trial_ids() == []


def test_what_is_set_aside_from_several_folders_keeps_its_place(tmp_path: Path) -> None:
    store = TrialStore(tmp_path / "runs")
    folder = store.prepare(RESUMABLE).folder
    for place in (folder, folder / "temp_worker_001", folder / "temp_worker_002"):
        place.mkdir(exist_ok=True)
        write_training_checkpoint(place, 3, 6)
        _cut(place / "ckpt-3.index")
    assert store.prepare(RESUMABLE).from_step == 0
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("ckpt-3.index")}
    places = ("", "temp_worker_001/", "temp_worker_002/")
    assert kept == {f"earlier-1/{place}ckpt-3.index" for place in places}


def test_a_set_aside_that_is_cut_short_does_not_leave_a_trial_that_looks_trained(
    store: TrialStore, monkeypatch
) -> None:
    folder = store.folder(TRIAL.trial_id)
    write_json(folder / "trained.json", {})
    for name in ("ckpt-2.index", "a.log"):
        (folder / name).write_text("x")
    rename, moved = os.rename, []

    def killed(source: Path, aim: Path) -> None:
        if moved:
            raise KeyboardInterrupt
        moved.append(source.name)
        rename(source, aim)

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        store.prepare(TRIAL, fresh_start=True)
    assert moved == ["trained.json"]


def test_a_trial_that_ends_between_two_looks_has_ended(store: TrialStore, monkeypatch) -> None:
    store.set_state(TRIAL.trial_id, TrialState("running"))

    def ends(_: Path) -> bool:
        store.set_state(TRIAL.trial_id, TrialState("diverged", "loss nan", 3))
        return False

    monkeypatch.setattr("odapi_repro.trials.trial_store.is_held", ends)
    assert store.state(TRIAL.trial_id).state == "diverged"
