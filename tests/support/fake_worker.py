"""Stands in for the worker that trains: reads the job, says what the worker would, trains nothing.

FAKE_WORKER is a JSON object from a seed (or `*`) to what happens to its trial; see `_OUTCOMES`.
FAKE_WORKER_SECONDS is how long a trial takes.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

from odapi_repro.training.training_job import Job, read_job

# The package need not be installed where the tests run.
from odapi_repro.trials.child_process import EventWriter, die_with_parent

_STEPS = 4


def _train(job: Job, emit: EventWriter, batch: int, outcome: str) -> float:
    emit("imported", patches=[], tensorflow="0.0-fake", seconds=0.0)
    pause = float(os.environ.get("FAKE_WORKER_SECONDS", "0")) / _STEPS
    loss = 0.0
    with open(Path(job.model_dir) / "losses.csv", "w", encoding="utf-8") as file:
        file.write("step,learning_rate,total_loss\n")
        for step in range(1, _STEPS + 1):
            time.sleep(pause)
            loss = batch / 10 + job.seed / step
            file.write(f"{step},0.01,{loss!r}\n")
            emit("step", step=step, loss=loss, learning_rate=0.01, seconds=pause, steps_in_report=1)
            if step == 2 and outcome in _OUTCOMES:
                _OUTCOMES[outcome](emit)
    emit("trained", replicas=job.num_replicas)
    return loss


def _ended(code: int = 0) -> None:
    sys.stdout.flush()
    os._exit(code)


def _diverge(emit: EventWriter) -> None:
    emit("diverged", step=3, loss="nan")
    _ended()


def _fail(emit: EventWriter) -> None:
    emit("failed", kind="error", message="ValueError:\nshapes (1,) and (2,) do not match")
    _ended()


def _out_of_memory(emit: EventWriter) -> None:
    emit("failed", kind="out_of_memory", message="ResourceExhaustedError: OOM when allocating")
    _ended()


def _disk_full(emit: EventWriter) -> None:
    emit("failed", kind="disk_full", message="No space left on device")
    _ended()


def _crash(_emit: EventWriter) -> None:
    print("a stack trace of C++", flush=True)
    _ended(7)


def _kill(_emit: EventWriter) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang(_emit: EventWriter) -> None:
    time.sleep(120)


_OUTCOMES = {
    "diverge": _diverge,
    "fail": _fail,
    "out_of_memory": _out_of_memory,
    "disk_full": _disk_full,
    "crash": _crash,
    "kill": _kill,
    "hang": _hang,
}


def main() -> None:
    die_with_parent()
    emit = EventWriter()
    job = read_job(Path(sys.argv[1]))
    emit("started", pid=os.getpid())
    outcomes = json.loads(os.environ.get("FAKE_WORKER", "{}"))
    outcome = outcomes.get(str(job.seed), outcomes.get("*", ""))
    config = Path(job.pipeline_path).read_text(encoding="utf-8")
    (batch,) = map(int, re.findall(r"train_config \{\n  batch_size: (\d+)", config))
    loss = _train(job, emit, batch, outcome)
    metrics = {"AP": 20.0 + batch / 10 + job.seed / 100, "AP50": 40.0, "APs": None}
    with gzip.open(job.results_path, "wt", encoding="utf-8") as file:
        json.dump([], file)
    written = json.dumps({"metrics": metrics, "num_images": 6})
    (Path(job.model_dir) / "metrics.json").write_text(written, encoding="utf-8")
    emit(
        "done",
        timings={"train_seconds": 1.0, "eval_seconds": 1.0},
        final_loss=loss,
        peak_memory_mib=100.0 * batch,
        devices=["/device:CPU:0"],
    )


if __name__ == "__main__":
    main()
