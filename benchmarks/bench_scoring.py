"""Seconds to COCO's 12 numbers on synthetic images, against pycocotools and hotcoco alone.

Two lines of JSON. `scoring` begins with the parsed data in memory, the same lists of dicts for
all: for pycocotools and hotcoco the index, `loadRes`, `evaluate`, `accumulate` and `summarize`, for
ours columns from the dicts, with every check, and `score`. `scoring_from_files` begins with the two
JSON files on disk: pycocotools is charged what `json.load` takes on top of the above (it is what
`COCO(file)` and `loadRes(file)` call), hotcoco reads them itself, ours is `read_ground_truth`,
`read_detections` and `score`.

`ratio` is of wall seconds, pycocotools' to ours; `cpu_ratio` is of processor seconds of all threads
and child processes, which a busy machine changes less. `hotcoco_ratio` and `hotcoco_cpu_ratio` are
pycocotools' to hotcoco's: what the engine alone would give, without our checks. Both lines say by
how much any of the 12 numbers, and any entry of the precision, recall and score arrays behind them,
differs. Ours and hotcoco are the median of several runs, pycocotools runs once.

docs/evaluation.md quotes `scoring.jsonl`, which is what two runs of this have printed:

    python benchmarks/bench_scoring.py 5000 90 5 > benchmarks/scoring.jsonl
    python benchmarks/bench_scoring.py 1000 90 5 >> benchmarks/scoring.jsonl
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from synthetic_coco import synthetic_coco

from odapi_repro.evaluation.coco_data import (
    detections_of,
    ground_truth_of,
    read_detections,
    read_ground_truth,
)
from odapi_repro.evaluation.scoring.metrics import Scores, score

LEAST_RATIO = 30.0
MOST_DIFFERENCE = 1e-9

Json = dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """Seconds of each part, and processor seconds of all."""

    parts: dict[str, float]
    cpu: float

    @property
    def wall(self) -> float:
        return sum(self.parts.values())


class Clock:
    """Notes what each part took."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = {}
        self._cpu = cpu_seconds()
        self._last = time.perf_counter()

    def part(self, name: str) -> None:
        now = time.perf_counter()
        self._parts[name] = now - self._last
        self._last = now

    def timing(self) -> Timing:
        return Timing(self._parts, cpu_seconds() - self._cpu)


