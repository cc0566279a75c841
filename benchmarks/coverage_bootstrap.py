"""How often the intervals of `evaluation.uncertainty.bootstrap` cover, on simulated detections.

A large population of images is simulated, with boxes that are matched like any others, and scored
once. Then sets of images are drawn from it, two models are resampled on each, and it is counted how
often an interval covers the truth: for AP, AP50, AP75 and AR100 of one model and for the difference
of the two. There are two truths: what sets of so many images give on average (known from all the
sets drawn), which `low` and `high` are about, and what the population scores, which `limit_low` and
`limit_high` are about. Both are means over the classes that a set holds. Beside our intervals stand
those that were left aside, from the same resamples. One JSON line a quantity; coverages come as
[of sets of this size, of the population], with the Monte Carlo standard error of 95 %.

What makes it hard is there: images are clusters (a hard image lowers scores, overlaps and recall of
all its objects, and of both models), class frequencies fall geometrically down to classes that some
sets and many resamples do not hold, objects are of all sizes, and there are duplicates and false
alarms.

    python benchmarks/coverage_bootstrap.py --images 80 --sets 1000
    python benchmarks/coverage_bootstrap.py --images 1000 --sets 300

Two cores take about 10 minutes for each. `docs/uncertainty.md` has the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from odapi_repro.evaluation.coco_data import Detections, GroundTruth
from odapi_repro.evaluation.scoring.detection_matching import Matches, match
from odapi_repro.evaluation.scoring.metrics import METRIC_NAMES
from odapi_repro.evaluation.uncertainty.bootstrap import Resampled, intervals_of, resample
from odapi_repro.evaluation.uncertainty.weighted_metrics import weighted_metrics

_SIZE = 640.0
_METRICS = ("AP", "AP50", "AP75", "AR100")
_NORMAL_95 = 1.959964


@dataclasses.dataclass(frozen=True)
class World:
    """What images are drawn from.

    Attributes:
        classes: how many.
        commonest, rarest: share of the images that the first and the last class are on; those
            between fall geometrically.
        skill: of the first model, as a logit; 1 gives an AP of about 30.
        gain: by how much the second one is better.
        false_alarms: an image and class.
        image_effect: standard deviation of what an image adds to the logits of all its objects.
    """

    classes: int = 12
    commonest: float = 0.45
    rarest: float = 0.05
    skill: float = 1.0
    gain: float = 0.25
    false_alarms: float = 0.25
    image_effect: float = 0.7


def simulate(
    world: World, num_images: int, seed: int
) -> tuple[GroundTruth, tuple[Detections, Detections]]:
    """Gives ground truth and what two models of one kind find in it."""
    rng = np.random.default_rng(seed)
    shares = np.geomspace(world.commonest, world.rarest, world.classes)
    class_effect = rng.normal(0, 0.6, world.classes)
    image_effect = rng.normal(0, world.image_effect, num_images)
    is_on = rng.random((num_images, world.classes)) < shares
    counts = np.where(is_on, 1 + rng.poisson(0.9, is_on.shape), 0)
    images, classes = _expand(counts)
    boxes = _boxes(rng, len(images))
    truth = GroundTruth(
        image_ids=tuple(range(1, num_images + 1)),
        file_names=("",) * num_images,
        heights=np.full(num_images, int(_SIZE)),
        widths=np.full(num_images, int(_SIZE)),
        category_ids=tuple(range(1, world.classes + 1)),
        category_names=tuple(f"class {k}" for k in range(world.classes)),
        ids=np.arange(1, len(images) + 1),
        images=images,
        categories=classes,
        boxes=boxes,
        areas=boxes[:, 2] * boxes[:, 3],
        is_crowd=np.zeros(len(images), np.bool_),
    )
    size_effect = np.log(boxes[:, 2] * boxes[:, 3]) / 2 - 4.1
    ease = image_effect[images] + class_effect[classes] + 0.5 * size_effect
    # Both models look at the same pixels: half of what is left is common to them.
    common = rng.normal(0, 1, len(images))
    models = []
    for skill in (world.skill, world.skill + world.gain):
        logit = skill + ease
        found = np.flatnonzero(rng.random(len(images)) < special.expit(logit))
        twice = found[rng.random(len(found)) < 0.2]
        alarms = rng.poisson(
            world.false_alarms * np.exp(-0.3 * image_effect - 0.3 * (skill - 1))[:, None],
            (num_images, world.classes),
        )
        alarm_images, alarm_classes = _expand(alarms)
        noise = 0.7 * common + 0.7 * rng.normal(0, 1, len(images))
        scores = [
            0.8 * logit[found] + noise[found],
            0.8 * logit[twice] - 1.3 + rng.normal(0, 1, len(twice)),
            0.6 * class_effect[alarm_classes] - 1.2 + rng.normal(0, 1, len(alarm_images)),
        ]
        spread = 0.07 * np.exp(-0.3 * (logit - 1))
        models.append(
            Detections(
                images=np.concatenate([images[found], images[twice], alarm_images]),
                categories=np.concatenate([classes[found], classes[twice], alarm_classes]),
                boxes=np.concatenate(
                    [
                        _shaken(rng, boxes[found], spread[found]),
                        _shaken(rng, boxes[twice], 2 * spread[twice]),
                        _boxes(rng, len(alarm_images)),
                    ]
                ),
                scores=special.expit(np.concatenate(scores)),
            )
        )
    return truth, (models[0], models[1])


def _expand(counts: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    images, classes = np.nonzero(counts)
    times = counts[images, classes]
    return np.repeat(images, times).astype(np.int32), np.repeat(classes, times).astype(np.int32)


def _boxes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    sides = np.exp(rng.normal(4.1, 0.9, (count, 1)) + rng.normal(0, 0.25, (count, 2)))
    sides = sides.clip(6, 300)
    return np.concatenate([rng.random((count, 2)) * (_SIZE - sides), sides], axis=1)


def _shaken(
    rng: np.random.Generator, boxes: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    spread = spread * np.exp(0.3 * rng.normal(0, 1, len(boxes)))
    moved = boxes + rng.normal(0, 1, boxes.shape) * spread[:, None] * boxes[:, [2, 3, 2, 3]]
    moved[:, 2:] = moved[:, 2:].clip(1)
    return moved


def part_of(matches: Matches, images: NDArray[np.int64]) -> Matches:
    """Gives the matches of some images, numbered anew: matching is within images."""
    numbers = np.full(matches.num_images, -1, np.int32)
    numbers[images] = np.arange(len(images))
    kept = np.flatnonzero(numbers[matches.images] >= 0)
    order = np.lexsort(
        (matches.ranks[kept], numbers[matches.images[kept]], matches.categories[kept])
    )
    kept = kept[order]
    truths = np.flatnonzero(numbers[matches.truth_images] >= 0)
    return dataclasses.replace(
        matches,
        num_images=len(images),
        rows=matches.rows[kept],
        images=numbers[matches.images[kept]],
        categories=matches.categories[kept],
        scores=matches.scores[kept],
        ranks=matches.ranks[kept],
        matched=matches.matched[:, :, kept],
        ignored=matches.ignored[:, :, kept],
        ground_truth=matches.ground_truth[:, kept],
        image_ranks=np.arange(len(images)),
        truth_images=numbers[matches.truth_images[truths]],
        truth_categories=matches.truth_categories[truths],
        truth_ignored=matches.truth_ignored[:, truths],
    )


@dataclasses.dataclass
class Tally:
    """What was seen of one quantity, a list entry a set.

    Attributes:
        values: COCO's figure.
        limits: the population's, of the classes that the set holds.
        se, excess: as `Interval` has them.
        resampled_excess: by how much the mean of the resamples lies above the value.
        ends: low and high, by method.
    """

    values: list[float] = dataclasses.field(default_factory=list)
    limits: list[float] = dataclasses.field(default_factory=list)
    se: list[float] = dataclasses.field(default_factory=list)
    excess: list[float] = dataclasses.field(default_factory=list)
    resampled_excess: list[float] = dataclasses.field(default_factory=list)
    ends: dict[str, list[tuple[float, float]]] = dataclasses.field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """Gives what is said of it."""
        errors = np.subtract(self.values, self.limits)
        averages = np.array(self.limits) + errors.mean()

        def coverage(method: str) -> list[float]:
            low, high = np.transpose(self.ends[method])
            return [
                round(float(np.mean((low <= target) & (target <= high))), 3)
                for target in (averages, np.array(self.limits))
            ]

        widths = {
            method: round(float(np.mean(np.diff(self.ends[method], axis=1))), 2)
            for method in ("ours", "limit")
        }
        return {
            "population": round(float(np.mean(self.limits)), 2),
            "mean_error": round(float(errors.mean()), 3),
            "mean_excess": round(float(np.mean(self.excess)), 3),
            "mean_resampled_excess": round(float(np.mean(self.resampled_excess)), 3),
            "sd": round(float(errors.std(ddof=1)), 3),
            "mean_se": round(float(np.mean(self.se)), 3),
            "widths": widths,
            "monte_carlo_se": round(math.sqrt(0.95 * 0.05 / len(errors)), 4),
            "coverage": {method: coverage(method) for method in self.ends},
        }


def tally(counted: dict[str, Tally], resampled: Resampled, truth: NDArray[np.float64]) -> None:
    """Adds one set. `truth`: [12, K], the population's."""
    ours = intervals_of(resampled)
    for name in _METRICS:
        metric = METRIC_NAMES.index(name)
        scored = ~np.isnan(resampled.values[metric])
        one = counted.setdefault(f"{name} difference" if resampled.is_difference else name, Tally())
        result = ours[name]
        limit = (result.limit_low, result.limit_high)
        one.values.append(result.value)
        one.limits.append(float(truth[metric, scored].mean()))
        one.se.append(result.se)
        one.excess.append(result.excess or 0.0)
        one.resampled_excess.append(
            float(resampled.replicates[metric, scored].mean()) - result.value
        )
        ends = {
            "ours": (result.low, result.high),
            "limit": (result.low, result.high) if result.excess is None else limit,
            **dict(_others(resampled, metric, scored, result.value)),
        }
        for method, interval in ends.items():
            one.ends.setdefault(method, []).append(interval)


