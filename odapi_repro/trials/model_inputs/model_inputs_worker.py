"""The child that draws model inputs; its argument is the path of a `job.json`.

Like the workers that train and evaluate it applies the compatibility patches and seeds, and tells
what it does by events: `started imported`, an `input` or a `refused` for each draw of each record,
and at the end `done` or `failed`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from odapi_repro.datasets.annotations import RefusedInput
from odapi_repro.training.model_input_job import ModelInputJob, read_input_job, write_input
from odapi_repro.trials.child_process import EventWriter, die_with_parent, work_and_exit


def main(argv: list[str]) -> NoReturn:
    """Runs the job in `argv[0]`; the outcome is told by events, the exit code is 0 if it was."""
    die_with_parent()
    emit = EventWriter()
    job = read_input_job(Path(argv[0]))
    emit("started", pid=os.getpid())
    work_and_exit(lambda: _run(job, emit), emit, Path(job.folder))


def _run(job: ModelInputJob, emit: EventWriter) -> None:
    from odapi_repro.training.compat import apply_patches
    from odapi_repro.training.seeds import limit_threads, set_seeds

    limit_threads()
    patches = apply_patches()
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    from odapi_repro.training.model_input_job import draw_inputs

    emit("imported", patches=patches, tensorflow=tf.__version__)
    set_seeds(job.seed, deterministic=True)
    for record, draw, one in draw_inputs(job):
        if isinstance(one, RefusedInput):
            emit("refused", record=record, draw=draw, message=one.message)
            continue
        path = Path(job.folder) / f"input-{record}-{draw}.npz"
        write_input(one, path)
        emit("input", record=record, draw=draw, path=str(path))
    emit("done")


if __name__ == "__main__":
    main(sys.argv[1:])