def cpu_seconds() -> float:
    """Gives processor seconds so far, of all threads and of the child processes that have ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def main(num_images: int = 5000, detections_per_image: int = 90, runs: int = 5) -> int:
    """Prints both lines."""
    small = synthetic_coco(20, 10, 1)
    score_in_memory(*small)  # imports
    by_hotcoco(*small)
    truth, results = synthetic_coco(num_images, detections_per_image, 0)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("instances.json", "results.json")]
        for file, content in zip(files, (truth, results), strict=True):
            file.write_text(json.dumps(content))
        from_files, _ = middle(runs, lambda: score_files(*files))
        engine_from_files, _ = middle(runs, lambda: by_hotcoco(*map(str, files)))
        loading, _ = middle(runs, lambda: load(*files))
    engine, _ = middle(runs, lambda: by_hotcoco(truth, results))
    from_memory, ours = middle(runs, lambda: score_in_memory(truth, results))
    # Last, as it writes into what it is given.
    peer, evaluation = by_pycocotools(truth, results)
    peer_from_files = Timing({**loading.parts, **peer.parts}, loading.cpu + peer.cpu)
    differences = largest_differences(ours, evaluation)
    for name, ours_timing, engine_timing, peer_timing in (
        ("scoring", from_memory, engine, peer),
        ("scoring_from_files", from_files, engine_from_files, peer_from_files),
    ):
        ratio = peer_timing.wall / ours_timing.wall
        line = {
            "benchmark": name,
            "images": num_images,
            "detections": len(results),
            "runs": runs,
            "pycocotools_seconds": round(peer_timing.wall, 3),
            "odapi_repro_seconds": round(ours_timing.wall, 3),
            "ratio": round(ratio, 1),
            "pycocotools_cpu_seconds": round(peer_timing.cpu, 3),
            "odapi_repro_cpu_seconds": round(ours_timing.cpu, 3),
            "cpu_ratio": round(peer_timing.cpu / ours_timing.cpu, 1),
            "hotcoco_seconds": round(engine_timing.wall, 3),
            "hotcoco_ratio": round(peer_timing.wall / engine_timing.wall, 1),
            "hotcoco_cpu_seconds": round(engine_timing.cpu, 3),
            "hotcoco_cpu_ratio": round(peer_timing.cpu / engine_timing.cpu, 1),
            **differences,
            "least_ratio": LEAST_RATIO,
            "met": ratio >= LEAST_RATIO and max(differences.values()) <= MOST_DIFFERENCE,
            "pycocotools_parts": {k: round(v, 3) for k, v in peer_timing.parts.items()},
            "odapi_repro_parts": {k: round(v, 3) for k, v in ours_timing.parts.items()},
            "hotcoco_parts": {k: round(v, 3) for k, v in engine_timing.parts.items()},
        }
        print(json.dumps(line), flush=True)
    return 0


def score_in_memory(truth: Json, results: list[Json]) -> tuple[Timing, Scores]:
    clock = Clock()
    columns = ground_truth_of(truth)
    detections = detections_of(results, columns)
    clock.part("columns")
    scores = score(columns, detections)
    clock.part("score")
    return clock.timing(), scores


def score_files(truth: Path, results: Path) -> tuple[Timing, Scores]:
    clock = Clock()
    columns = read_ground_truth(truth)
    detections = read_detections(results, columns)
    clock.part("read")
    scores = score(columns, detections)
    clock.part("score")
    return clock.timing(), scores


def load(*files: Path) -> tuple[Timing, None]:
    clock = Clock()
    for file in files:
        with open(file) as opened:
            content = json.load(opened)
        clock.part(f"json.load {file.stem}")
        del content
    return clock.timing(), None


def by_pycocotools(truth: Json, results: list[Json]) -> tuple[Timing, Any]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    clock = Clock()
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        clock.part("createIndex")
        found = coco.loadRes(results)
        clock.part("loadRes")
        evaluation = COCOeval(coco, found, "bbox")
        evaluation.evaluate()
        clock.part("evaluate")
        evaluation.accumulate()
        clock.part("accumulate")
        evaluation.summarize()
        clock.part("summarize")
    return clock.timing(), evaluation


def by_hotcoco(truth: Any, results: Any) -> tuple[Timing, Any]:
    """Scores by the engine alone, from dicts or from the names of files."""
    import hotcoco

    clock = Clock()
    with contextlib.redirect_stdout(io.StringIO()):
        coco = hotcoco.COCO(truth)
        clock.part("createIndex")
        found = coco.load_res(results)
        clock.part("loadRes")
        evaluation = hotcoco.COCOeval(coco, found, "bbox")
        evaluation.evaluate()
        clock.part("evaluate")
        evaluation.accumulate()
        clock.part("accumulate")
        evaluation.summarize()
        clock.part("summarize")
    return clock.timing(), None


def middle(runs: int, once: Callable[[], tuple[Timing, Any]]) -> tuple[Timing, Any]:
    """Gives the run of median length and what it gave."""
    timed = sorted((once() for _ in range(runs)), key=lambda one: one[0].wall)
    return timed[runs // 2]


def largest_differences(ours: Scores, evaluation: Any) -> dict[str, float]:
    """Gives by how much, as a fraction of 1, numbers and arrays differ at most."""
    numbers = [-1.0 if value is None else value / 100.0 for value in ours.metrics.values()]
    arrays = {name: getattr(ours, name) for name in ("precision", "recall", "scores")}
    return {
        "largest_difference": float(np.abs(np.subtract(numbers, evaluation.stats)).max()),
        "largest_difference_in_arrays": max(
            float(np.abs(array - evaluation.eval[name]).max()) for name, array in arrays.items()
        ),
    }


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
