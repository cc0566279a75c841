"""COCO's 12 metrics, for all classes and for each, with the arrays that they are means of."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError, UserError
from odapi_repro.evaluation.coco_data import Detections, GroundTruth
from odapi_repro.evaluation.scoring.engines import ENGINES, eval_arrays
from odapi_repro.evaluation.scoring.iou_types import IouType, of_type

METRIC_NAMES: Final = (
    "AP",
    "AP50",
    "AP75",
    "APs",
    "APm",
    "APl",
    "AR1",
    "AR10",
    "AR100",
    "ARs",
    "ARm",
    "ARl",
)
"""The 12 metrics in the order of `COCOeval.stats`."""

_Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """What COCO says of a set of detections.

    T = 10 IoU thresholds (0.50, 0.55 ... 0.95), R = 101 recall thresholds (0, 0.01 ... 1), K
    categories as in `GroundTruth.category_ids`, A = 4 area ranges (all, small, medium, large), M =
    3 caps on the detections of an image and class (1, 10, 100). The arrays are `COCOeval.eval`'s:
    fractions, and -1 where a category has no ground truth that counts.

    Attributes:
        iou_type: `bbox` or `segm`.
        metrics: the 12 by name, in points (0 to 100); None where COCO says -1.
        per_class: the same for each category alone, by its index.
        precision: [T, R, K, A, M], the highest precision at a recall of at least the threshold.
        recall: [T, K, A, M], the highest recall.
        scores: [T, R, K, A, M], the score of the detection with which `precision`'s recall
            threshold is reached, 0 where it is not reached.
    """

    iou_type: IouType
    metrics: Mapping[str, float | None]
    per_class: Mapping[int, Mapping[str, float | None]]
    precision: _Array
    recall: _Array
    scores: _Array


def score(
    truth: GroundTruth,
    detections: Detections,
    iou_type: IouType = "bbox",
    *,
    engine: str = "hotcoco",
) -> Scores:
    """Gives COCO's metrics of boxes or of masks.

    Masks are scored as from a results file without `bbox`: a detection's area is its mask's. (In a
    file that holds both, pycocotools' `loadRes` looks for `bbox` first and takes the area of the
    box, which moves detections between small, medium and large; Detectron2 leaves `bbox` out for
    that reason.) No detections at all score 0; where there is nothing to find, there is no number.

    Args:
        truth: the ground truth.
        detections: of its images and classes.
        iou_type: what overlaps are measured on.
        engine: `hotcoco` or `pycocotools`.

    Raises:
        DataError: boxes are asked for and there are masks only, or the other way round; masks of
            the ground truth that are none.
        UserError: another engine.

    Source: pycocotools' `COCOeval` with the `Params` it comes with.
    """
    if engine not in ENGINES:
        near = difflib.get_close_matches(engine.lower(), ENGINES, n=1)
        raise UserError(
            f"there is no scoring engine '{engine}'",
            expected=" or ".join(ENGINES),
            mend=f"did you mean '{near[0]}'?" if near else "",
        )
    if not np.isfinite(detections.scores).all():
        raise DataError(
            "a detection has a score that is not finite",
            expected="finite scores: they order the detections",
            mend="look for a diverged training in what found them",
            where=detections.where,
        )
    truth, detections = of_type(truth, detections, iou_type)
    arrays = eval_arrays(truth, detections, iou_type, engine)
    by_class = _by_class(arrays.precision, arrays.recall)
    return Scores(
        iou_type=iou_type,
        metrics=_points(_means(by_class)),
        per_class={k: _points(numbers) for k, numbers in enumerate(by_class)},
        precision=arrays.precision,
        recall=arrays.recall,
        scores=arrays.scores,
    )


def _by_class(precision: _Array, recall: _Array) -> _Array:
    """Gives the 12 metrics of each class, [K, 12], fractions or -1.

    COCO's own, of all classes (`COCOeval.summarize`), are means over the entries of the arrays
    that are not -1. A class has all of them or none, at a size and cap, so these means are the
    means of the classes' means.
    """
    ap, ar = precision.mean(axis=(0, 1)), recall.mean(axis=0)
    every_size, most = 0, -1
    return np.stack(
        [
            ap[:, every_size, most],
            precision[0, :, :, every_size, most].mean(axis=0),  # IoU 0.50
            precision[5, :, :, every_size, most].mean(axis=0),  # IoU 0.75
            *ap[:, 1:, most].T,
            *ar[:, every_size].T,
            *ar[:, 1:, most].T,
        ],
        axis=1,
    )


def _means(by_class: _Array) -> _Array:
    """Gives the means over the classes that have a number; -1 where none has."""
    counted = by_class > -1
    sums, counts = np.where(counted, by_class, 0.0).sum(axis=0), counted.sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), -1.0)


def _points(numbers: _Array) -> dict[str, float | None]:
    return {
        name: None if number == -1.0 else 100.0 * number
        for name, number in zip(METRIC_NAMES, numbers.tolist(), strict=True)
    }
