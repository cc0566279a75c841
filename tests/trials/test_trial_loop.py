"""Trials that other processes run at the same time: the others first, then wait for theirs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from fake_trials import fake_executor, fake_trial, run_trials

from odapi_repro.files import write_json
from odapi_repro.trials.trial_store import TrialBusy, TrialState, TrialStore

SHARED, OWN, OTHER = (fake_trial(seed) for seed in (1, 2, 3))


def ends(trials, executor, **options) -> list[tuple[int, str]]:
    """Runs trials and gives seed and state of each as it ended."""
    heard = []

    def hear(trial, event) -> None:
        if event["event"] == "trial_ended":
            heard.append((trial.spec.seed, event["state"]))

    run_trials(trials, executor.store, executor, hear, **options)
    return heard


@contextlib.contextmanager
def run_elsewhere(store: TrialStore) -> Iterator[None]:
    """The shared trial is being run by somebody else."""
    with store.locked(SHARED.trial_id):
        store.set_state(SHARED.trial_id, TrialState("running"))
        yield


def test_a_study_that_shares_a_trial_runs_its_others_first_and_waits_for_that(tmp_path) -> None:
    executor = fake_executor(tmp_path)
    store, heard = executor.store, []
    ended = threading.Event()

    def elsewhere() -> None:
        with run_elsewhere(store):
            began.set()
            assert waits.wait(60)
            folder = store.folder(SHARED.trial_id)
            write_json(folder / "metrics.json", {"metrics": {"AP": 7.0}, "num_images": 6})
            store.set_state(SHARED.trial_id, TrialState("succeeded", step=4))
        ended.set()

    began, waits = threading.Event(), threading.Event()
    other = threading.Thread(target=elsewhere)
    other.start()
    assert began.wait(10)

    def hear(trial, event) -> None:
        if event["event"] in ("trial_started", "trial_ended", "waiting"):
            heard.append((trial.spec.seed, event["event"]))
        if event["event"] == "waiting":
            waits.set()

    run_trials([SHARED, OWN, OTHER], store, executor, hear)
    other.join()
    assert ended.is_set()
    assert heard == [
        (2, "trial_started"), (2, "trial_ended"), (3, "trial_started"), (3, "trial_ended"),
        (1, "waiting"), (1, "trial_ended"),
    ]  # fmt: skip
    # The other process's result counts, and was not made a second time.
    assert store.metrics(SHARED.trial_id).metrics == {"AP": 7.0}
    assert not (store.folder(SHARED.trial_id) / "losses.csv").exists()


def test_a_shared_trial_that_its_process_leaves_unfinished_is_run_here(tmp_path) -> None:
    executor = fake_executor(tmp_path)
    store = executor.store
    left = contextlib.ExitStack()
    left.enter_context(run_elsewhere(store))
    assert ends([SHARED], executor, sleep=lambda _: left.close()) == [(1, "succeeded")]
    assert (store.folder(SHARED.trial_id) / "losses.csv").exists()


def test_a_shared_trial_that_fails_elsewhere_has_failed_and_is_not_tried_again(tmp_path) -> None:
    executor = fake_executor(tmp_path)
    store = executor.store
    left = contextlib.ExitStack()
    left.enter_context(run_elsewhere(store))

    def fail(_: float) -> None:
        store.set_state(SHARED.trial_id, TrialState("failed", "no luck"))
        left.close()

    assert ends([SHARED], executor, sleep=fail) == [(1, "failed")]
    # One that had failed before is run where somebody asks for it, and only there.
    assert ends([SHARED], executor) == []
    assert ends([SHARED], executor, retry_failed=True) == [(1, "succeeded")]


def test_a_trial_taken_between_a_look_and_the_lock_is_waited_for(tmp_path) -> None:
    executor = fake_executor(tmp_path)
    calls = []

    class Late:
        def run(self, trial, on_event):
            calls.append(trial.spec.seed)
            if calls == [1]:
                raise TrialBusy("trial is being run by another process")
            return executor.run(trial, on_event)

        store = executor.store

    assert ends([SHARED, OWN], Late(), sleep=lambda _: None) == [
        (2, "succeeded"), (1, "succeeded"),
    ]  # fmt: skip
    assert calls == [1, 2, 1]


def _study(runs: Path, seeds: tuple[int, ...], barrier: multiprocessing.Barrier) -> None:
    executor = fake_executor(runs)
    barrier.wait(60)
    run_trials([fake_trial(seed) for seed in seeds], executor.store, executor, lambda *_: None)


def test_studies_that_share_trials_run_each_once_and_all_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_WORKER_SECONDS", "0.2")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    studies = [
        context.Process(target=_study, args=(tmp_path, seeds, barrier))
        for seeds in ((1, 2, 3), (3, 1, 4), (2, 3, 1))
    ]
    for study in studies:
        study.start()
    for study in studies:
        study.join(120)
    assert [study.exitcode for study in studies] == [0, 0, 0]
    store = TrialStore(tmp_path)
    for seed in (1, 2, 3, 4):
        trial_id = fake_trial(seed).trial_id
        assert store.state(trial_id).state == "succeeded"
        assert not list(store.folder(trial_id).glob("earlier-*"))
        assert b"another attempt" not in (store.folder(trial_id) / "train.log").read_bytes()


def test_a_trial_whose_folder_cannot_be_used_does_not_keep_the_next_from_running(tmp_path) -> None:
    executor = fake_executor(tmp_path)
    store, ended = executor.store, []
    (tmp_path / SHARED.trial_id).write_text("a file")

    def hear(trial, event) -> None:
        if event["event"] == "trial_ended":
            ended.append((trial.spec.seed, event["state"], event["message"]))

    run_trials([SHARED, OWN], store, executor, hear)
    assert [(seed, state) for seed, state, _ in ended] == [(1, "failed"), (2, "succeeded")]
    assert SHARED.trial_id in ended[0][2]


def test_a_pipe_in_the_place_of_a_lock_keeps_nobody_waiting(tmp_path) -> None:
    executor = fake_executor(tmp_path)
    folder = executor.store.folder(SHARED.trial_id)
    folder.mkdir()
    os.mkfifo(folder / ".lock")
    messages = []
    run_trials([SHARED], executor.store, executor, lambda _, event: messages.append(event))
    assert messages[-1]["state"] == "failed"
    assert ".lock" in messages[-1]["message"]


def test_a_trial_that_fails_elsewhere_between_two_looks_is_not_run_again(tmp_path) -> None:
    """Its state was read as running, and its lock was free when that was looked at."""
    executor = fake_executor(tmp_path)
    store = executor.store
    looks = iter([TrialState("planned"), TrialState("running")])

    class Between(TrialStore):
        def state(self, trial_id: str) -> TrialState:
            return next(looks, None) or super().state(trial_id)

    store.folder(SHARED.trial_id).mkdir(parents=True)
    store.set_state(SHARED.trial_id, TrialState("failed", "elsewhere"))
    heard = []

    def hear(trial, event) -> None:
        heard.append(event["event"])

    run_trials([SHARED], Between(store.runs_dir), executor, hear)
    assert heard == ["trial_ended"]
    assert store.state(SHARED.trial_id).message == "elsewhere"


def test_one_busy_trial_with_a_budget_is_waited_for_and_costs_nothing_of_it(tmp_path) -> None:
    executor = fake_executor(tmp_path)
    left = contextlib.ExitStack()
    left.enter_context(run_elsewhere(executor.store))
    told = ends([SHARED, OWN], executor, sleep=lambda _: left.close(), max_trials=2)
    assert told == [(2, "succeeded"), (1, "succeeded")]


def test_what_others_have_ended_is_taken_in_when_the_budget_is_spent(tmp_path) -> None:
    executor = fake_executor(tmp_path)
    run_trials([OTHER], executor.store, executor, lambda trial, event: None)
    told = ends([OWN, OTHER], executor, max_trials=1)
    assert sorted(told) == [(2, "succeeded"), (3, "succeeded")]
