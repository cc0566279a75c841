"""A study that is asked to end: children first, then the table, then 128 and the signal."""

from __future__ import annotations

import contextlib
import csv
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from fake_trials import EFFICIENTDET, FAKE_WORKER, small_records
from test_kills import next_worker

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def study(command: str, folder: Path, outcomes: str = "{}") -> None:
    """Runs a study of the fake worker whose trials take seconds; the body of a process."""
    import functools

    os.setsid()
    # The server that it comes from may be that of `data convert`, which leaves these to its parent.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.environ["FAKE_WORKER_SECONDS"] = "2"
    os.environ["FAKE_WORKER"] = outcomes
    from odapi_repro import explain, run
    from odapi_repro.features.ablate import study_plots as plots
    from odapi_repro.trials import session

    plots.render_plots = lambda report: {}
    module = {"run": run, "explain": explain}[command]
    session.LocalExecutor = functools.partial(session.LocalExecutor, worker=FAKE_WORKER)
    session.check_worker_environment = lambda: None
    made = small_records()
    flags = [
        f"--train_records={made.train_pattern}",
        f"--eval_records={made.val_pattern}",
        f"--label_map={made.label_map_path}",
        f"--runs_dir={folder / 'runs'}",
        f"--results_dir={folder / 'results'}",
        "--scale=proxy",
        "--name=study",
    ]
    if command == "run":
        flags += [f"--pipeline={EFFICIENTDET}", "--ablate=batch_size", "--levels=1/2,1/4"]
    else:
        case = EFFICIENTDET.parents[1] / "examples" / "issue_10530.config"
        flags += [f"--pipeline={case}", "--reference=efficientdet_d3", "--design=both_ends"]
    with open(folder / "stderr", "w") as sys.stderr, open(folder / "stdout", "w") as sys.stdout:
        code = module.main(flags)
    os._exit(code)


def started(command: str, folder: Path, outcomes: str = "{}") -> multiprocessing.Process:
    small_records()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["odapi_repro.run", "odapi_repro.explain"])
    process = context.Process(target=study, args=(command, folder, outcomes))
    process.start()
    return process


def trials(folder: Path) -> list[dict[str, str]]:
    with open(folder / "results" / "study" / "trials.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def wait_for(what: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what.exists():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
@pytest.mark.parametrize("signum", SIGNALS, ids=lambda one: one.name)
@pytest.mark.parametrize("command", ["run", "explain"])
def test_whatever_asks_a_study_to_end_leaves_its_table(tmp_path, command, signum) -> None:
    process = started(command, tmp_path)
    assert process.pid is not None
    worker = next_worker(process)
    # The first trial has ended, the second is on its way.
    while (second := next_worker(process)) == worker:
        time.sleep(0.02)
    (done,) = (tmp_path / "runs").glob("*/metrics.json")
    os.kill(process.pid, signum)
    process.join(60)
    assert process.exitcode == 128 + signum
    assert second is not None
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
    rows = {row["trial_id"]: row for row in trials(tmp_path)}
    assert rows[done.parent.name]["status"] == "succeeded"
    (other,) = [
        p.parent
        for p in (tmp_path / "runs").glob("*/state.json")
        if p.parent.name != done.parent.name
    ]
    assert f"ended by {signum.name}" in (other / "state.json").read_text()
    assert "Traceback" not in (tmp_path / "stderr").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
def test_signals_again_and_again_do_not_keep_the_table_from_being_written(tmp_path) -> None:
    """A closed terminal sends SIGHUP twice, a scheduler SIGTERM to every process of the job."""
    process = started("run", tmp_path, '{"*": "hang"}')
    assert process.pid is not None
    assert next_worker(process) is not None
    wait_for(tmp_path / "results" / "study" / "study.json")
    for _ in range(20):
        for signum in (signal.SIGHUP, signal.SIGTERM):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signum)
    process.join(60)
    assert process.exitcode == 128 + signal.SIGHUP
    assert [row["status"] for row in trials(tmp_path)] == ["interrupted", "planned", "planned"]
