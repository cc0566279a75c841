"""Images per second of `data check` on COCO-sized records, in decodings of the same images.

Records of 640 x 480 images are made from the embedded generator, each image written several times
under other ids, without and with masks. What is compared is the census (every record parsed and
hashed, every JPEG and mask decoded and measured) with all rules, and the decoding of the same JPEGs
and masks to their full size by OpenCV in as many processes. `likeness_seconds` is what duplicates
among as many images as COCO has take, from thumbnails of noise of any brightness. Two JSON lines.

    python benchmarks/bench_data_check.py [IMAGES [DISTINCT [LIKENESS]]]      # 4000 200 118287
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.census import ImageColumns
from odapi_repro.datasets.census.duplicates import likeness
from odapi_repro.datasets.label_map import write_label_map
from odapi_repro.datasets.shapes import draw_scene
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP, ShapesSpec
from odapi_repro.datasets.source import DataFlags
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.datasets.workers.worker_pool import available_cores
from odapi_repro.diagnosis.checked_data import check_data
from odapi_repro.diagnosis.outcome import examine_records
from odapi_repro.diagnosis.rules import records

LEAST_RATIO = 0.8
_SHARDS = 16


def main(num_images: int = 4000, distinct: int = 200, likeness_images: int = 118_287) -> int:
    """Prints the lines."""
    begun = time.perf_counter()
    _likeness_of_noise(likeness_images)
    likeness_seconds = time.perf_counter() - begun
    for with_masks in (False, True):
        line = {
            "benchmark": "data_check",
            **_compare(num_images, distinct, with_masks=with_masks),
            "likeness_images": likeness_images,
            "likeness_seconds": round(likeness_seconds, 1),
        }
        print(json.dumps(line), flush=True)
    return 0


def _compare(num_images: int, distinct: int, *, with_masks: bool) -> dict[str, object]:
    workers = available_cores()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _make(folder, num_images, distinct, with_masks=with_masks)
        files = sorted(folder.glob("train-*"))
        size = sum(file.stat().st_size for file in files)
        decode_seconds = [_decode_seconds(files, workers)]
        begun = time.perf_counter()
        checked = check_data(DataFlags(data=scratch), None, annotations={}, workers=workers)
        read = time.perf_counter()
        diagnosis = examine_records(checked.subject, checked.facts, rules=records.RULES)
        done = time.perf_counter()
        decode_seconds.append(_decode_seconds(files, workers))
    ratio = sum(decode_seconds) / 2 / (done - begun)
    return {
        "masks": with_masks,
        "images": num_images,
        "megabytes": round(size / 1e6, 1),
        "boxes": checked.facts.splits[0].boxes,
        "workers": workers,
        "load": round(os.getloadavg()[0], 1),
        "images_per_second": round(num_images / (done - begun), 1),
        "read_seconds": round(read - begun, 2),
        "rules_seconds": round(done - read, 2),
        "decode_seconds": [round(seconds, 2) for seconds in decode_seconds],
        "ratio": round(ratio, 2),
        "least_ratio": LEAST_RATIO,
        "findings": sorted({finding.cause for finding in diagnosis.findings}),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "met": ratio >= LEAST_RATIO,
    }


def _make(folder: Path, num_images: int, distinct: int, *, with_masks: bool) -> None:
    spec = ShapesSpec(image_sizes=((480, 640), (640, 480), (427, 640)), jpeg_quality=92)
    scenes = [
        draw_scene(spec, "train", index).annotated(split="train", jpeg_quality=spec.jpeg_quality)
        for index in range(distinct)
    ]

    if not with_masks:
        scenes = [replace(scene, masks_png=()) for scene in scenes]

    def shard(first: int) -> list[bytes]:
        return [
            replace(scenes[i % distinct], source_id=str(i)).to_example()
            for i in range(first, num_images, _SHARDS)
        ]

    for index in range(_SHARDS):
        name = f"train-{index:05d}-of-{_SHARDS:05d}.tfrecord"
        write_records(folder / name, shard(index))
    write_label_map(SHAPES_LABEL_MAP, folder / "label_map.pbtxt")


def _decode_seconds(files: list[Path], workers: int) -> float:
    begun = time.perf_counter()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(_decode_file, files))
    return time.perf_counter() - begun


def _decode_file(file: Path) -> int:
    cv2.setNumThreads(1)
    count = 0
    for data in read_records(file):
        image = AnnotatedImage.from_example(data)
        encoded = np.frombuffer(image.encoded_image, np.uint8)
        count += cv2.imdecode(encoded, cv2.IMREAD_COLOR) is not None
        for png in image.masks_png:
            cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    return count


def _likeness_of_noise(count: int) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 128, (count, 16, 16, 3), np.uint8)
    noise += rng.integers(0, 128, (count, 1, 1, 1), np.uint8)
    texts = np.full(count, "", object)
    likeness(
        [
            ImageColumns(
                source_id=texts,
                filename=texts,
                file=np.zeros(count, np.int32),
                recorded_size=np.ones((count, 2), np.int32),
                decoded_size=np.ones((count, 2), np.int32),
                orientation=np.ones(count, np.uint8),
                num_boxes=np.zeros(count, np.int32),
                keypoints=np.zeros(count, np.int32),
                visibilities=np.zeros(count, np.int32),
                keypoint_most=np.full(count, np.nan, np.float32),
                digest=np.arange(2 * count, dtype=np.uint64).reshape(-1, 2),
                thumbnail=noise,
            )
        ]
    )


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
