"""Images a second of `data convert` against the OD API's create_coco_tf_record, same input.

Two lines of JSON, without and with masks, on a generated set of real-sized JPEGs (about 130 kB) and
7 objects an image. The peer is called past its imports (10 s of TensorFlow), as its own main does,
with 100 shards; ours is a whole call of the command, with its own start, its processes and the
reading of the json. Each is what it can be on all cores: the peer has one process.

`ratio` is of wall seconds of these, `ratio_of_commands` of whole processes, the peer's imports
included, as a user waits for them. `cpu_ratio` is of processor seconds, ours with `--workers=1`
in a run of its own: what is left of the ratio on one core, whatever else the machine does. Runs
alternate; each number is of the median run. With
`same_examples`: how many Examples of both have equal features, but for the PNG's bytes and the keys
that only ours writes; masks are compared by pixels on the first shard.

A third line, `convert_memory`, has the highest sum of resident memory of all our processes while a
json of 500,000 annotations with polygons is converted with masks (its images are one small file).

    python benchmarks/bench_convert.py [FOLDER [IMAGES [RUNS]]]    # a temporary folder, 2000, 3
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import types
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from coco_images import polygons_of, write_coco_images
from PIL import Image

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.example import parse_example
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.datasets.workers.worker_pool import available_cores

LEAST_RATIO = 4.0
MOST_BYTES = 2 << 30
PEER_SHARDS = 100
ANNOTATIONS = 500_000
OBJECTS_PER_IMAGE = 7


@dataclass(frozen=True)
class Timing:
    """Seconds of one run."""

    wall: float
    whole: float
    cpu: float


def main(folder: str = "", num_images: int = 2000, runs: int = 3) -> int:
    """Prints the three lines."""
    with contextlib.ExitStack() as stack:
        root = Path(folder or stack.enter_context(tempfile.TemporaryDirectory()))
        annotations, images = write_coco_images(root / f"set-{num_images}", num_images)
        for masks in (False, True):
            print(json.dumps(compare(root, annotations, images, masks, runs)), flush=True)
        print(json.dumps(memory(root)), flush=True)
    return 0


def compare(
    root: Path, annotations: Path, images: Path, masks: bool, runs: int
) -> dict[str, object]:
    peers, ours, alone = [], [], []
    for _ in range(runs):
        peers.append(run_peer(root / "peer", annotations, images, masks))
        alone.append(run_ours(root / "ours", annotations, images, masks, workers=1))
        ours.append(run_ours(root / "ours", annotations, images, masks))
    same = same_examples(root / "peer", root / "ours")
    count = len(list(images.iterdir()))
    peer, own = (sorted(timings, key=lambda one: one.wall)[runs // 2] for timings in (peers, ours))
    peer_cpu, own_cpu = (
        sorted(one.cpu for one in timings)[runs // 2] for timings in (peers, alone)
    )
    for name in ("peer", "ours"):
        shutil.rmtree(root / name)
    ratio = peer.wall / own.wall
    return {
        "benchmark": "convert_with_masks" if masks else "convert_without_masks",
        "images": count,
        "runs": runs,
        "processes": available_cores(),
        "create_coco_tf_record_images_per_second": round(count / peer.wall, 1),
        "odapi_repro_images_per_second": round(count / own.wall, 1),
        "ratio": round(ratio, 2),
        "ratio_of_commands": round(peer.whole / own.whole, 2),
        "cpu_ratio": round(peer_cpu / own_cpu, 2),
        "peer_seconds": [round(one.wall, 2) for one in peers],
        "our_seconds": [round(one.wall, 2) for one in ours],
        "peer_cpu_ms_per_image": round(1e3 * peer_cpu / count, 3),
        "our_cpu_ms_per_image": round(1e3 * own_cpu / count, 3),
        **same,
        "least_ratio": LEAST_RATIO,
        "met": ratio >= LEAST_RATIO,
    }


def run_peer(output: Path, annotations: Path, images: Path, masks: bool) -> Timing:
    output.mkdir(exist_ok=True)
    arguments = [str(output / "train"), str(annotations), str(images), str(int(masks))]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--peer", *arguments],
        check=True, capture_output=True, text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"},
    )  # fmt: skip
    whole = time.perf_counter() - started
    seconds, cpu = map(float, done.stdout.split()[-2:])
    return Timing(seconds, whole, cpu)


def peer(output: str, annotations: str, images: str, masks: str) -> None:
    """Runs in a process of its own and prints seconds and processor seconds past the imports."""
    # All that the tool wants of contextlib2 has been in contextlib since Python 3.3.
    stub = types.ModuleType("contextlib2")
    stub.ExitStack = contextlib.ExitStack  # type: ignore[attr-defined]
    sys.modules["contextlib2"] = stub
    from object_detection.dataset_tools import create_coco_tf_record

    started, cpu = time.perf_counter(), time.process_time()
    create_coco_tf_record._create_tf_record_from_coco_annotations(
        annotations, images, output, bool(int(masks)), num_shards=PEER_SHARDS
    )
    print(time.perf_counter() - started, time.process_time() - cpu)


def run_ours(
    output: Path, annotations: Path, images: Path, masks: bool, workers: int = 0
) -> Timing:
    """Runs the command; processor seconds are whole with one worker only, which is no child."""
    shutil.rmtree(output, ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    arguments = command(output, annotations, images, masks)
    if workers:
        arguments.append(f"--workers={workers}")
    subprocess.run(arguments, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(seconds, seconds, cpu)


def command(output: Path, annotations: Path, images: Path, masks: bool) -> list[str]:
    return [
        sys.executable, "-m", "odapi_repro.data", "convert",
        f"--annotations={annotations}", f"--image_dir={images}", f"--output_dir={output}",
        f"--shards={PEER_SHARDS}", f"--include_masks={'yes' if masks else 'no'}",
    ]  # fmt: skip


def same_examples(peer_folder: Path, our_folder: Path) -> dict[str, int]:
    """Gives how many Examples are the same, and how many masks of the first shard."""
    only_ours = {"image/object/class/label", "image/object/mask/weight"}
    same = masks_same = masks = 0
    for shard in range(PEER_SHARDS):
        theirs = read_records(peer_folder / f"train-{shard:05d}-of-{PEER_SHARDS:05d}")
        own = read_records(our_folder / f"train-{shard:05d}-of-{PEER_SHARDS:05d}.tfrecord")
        for one, other in zip(theirs, own, strict=True):
            a, b = parse_example(one), parse_example(other)
            keys = set(a) - {"image/object/mask"}
            same += set(b) - only_ours - {"image/object/mask"} == keys and all(
                getattr(a, reader(a.kind(key)))(key).tolist() == b_values(b, key, a.kind(key))
                if a.kind(key) in ("float_list", "int64_list")
                else a.bytes_list(key) == b.bytes_list(key)
                for key in keys
            )
            if shard == 0 and "image/object/mask" in a:
                pairs = zip(
                    AnnotatedImage.from_example(one).masks_png,
                    AnnotatedImage.from_example(other).masks_png,
                    strict=True,
                )
                equal = [np.array_equal(pixels(first), pixels(second)) for first, second in pairs]
                masks, masks_same = masks + len(equal), masks_same + sum(equal)
    return {"same_examples": same, "masks_compared": masks, "same_masks": masks_same}


def reader(kind: str) -> str:
    return "floats" if kind == "float_list" else "ints"


def b_values(example: object, key: str, kind: str) -> list[float]:
    values: list[float] = getattr(example, reader(kind))(key).tolist()
    return values


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.convert("RGB"))[..., 0]


def memory(root: Path) -> dict[str, object]:
    """Converts a large json and watches the memory of all processes."""
    folder = root / "large"
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(images / "one.jpg"), np.full((120, 160, 3), 128, np.uint8))
    annotations = folder / "instances.json"
    write_large_json(annotations)
    output = root / "large-records"
    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    process = subprocess.Popen(
        command(output, annotations, images, True), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    highest = 0
    while process.poll() is None:
        highest = max(highest, resident_bytes(process.pid))
        threading.Event().wait(0.05)
    seconds = time.perf_counter() - started
    size = annotations.stat().st_size
    shutil.rmtree(folder)
    shutil.rmtree(output)
    return {
        "benchmark": "convert_memory",
        "annotations": ANNOTATIONS,
        "json_bytes": size,
        "exit_code": process.returncode,
        "seconds": round(seconds, 1),
        "processes": 1 + available_cores(),
        "highest_sum_of_resident_bytes": highest,
        "most_bytes": MOST_BYTES,
        "met": process.returncode == 0 and highest < MOST_BYTES,
    }


def write_large_json(path: Path) -> None:
    """Writes COCO json an annotation at a time, so that this process stays small too."""
    rng = np.random.default_rng(0)
    images = ANNOTATIONS // OBJECTS_PER_IMAGE + 1
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"categories": [{"id": 1, "name": "thing"}], "images": [')
        file.write(
            ", ".join(
                f'{{"id": {number}, "file_name": "one.jpg", "height": 120, "width": 160}}'
                for number in range(images)
            )
        )
        file.write('], "annotations": [')
        for number in range(ANNOTATIONS):
            x, y, width, height = rng.uniform((0, 0, 4, 4), (100, 60, 60, 60)).tolist()
            polygons, area = polygons_of(rng, x, y, width, height)
            annotation = {
                "id": number, "image_id": number % images, "category_id": 1, "area": area,
                "bbox": [round(x, 2), round(y, 2), round(width, 2), round(height, 2)],
                "iscrowd": 0, "segmentation": polygons,
            }  # fmt: skip
            file.write((", " if number else "") + json.dumps(annotation))
        file.write("]}")


def resident_bytes(pid: int) -> int:
    """Gives the resident memory of a process and all its descendants; shared pages count twice."""
    total = 0
    with contextlib.suppress(OSError, ValueError):
        status = Path(f"/proc/{pid}/statm").read_text()
        total = int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += resident_bytes(int(child))
    return total


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(*sys.argv[2:])
        sys.exit(0)
    sys.exit(main(*sys.argv[1:2], *map(int, sys.argv[2:])))
