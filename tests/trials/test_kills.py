"""A study that is killed again and again ends with the table of one that was left in peace."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from fake_trials import EFFICIENTDET, FAKE_WORKER, small_records

TIMES = {"wall_seconds", "train_seconds", "eval_seconds", "images_per_second", "study"}
HERE = Path(__file__).parent


def start(folder: Path, seconds: float) -> None:
    """Runs a study of six trials with the fake worker; the body of a process of its own."""
    import functools

    os.environ["FAKE_WORKER_SECONDS"] = str(seconds)
    from odapi_repro import run
    from odapi_repro.features.ablate import study_plots as plots
    from odapi_repro.trials import session

    plots.render_plots = lambda report: {}  # seconds, and not what this is about
    session.LocalExecutor = functools.partial(session.LocalExecutor, worker=FAKE_WORKER)
    session.check_worker_environment = lambda: None
    made = small_records()
    with contextlib.redirect_stdout(io.StringIO()), open(os.devnull, "w") as sys.stderr:
        code = run.main(
            [
                f"--pipeline={EFFICIENTDET}",
                "--ablate=batch_size",
                "--levels=1/2,1/4",
                "--seeds=2",
                "--scale=proxy",
                f"--train_records={made.train_pattern}",
                f"--eval_records={made.val_pattern}",
                f"--label_map={made.label_map_path}",
                f"--runs_dir={folder / 'runs'}",
                f"--results_dir={folder / 'results'}",
                "--name=study",
            ]
        )
    os._exit(code)


def table(folder: Path) -> pd.DataFrame:
    trials = pd.read_csv(folder / "results" / "study" / "trials.csv")
    return trials.drop(columns=[name for name in trials.columns if name in TIMES])


def worker_of(parent: int | None) -> int | None:
    """The process that a study has running now, None between two trials."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(stat[1]) == parent and stat[0] != "Z":
                    return int(entry.name)
    return None


def next_worker(study: multiprocessing.Process) -> int | None:
    """Waits for the study's worker; None when the study ends without another."""
    while study.is_alive():
        if (worker := worker_of(study.pid)) is not None:
            return worker
        time.sleep(0.01)
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
def test_kills_at_random_moments_do_not_change_the_table(tmp_path) -> None:
    small_records()
    # A server that has imported everything: a start costs a fork.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["odapi_repro.run", "odapi_repro.features.ablate.study_plots"])
    rng = random.Random(20)
    victims = ["study"] * 2 + ["worker"] * 5
    rng.shuffle(victims)
    code = None
    while code != 0:
        # A worker takes longer than the moments below, so that every kill finds one.
        study = context.Process(target=start, args=(tmp_path / "disturbed", 0.6))
        study.start()
        assert study.pid is not None
        while victims and (worker := next_worker(study)) is not None:
            # From the worker's first moments to the next trial's.
            time.sleep(rng.uniform(0, 0.4))
            victim = study.pid if victims[-1] == "study" else worker
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                victims.pop()
                if victim == study.pid:
                    break
        study.join()
        code = study.exitcode
        assert code in (0, 1, -signal.SIGKILL)
        assert code or not victims, "it ended before it was killed often enough"

    undisturbed = context.Process(target=start, args=(tmp_path / "peaceful", 0.0))
    undisturbed.start()
    undisturbed.join()
    assert undisturbed.exitcode == 0
    expected = table(tmp_path / "peaceful")
    assert list(expected["status"]) == ["succeeded"] * 6
    pd.testing.assert_frame_equal(table(tmp_path / "disturbed"), expected)
