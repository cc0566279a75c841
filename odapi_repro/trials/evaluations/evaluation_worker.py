"""The child process of an evaluation; its argument is the path of a `job.json`.

Like the worker that trains it applies the compatibility patches and tells what it does by events:
`started imported restored evaluating pass_done`, and at the end `done` or `failed`.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from odapi_repro.errors import EnvironmentMissing
from odapi_repro.evaluation.inference.evaluation_job import EvaluationJob, read_job
from odapi_repro.trials.child_process import (
    EventWriter,
    die_with_parent,
    peak_memory_mib,
    work_and_exit,
)


def main(argv: list[str]) -> NoReturn:
    """Runs the job in `argv[0]`; the outcome is told by events, the exit code is 0 if it was."""
    die_with_parent()
    emit = EventWriter()
    job = read_job(Path(argv[0]))
    emit("started", pid=os.getpid())
    work_and_exit(lambda: _run(job, emit), emit, Path(job.output_dir))


def _run(job: EvaluationJob, emit: EventWriter) -> None:
    began = time.monotonic()
    from odapi_repro.training.compat import apply_patches
    from odapi_repro.training.seeds import limit_threads, ops_in_fixed_order, set_seeds

    in_order = job.deterministic and job.device == "cpu"
    if in_order:
        limit_threads()
    patches = apply_patches()
    import tensorflow as tf

    _choose_device(tf, job.device)
    if job.extensions:
        from odapi_repro.training.extensions import enable_extensions

        enable_extensions(job.extensions)
    from odapi_repro.evaluation.inference.passes import run_job

    seconds = time.monotonic() - began
    emit("imported", patches=patches, tensorflow=tf.__version__, seconds=seconds)
    set_seeds(0, deterministic=job.deterministic)
    with ops_in_fixed_order(in_order):
        timings = run_job(job, emit)
    emit(
        "done",
        import_seconds=seconds,
        timings={name: dataclasses.asdict(one) for name, one in timings.items()},
        peak_memory_mib=peak_memory_mib(tf, job.device),
        devices=[device.name for device in tf.config.list_logical_devices(job.device.upper())],
    )


def _choose_device(tf: Any, device: str) -> None:
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not tf.config.list_physical_devices(device.upper()):
        raise EnvironmentMissing(
            f"no {device.upper()} that TensorFlow {tf.__version__} can use",
            expected=f"at least one {device.upper()} device",
            mend="choose --device cpu, or see what `odapi-repro doctor` says of drivers and CUDA",
        )


if __name__ == "__main__":
    main(sys.argv[1:])
