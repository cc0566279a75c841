"""The child process of one trial: `python -m odapi_repro.execution.worker job.json`.

It applies the compatibility patches, seeds, trains through the OD API's own loop, evaluates the
last checkpoint and writes `losses.csv`, `metrics.json` and the detections. Nothing of it runs in
the parent, so a crash in TensorFlow costs one trial.
"""

from __future__ import annotations

import csv
import ctypes
import json
import math
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from odapi_repro.errors import UserError
from odapi_repro.execution.events import PARENT_PID, EventWriter
from odapi_repro.execution.store import TRAINED
from odapi_repro.training.job import Job, read_job
from odapi_repro.training.observer import Diverged, StepReport

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_DISK_FULL = re.compile(r"No space left on device|ENOSPC|Disk quota exceeded")


def main(argv: list[str]) -> int:
    """Runs the job in `argv[0]`; the outcome is told by events, the exit code is 0 if it was."""
    _die_with_parent()
    emit = EventWriter()
    job = read_job(Path(argv[0]))
    emit("started", pid=os.getpid())
    # AutoGraph leaves a file for every function it converts, and `_exit` below skips its cleaning.
    scratch = Path(job.model_dir) / f"scratch-{os.getpid()}"
    try:
        scratch.mkdir()
        tempfile.tempdir = str(scratch)
        _run(job, emit)
    except Diverged as error:
        # Inside a compiled call of several steps, the first of them is what is known.
        last_step = error.step + (job.steps_per_iteration - 1 if error.in_graph else 0)
        emit("diverged", step=error.step, last_step=last_step, loss=str(error.loss))
    except UserError as error:
        emit("failed", kind="input", message=str(error))
    except MemoryError:
        emit("failed", kind="out_of_memory", message="the host ran out of memory")
    except BaseException as error:
        # First the event: on a full disk the log cannot be written.
        emit("failed", kind=_kind(error), message=_first_lines(error))
        traceback.print_exc()
    shutil.rmtree(scratch, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow's threads may outlive the interpreter's end and abort it; all is written.
    os._exit(0)


def _die_with_parent() -> None:
    """Asks Linux to kill this process when its parent dies; elsewhere a broken pipe ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # It may have died before the line above.
        parent = os.environ.get(PARENT_PID)
        if parent and os.getppid() != int(parent):
            os._exit(1)


def _run(job: Job, emit: EventWriter) -> None:
    began = time.monotonic()
    from odapi_repro.training.compat import apply_patches
    from odapi_repro.training.seeds import limit_threads, set_seeds

    if job.fixed_op_order:
        limit_threads()
    patches = apply_patches()
    import tensorflow as tf
    from object_detection import model_lib_v2

    assert model_lib_v2 is not None
    from odapi_repro.training.extensions import enable_extensions
    from odapi_repro.training.tracing import skip_autograph_in_od_api

    if job.fast_tracing:
        skip_autograph_in_od_api()
    enable_extensions(job.extensions)
    imported = time.monotonic()
    emit("imported", patches=patches, tensorflow=tf.__version__, seconds=imported - began)
    set_seeds(job.seed, deterministic=job.deterministic)
    timings = {"import_seconds": imported - began}
    trained = Path(job.model_dir) / TRAINED
    if job.train:
        took = _train(job, LossLog(Path(job.model_dir) / "losses.csv"), emit)
        _write_json(trained, took)
    timings.update(json.loads(trained.read_text(encoding="utf-8")))
    if job.evaluate and _is_chief(job):
        timings.update(_evaluate(job, emit))
    emit(
        "done",
        timings=timings,
        final_loss=_final_loss(Path(job.model_dir) / "losses.csv"),
        peak_memory_mib=_peak_memory_mib(tf, job.device),
        devices=[device.name for device in tf.config.list_logical_devices(job.device.upper())],
    )


def _is_chief(job: Job) -> bool:
    """Whether this worker keeps the checkpoints (the OD API's others delete theirs)."""
    if job.num_workers == 1:
        return True
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    return task.get("type") == "chief" or (
        task.get("type") == "worker" and int(task.get("index", 0)) == 0
    )


def _final_loss(path: Path) -> float | None:
    """Gives the total loss of the last row of losses.csv, None without one."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return float(rows[-1]["total_loss"]) if rows else None


def _train(job: Job, losses: LossLog, emit: EventWriter) -> dict[str, float]:
    from odapi_repro.training.loop import train

    began = time.monotonic()
    reports: list[float] = []

    def on_step(report: StepReport) -> None:
        reports.append(time.monotonic())
        losses.write(report)
        loss = report.losses.get("Loss/total_loss", math.nan)
        emit(
            "step",
            step=report.step,
            loss=loss if math.isfinite(loss) else str(loss),
            learning_rate=report.learning_rate,
            seconds=report.elapsed_seconds,
            steps_in_report=job.steps_per_iteration,
        )

    replicas = train(job, on_step)
    ended = time.monotonic()
    first = reports[0] if reports else ended
    # The first report holds tracing and its own step; what one more step costs is taken off it.
    per_report = (reports[-1] - first) / (len(reports) - 1) if len(reports) > 1 else 0.0
    timings = {
        "trace_seconds": max(0.0, first - began - per_report),
        "train_seconds": (reports[-1] - first if reports else 0.0) + per_report,
        "save_seconds": ended - (reports[-1] if reports else began),
    }
    emit("trained", replicas=replicas, **timings)
    return timings


def _evaluate(job: Job, emit: EventWriter) -> dict[str, float]:
    from odapi_repro.datasets.label_map import read_label_map
    from odapi_repro.datasets.records import resolve_patterns
    from odapi_repro.evaluation.detection import detect, latest_checkpoint
    from odapi_repro.evaluation.evaluate import as_json, score_images
    from odapi_repro.pipeline import load_pipeline
    from odapi_repro.training.seeds import ops_in_fixed_order

    began = time.monotonic()
    first: list[float] = []

    def on_images(count: int) -> None:
        first.append(time.monotonic())
        emit("evaluating", images=count)

    with ops_in_fixed_order(job.fixed_op_order):
        images = detect(job.pipeline_path, latest_checkpoint(job.model_dir), on_images)
    reader = load_pipeline(job.pipeline_path).proto.eval_input_reader[0]
    evaluation = score_images(
        images,
        resolve_patterns(list(reader.tf_record_input_reader.input_path)),
        read_label_map(reader.label_map_path),
        with_masks=job.with_masks,
        sample_1_of_n=reader.sample_1_of_n_examples,
    )
    evaluation.write_detections(Path(job.results_path))
    _write_json(Path(job.model_dir) / "metrics.json", as_json(evaluation))
    traced = first[0] if first else began
    return {
        "eval_trace_seconds": traced - began,
        "eval_seconds": time.monotonic() - traced,
    }


class LossLog:
    """`losses.csv`: step, learning rate and every loss, a row a report; a resumed trial adds."""

    def __init__(self, path: Path) -> None:
        self._resumed = path.exists() and path.stat().st_size > 0
        self._file = open(path, "a", encoding="utf-8", newline="\n", buffering=1)  # noqa: SIM115
        self._names: list[str] = []

    def write(self, report: StepReport) -> None:
        """Adds a row; floats are written so that they read back to the same bits."""
        if not self._names:
            self._names = sorted(report.losses)
            header = [name.removeprefix("Loss/") for name in self._names]
            if not self._resumed:
                self._file.write(",".join(["step", "learning_rate", *header]) + "\n")
        values = [report.learning_rate, *(report.losses[name] for name in self._names)]
        self._file.write(",".join([str(report.step), *map(repr, values)]) + "\n")


def _peak_memory_mib(tf: Any, device: str) -> float:
    """Gives peak memory of the first device, or of the process on CPU (ru_maxrss is in KiB)."""
    if device == "gpu":
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _kind(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if _DISK_FULL.search(text):
        return "disk_full"
    if "ResourceExhausted" in text or "OOM when allocating" in text:
        return "out_of_memory"
    return "error"


def _first_lines(error: BaseException, count: int = 6) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    shown = lines if len(lines) <= count else [*lines[:2], "...", *lines[-(count - 3) :]]
    return "\n".join([f"{type(error).__name__}: {shown[0] if shown else ''}", *shown[1:]])


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
