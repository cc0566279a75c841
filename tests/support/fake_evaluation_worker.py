"""Stands in for the worker that evaluates: finds one box in every image, in no time.

FAKE_EVALUATION is what happens instead of the second pass; see `_OUTCOMES`. The variants that were
run are added to the file that FAKE_EVALUATION_LOG names.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

# The package need not be installed where the tests run.
from odapi_repro.errors import DataError
from odapi_repro.evaluation.inference.evaluation_job import (
    EvaluationJob,
    Pass,
    detections_path,
    read_job,
    stages_path,
    write_images,
)
from odapi_repro.evaluation.inference.passes import ResultsFile
from odapi_repro.trials.child_process import EventWriter, die_with_parent, work_and_exit


def _fail() -> None:
    raise ValueError("shapes (1,) and (2,) do not match")


def _refuse() -> None:
    raise DataError("the checkpoint lacks head/bias", expected="one of this model")


def _run_out_of_memory() -> None:
    raise MemoryError


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_OUTCOMES = {"fail": _fail, "refuse": _refuse, "memory": _run_out_of_memory, "kill": _kill}


def _run(job: EvaluationJob, emit: EventWriter) -> None:
    emit("imported", patches=[], tensorflow="0.0-fake", seconds=0.0)
    for index, one in enumerate(job.passes):
        if index == 1 and (outcome := os.environ.get("FAKE_EVALUATION")):
            _OUTCOMES[outcome]()
        _run_pass(job, one)
        emit("evaluating", images=job.num_images, **{"pass": one.name})
        emit("pass_done", images=job.num_images, **{"pass": one.name})
    emit("done", timings={})


def _run_pass(job: EvaluationJob, one: Pass) -> None:
    detections_path(job.output_dir, one.name, "").parent.mkdir()
    print(f"the log of {one.name}", flush=True)
    for variant in one.variants:
        with open(os.environ["FAKE_EVALUATION_LOG"], "a", encoding="utf-8") as log:
            log.write(f"{one.name}/{variant.name}\n")
        with ResultsFile(detections_path(job.output_dir, one.name, variant.name)) as file:
            for position in range(job.num_images):
                box = [1.0, 1.0, 4.0 + len(variant.fields), 4.0]
                found = {"category_id": job.category_ids[0], "bbox": box, "score": 0.5}
                file.add(position, [{"image_id": job.image_ids[position], **found}])
    if one.stages:
        np.savez(stages_path(job.output_dir, one.name), starts=np.arange(3))
    width = int(os.environ.get("FAKE_EVALUATION_WIDTH", "32"))
    write_images(job, [24] * job.num_images, [width] * job.num_images)


def main() -> None:
    die_with_parent()
    emit = EventWriter()
    job = read_job(Path(sys.argv[1]))
    emit("started", pid=os.getpid())
    work_and_exit(lambda: _run(job, emit), emit, Path(job.output_dir))


if __name__ == "__main__":
    main()
