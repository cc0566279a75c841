"""Stands in for the child that runs a network: finds what the records hold, a little off.

The boxes of a pass are off by an amount that its name seeds; score thresholds and caps are kept.
FAKE_EVALUATION_LOG names a file that gets a line `pass variant` for everything that is made.
FAKE_EVALUATION_FAILS is the beginning of the name of a pass that fails.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

# The package need not be installed where the tests run.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.evaluation.inference.evaluation_job import (
    EvaluationJob,
    Pass,
    detections_path,
    images_path,
    read_job,
)
from odapi_repro.trials.child_process import EventWriter


def results(job: EvaluationJob, one: Pass, images: list[AnnotatedImage]) -> list[dict[str, Any]]:
    random = np.random.default_rng(zlib.crc32(one.name.encode()))
    found = []
    for position, image in enumerate(images):
        size = np.array([image.height, image.width, image.height, image.width])
        for box, label in zip(image.boxes * size, image.class_ids, strict=True):
            # Two detections an object, so that something is there to suppress.
            for score in random.uniform(0.05, 1.0, 2):
                ymin, xmin, ymax, xmax = (box + random.normal(0, 3, 4)).tolist()
                result = {
                    "image_id": job.image_ids[position],
                    "category_id": int(label),
                    "bbox": [xmin, ymin, max(1.0, xmax - xmin), max(1.0, ymax - ymin)],
                    "score": float(score),
                }
                if job.with_masks:
                    result["segmentation"] = _mask(image.height, image.width)
                found.append(result)
    return sorted(found, key=lambda result: -result["score"])


def _mask(height: int, width: int) -> dict[str, Any]:
    from pycocotools import mask as mask_api

    pixels = np.zeros((height, width), np.uint8, order="F")
    pixels[: height // 2] = 1
    encoded = mask_api.encode(pixels)
    return {"size": [height, width], "counts": encoded["counts"].decode()}


def kept(found: list[dict[str, Any]], fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The score threshold and the cap of a variant; its other fields do nothing here."""
    short = {path.rsplit(".", 1)[-1]: value for path, value in fields.items()}
    left: dict[Any, int] = {}
    chosen = []
    for result in found:
        image = result["image_id"]
        left.setdefault(image, int(short.get("max_total_detections", 100)))
        if result["score"] > short.get("score_threshold", 0.0) and left[image] > 0:
            left[image] -= 1
            chosen.append(result)
    return chosen


def main() -> None:
    emit = EventWriter()
    job = read_job(Path(sys.argv[1]))
    emit("started", pid=os.getpid())
    emit("imported", patches=[], tensorflow="0.0-fake", seconds=0.5)
    images = [
        AnnotatedImage.from_example(data)
        for file in job.record_files
        for data in read_records(Path(file))
    ][:: job.sample_1_of_n]
    sizes = {"heights": [i.height for i in images], "widths": [i.width for i in images]}
    # Once: the parent reads it after each pass, while the next one runs.
    images_path(job.output_dir).write_text(json.dumps(sizes), encoding="utf-8")
    timings = {}
    for one in job.passes:
        failing = os.environ.get("FAKE_EVALUATION_FAILS")
        if failing and one.name.startswith(failing):
            emit("failed", kind="input", message="the checkpoint does not fit the model")
            return
        emit("restored", build_seconds=1.0, restore_seconds=0.5, **{"pass": one.name})
        found = results(job, one, images)
        for variant in one.variants:
            path = detections_path(job.output_dir, one.name, variant.name)
            path.parent.mkdir(exist_ok=True)
            with gzip.open(path, "wt", encoding="utf-8") as file:
                json.dump(kept(found, dict(variant.fields)), file)
            log = os.environ.get("FAKE_EVALUATION_LOG")
            if log:
                with open(log, "a", encoding="utf-8") as file:
                    file.write(f"{one.name} {variant.name}\n")
        emit("evaluating", images=len(images), **{"pass": one.name})
        timings[one.name] = {
            "build_seconds": 1.0,
            "restore_seconds": 0.5,
            "first_batch_seconds": 0.25,
            "rest_seconds": 0.25,
        }
        emit("pass_done", **{"pass": one.name}, **timings[one.name], images=len(images))
    emit(
        "done", import_seconds=0.5, timings=timings, peak_memory_mib=1.0, devices=["/device:CPU:0"]
    )


if __name__ == "__main__":
    main()