def _others(
    resampled: Resampled, metric: int, scored: NDArray[np.bool_], value: float
) -> Iterator[tuple[str, tuple[float, float]]]:
    """The textbook's intervals, classes that vanish at their own value unless it says otherwise."""
    replicates = resampled.replicates[metric, scored]
    means = replicates.mean(axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    yield "percentile", (low, high)
    yield "basic", (2 * value - high, 2 * value - low)
    reach = _NORMAL_95 * float(means.std(ddof=1))
    yield "normal", (value - reach, value + reach)
    shift = value - float(means.mean())
    yield "normal, resampled bias off", (value + shift - reach, value + shift + reach)
    below = np.clip(np.mean(means < value), 1 / len(means), 1 - 1 / len(means))
    bias = 2 * special.ndtri(below)
    bc = np.quantile(means, special.ndtr([bias - _NORMAL_95, bias + _NORMAL_95]))
    yield "bias-corrected percentile", (bc[0], bc[1])
    held = ~resampled.vanished[metric, scored]
    dropped = np.where(held, replicates, 0).sum(axis=0) / np.maximum(held.sum(axis=0), 1)
    low, high = np.quantile(dropped, [0.025, 0.975])
    yield "percentile, vanished classes dropped", (low, high)


def main() -> None:
    """Prints one JSON line a quantity."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--population", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    for field in dataclasses.fields(World):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    flags = parser.parse_args()
    world = World(**{field.name: getattr(flags, field.name) for field in dataclasses.fields(World)})

    begun = time.perf_counter()
    truth, detections = simulate(world, flags.population, flags.seed)
    models = [match(truth, found) for found in detections]
    once = np.ones((1, flags.population), np.int64)
    first, second = (weighted_metrics(model, once, sizes=False)[:, :, 0] for model in models)
    rng = np.random.default_rng(flags.seed + 1)
    counted: dict[str, Tally] = {}
    fewest, vanished = [], []
    for number in range(flags.sets):
        images = rng.choice(flags.population, flags.images, replace=False)
        ours, theirs = (
            resample(part_of(model, images), flags.resamples, number, sizes=False)
            for model in models
        )
        tally(counted, ours, first)
        tally(counted, theirs.minus(ours), second - first)
        fewest.append(ours.images[0].min())
        vanished.append(ours.vanished[0].any(axis=0).mean())
    shared: dict[str, Any] = {
        "benchmark": "bootstrap_coverage",
        **dataclasses.asdict(world),
        "images": flags.images,
        "sets": flags.sets,
        "resamples": flags.resamples,
        "rarest_class_images_mean": round(float(np.mean(fewest)), 2),
        "resamples_without_some_class": round(float(np.mean(vanished)), 3),
    }
    for name, one in counted.items():
        print(json.dumps({**shared, "metric": name, **one.line()}), flush=True)
    print(json.dumps({**shared, "seconds": round(time.perf_counter() - begun)}))


if __name__ == "__main__":
    main()
