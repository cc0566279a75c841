"""Seconds for 1,000 resamples of 5,000 images and 450,000 detections, in scorings of that set.

A scoring is `evaluation.scoring.metrics.score` with its default engine, columns in memory. The
resamples are what `evaluate` pays for intervals of the 12 metrics, of all classes together and of
each: `match`, which it needs anyway, and `bootstrap.interval`. Scorings before and after are taken,
so that a machine that becomes busy shows in `score_seconds`. One JSON line.

    python benchmarks/bench_bootstrap.py [IMAGES [DETECTIONS_PER_IMAGE [RESAMPLES]]]  # 5000 90 1000
"""

from __future__ import annotations

import json
import statistics
import sys
import time

from synthetic_coco import synthetic_coco

from odapi_repro.evaluation.coco_data import (
    Detections,
    GroundTruth,
    detections_of,
    ground_truth_of,
)
from odapi_repro.evaluation.scoring.detection_matching import match
from odapi_repro.evaluation.scoring.metrics import score
from odapi_repro.evaluation.uncertainty.bootstrap import interval

MOST_SCORINGS = 20.0
MOST_DIFFERENCE = 1e-9


def main(num_images: int = 5000, detections_per_image: int = 90, resamples: int = 1000) -> int:
    """Prints the line."""
    data, results = synthetic_coco(num_images, detections_per_image, 0)
    truth = ground_truth_of(data)
    detections = detections_of(results, truth)

    scores = score(truth, detections)
    scorings = [_score_seconds(truth, detections) for _ in range(3)]
    begun, cpu = time.perf_counter(), time.process_time()
    matches = match(truth, detections)
    matched = time.perf_counter()
    intervals = interval(matches, resamples=resamples)
    done, cpu_done = time.perf_counter(), time.process_time()
    scorings += [_score_seconds(truth, detections) for _ in range(3)]

    per_scoring = statistics.median(scorings)
    ratio = (done - begun) / per_scoring
    difference = max(
        abs(intervals[name].value - value)
        for name, value in scores.metrics.items()
        if value is not None
    )
    ap = intervals["AP"]
    line = {
        "benchmark": "bootstrap",
        "images": num_images,
        "detections": len(results),
        "resamples": resamples,
        "score_seconds": [round(seconds, 3) for seconds in scorings],
        "match_seconds": round(matched - begun, 3),
        "interval_seconds": round(done - matched, 3),
        "cpu_seconds": round(cpu_done - cpu, 3),
        "ratio": round(ratio, 1),
        "most_ratio": MOST_SCORINGS,
        "largest_difference_from_score": difference,
        "ap": {name: round(getattr(ap, name), 3) for name in ("value", "se", "low", "high")},
        "met": ratio <= MOST_SCORINGS and difference <= MOST_DIFFERENCE,
    }
    print(json.dumps(line))
    return 0


def _score_seconds(truth: GroundTruth, detections: Detections) -> float:
    begun = time.perf_counter()
    score(truth, detections)
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
