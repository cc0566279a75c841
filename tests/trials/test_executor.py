"""One trial in a child process: every way in which it can end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_trials import fake_executor, fake_trial

from odapi_repro.errors import EnvironmentMissing
from odapi_repro.files import read_json
from odapi_repro.signals import Ended, raised_as_exceptions
from odapi_repro.trials.executors.local_executor import _largest_divisor
from odapi_repro.trials.trial_store import TrialState

SUPPORT = Path(__file__).parents[1] / "support"


def ignore(*_: object) -> None: ...


def run(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, outcome: str, batch: int = 4
) -> TrialState:
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"*": outcome}))
    executor = fake_executor(runs_dir)
    trial = fake_trial(batch=batch)
    state = executor.run(trial, ignore)
    assert executor.store.state(trial.trial_id) == state
    return state


def test_a_trial_that_succeeds_leaves_all_its_files_and_tells_what_it_did(tmp_path: Path) -> None:
    trial, executor, events = fake_trial(), fake_executor(tmp_path), []
    state = executor.run(trial, lambda _trial, event: events.append(event["event"]))
    assert (state.state, state.step) == ("succeeded", 4)
    assert events == ["started", "imported", *["step"] * 4, "trained", "done"]
    left = {entry.name for entry in executor.store.folder(trial.trial_id).iterdir()}
    assert left >= {
        "trial.json", "pipeline.config", "state.json", "provenance.json", "metrics.json",
        "losses.csv", "detections.json.gz", "train.log",
    }  # fmt: skip
    provenance = read_json(executor.store.folder(trial.trial_id) / "provenance.json", mend="")
    assert provenance["tensorflow"] == "0.0-fake"
    assert provenance["peak_memory_mib"] == 400
    assert provenance["wall_seconds"] > 0


def test_a_diverged_trial_says_at_which_step_of_how_many(tmp_path, monkeypatch) -> None:
    state = run(tmp_path, monkeypatch, "diverge")
    assert (state.state, state.step) == ("diverged", 3)
    assert state.message == "loss nan at step 3 of 4"


def test_a_failed_trial_keeps_the_workers_message(tmp_path, monkeypatch) -> None:
    state = run(tmp_path, monkeypatch, "fail")
    assert (state.state, state.kind, state.step) == ("failed", "error", 2)
    assert "shapes (1,) and (2,) do not match" in state.message


def test_a_worker_that_was_killed_leaves_the_trial_interrupted(tmp_path, monkeypatch) -> None:
    state = run(tmp_path, monkeypatch, "kill")
    assert (state.state, state.step) == ("interrupted", 2)
    assert "SIGKILL" in state.message


def test_a_worker_that_crashes_without_a_word_is_a_failure_with_its_exit_code_and_log(
    tmp_path, monkeypatch
) -> None:
    state = run(tmp_path, monkeypatch, "crash")
    assert state.state == "failed"
    assert "code 7" in state.message
    log = tmp_path / fake_trial().trial_id / "train.log"
    assert "a stack trace of C++" in log.read_text()


def test_out_of_memory_without_earlier_trials_says_that_the_fitting_batch_is_unknown(
    tmp_path, monkeypatch
) -> None:
    state = run(tmp_path, monkeypatch, "out_of_memory", batch=8)
    assert (state.state, state.kind) == ("failed", "out_of_memory")
    assert "which batch would fit is unknown" in state.message


def test_out_of_memory_names_the_largest_batch_that_fitted_here_and_extrapolates(
    tmp_path, monkeypatch
) -> None:
    # The fake worker takes 100 MiB an image, so 8 images need 800.
    for batch in (2, 4):
        run(tmp_path, monkeypatch, "", batch=batch)
    state = run(tmp_path, monkeypatch, "out_of_memory", batch=8)
    assert "4 images a replica fitted here before (400 MiB)" in state.message
    assert "8 would need about 800 MiB" in state.message


def test_a_full_disk_stops_the_study_and_leaves_the_trial_to_be_repeated(
    tmp_path, monkeypatch
) -> None:
    with pytest.raises(EnvironmentMissing, match="no space left"):
        run(tmp_path, monkeypatch, "disk_full")
    state = fake_executor(tmp_path).store.state(fake_trial().trial_id)
    assert (state.state, state.kind) == ("interrupted", "disk_full")


def test_an_interrupt_by_the_user_ends_the_worker_and_leaves_the_trial_interrupted(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", '{"*": "hang"}')
    executor, pids = fake_executor(tmp_path), []

    def on_event(_trial: object, event: dict) -> None:
        pids.extend([event["pid"]] if event["event"] == "started" else [])
        if event["event"] == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor.run(fake_trial(), on_event)
    assert executor.store.state(fake_trial().trial_id).message == "interrupted by the user"
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_worker_ends_with_its_killed_parent_and_the_trial_is_repeated(tmp_path) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(SUPPORT)!r}, {str(SUPPORT.parents[1])!r}]\n"
        "from pathlib import Path\n"
        "from fake_trials import fake_executor, fake_trial\n"
        "show = lambda trial, event: print(event['event'], event.get('pid'), flush=True)\n"
        f"fake_executor(Path({str(tmp_path)!r})).run(fake_trial(), show)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FAKE_WORKER": '{"*": "hang"}'},
    )
    assert parent.stdout is not None
    name, pid = parent.stdout.readline().split()
    assert name == "started"
    store, trial_id = fake_executor(tmp_path).store, fake_trial().trial_id
    assert store.state(trial_id).state == "running"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert _ends(int(pid), seconds=10)
    assert store.state(trial_id).state == "interrupted"
    assert fake_executor(tmp_path).run(fake_trial(), ignore).state == "succeeded"


def _ends(pid: int, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if stat.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("steps", "bound", "expected"), [(250, 100, 50), (300000, 100, 100), (7, 3, 1), (4, 1000, 4)]
)
def test_a_compiled_call_takes_a_number_of_steps_that_divides_the_run(
    steps: int, bound: int, expected: int
) -> None:
    assert _largest_divisor(steps, bound) == expected


def test_a_trial_that_another_process_has_ended_meanwhile_is_not_run_again(tmp_path) -> None:
    executor, trial = fake_executor(tmp_path), fake_trial()
    assert executor.run(trial, ignore).state == "succeeded"
    events: list[str] = []
    assert executor.run(trial, lambda _, event: events.append(event["event"])).state == "succeeded"
    assert events == []


def test_a_signal_after_the_childs_end_does_not_cost_its_result(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_WORKER", json.dumps({"*": "diverge"}))
    executor, trial = fake_executor(tmp_path), fake_trial()
    write = executor.store.write_provenance

    def late(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        write(*arguments)

    monkeypatch.setattr(executor.store, "write_provenance", late)
    with pytest.raises(Ended), raised_as_exceptions():
        executor.run(trial, ignore)
    assert executor.store.state(trial.trial_id).state == "diverged"
