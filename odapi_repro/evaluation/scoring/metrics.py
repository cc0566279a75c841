"""COCO's 12 metrics, for all classes and for each, by either of two scoring engines.

`hotcoco` is the fast one. `pycocotools` is COCO's own: the oracle of the tests, and a choice.
hotcoco 1.3 is known not to follow pycocotools in two corners; classes with one of these are scored
by pycocotools, whichever is chosen:

- An annotation with the id 0. COCOeval notes a match by the annotation's id and takes 0 for no
  match (`dtMatches`), so that whatever finds this one is counted as false.
- Boxes so large or so small that their overlap is NaN, which COCOeval takes for a match.
"""

from __future__ import annotations

import contextlib
import difflib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError, UserError
from odapi_repro.evaluation.coco_data import Detections, GroundTruth, mask_areas
from odapi_repro.evaluation.scoring.detection_matching import IouType, of_type

# --- COCO's precision and recall arrays, by either of two scoring engines ---


_Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EvalArrays:
    """`COCOeval.eval`: precision and scores [T, R, K, A, M], recall [T, K, A, M]."""

    precision: _Array
    recall: _Array
    scores: _Array


def eval_arrays(
    truth: GroundTruth, detections: Detections, iou_type: IouType, engine: str
) -> EvalArrays:
    """Gives the arrays, equal to the last bit by either engine.

    Args:
        truth: with boxes alone, or with masks of compressed run lengths.
        detections: with boxes or with masks, whichever `iou_type` names, and not both.
        iou_type: what overlaps are measured on.
        engine: one of `ENGINES`.
    """
    arrays = _ENGINES[engine](truth, detections, iou_type)
    if engine != "pycocotools":
        _put_right(arrays, truth, detections, iou_type)
    return arrays


def _by_hotcoco(truth: GroundTruth, detections: Detections, iou_type: IouType) -> EvalArrays:
    import hotcoco

    # Images go by their place in COCO's order, which strings have too; no id is 0.
    order = truth.image_order.tolist()
    heights, widths = truth.heights.tolist(), truth.widths.tolist()
    ranks = truth.image_ranks + 1
    coco_truth = hotcoco.COCO.from_arrays(
        [
            {"id": rank, "height": heights[image], "width": widths[image]}
            for rank, image in enumerate(order, start=1)
        ],
        [{"id": k + 1, "name": str(k)} for k in range(truth.num_categories)],
        ranks[truth.images],
        truth.categories.astype(np.int64) + 1,
        truth.boxes,
        ids=np.arange(1, truth.num_annotations + 1),
        area=truth.areas,
        iscrowd=truth.is_crowd.astype(np.int64),
        segmentation=None if truth.masks is None else _dicts(truth.masks),
    )
    rows = np.empty((detections.num, 7))
    rows[:, 0] = ranks[detections.images]
    rows[:, 1:5] = 0 if detections.boxes is None else detections.boxes
    rows[:, 5] = detections.scores
    rows[:, 6] = detections.categories + 1
    areas = detections.areas
    if detections.masks is None:
        found = coco_truth.load_res(rows)
    else:
        found = coco_truth.load_res(rows, segmentation=_dicts(detections.masks))
        areas = mask_areas(detections.masks) if areas is None else areas
    if areas is not None:
        found.update_anns(ids=np.arange(1, detections.num + 1), area=areas)
    evaluation = hotcoco.COCOeval(coco_truth, found, iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    return _arrays_of(evaluation.eval)


def _own(detections: Detections) -> Sequence[float]:
    """Gives the areas that are not those of the boxes; nothing where they are."""
    return () if detections.areas is None else detections.areas.tolist()


def _dicts(masks: Sequence[Any]) -> list[Any]:
    return [dict(mask) for mask in masks]


def _by_pycocotools(truth: GroundTruth, detections: Detections, iou_type: IouType) -> EvalArrays:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco_truth = COCO()
        coco_truth.dataset = truth.to_coco()
        coco_truth.createIndex()
        if detections.num:
            found = coco_truth.loadRes(detections.to_coco(truth))
            for one, area in zip(found.dataset["annotations"], _own(detections), strict=False):
                one["area"] = area
        else:  # `loadRes` looks at the first detection to see what they hold
            found = COCO()
            found.dataset = {**coco_truth.dataset, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(coco_truth, found, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
    return _arrays_of(evaluation.eval)


def _arrays_of(results: Mapping[str, Any] | None) -> EvalArrays:
    if results is None:
        raise RuntimeError("the scoring engine gave no arrays")
    return EvalArrays(*(np.asarray(results[name]) for name in ("precision", "recall", "scores")))


_ENGINES: Final[Mapping[str, Callable[[GroundTruth, Detections, IouType], EvalArrays]]] = {
    "hotcoco": _by_hotcoco,
    "pycocotools": _by_pycocotools,
}
ENGINES: Final = tuple(_ENGINES)
"""The names of the engines, the default first."""


def _put_right(
    arrays: EvalArrays, truth: GroundTruth, detections: Detections, iou_type: IouType
) -> None:
    """Scores again by pycocotools the classes in which hotcoco is known not to follow it."""
    classes = set(truth.categories[truth.ids == 0].tolist())
    if detections.boxes is not None:
        for columns, boxes in ((truth, truth.boxes), (detections, detections.boxes)):
            classes.update(columns.categories[_is_extreme(boxes)].tolist())
    for k in classes:
        alone = truth.subset(truth.categories == k)
        again = _by_pycocotools(alone, detections.subset(detections.categories == k), iou_type)
        arrays.precision[:, :, k] = again.precision[:, :, k]
        arrays.recall[:, k] = again.recall[:, k]
        arrays.scores[:, :, k] = again.scores[:, :, k]


def _is_extreme(boxes: _Array) -> NDArray[np.bool_]:
    """Tells which boxes, [N, 4], may overlap another one by NaN, which COCOeval takes for a match.

    Their areas or corners overflow, or their areas are so small that they are 0 in spite of sides
    above 0, and the overlap is 0 / 0.
    """
    sides = boxes[:, 2:]
    least = min(side.min(initial=1) for side in sides.T)
    if -1e150 < boxes.min(initial=0) <= boxes.max(initial=0) < 1e150 and least > 1e-150:
        return np.zeros(len(boxes), np.bool_)  # all of them, usually
    with np.errstate(over="ignore", under="ignore"):
        areas = boxes[:, 2] * boxes[:, 3]
        corners = boxes[:, :2] + boxes[:, 2:]
    vanished = (areas == 0) & (sides > 0).all(axis=1)
    unbounded = ~np.isfinite(areas) | ~np.isfinite(corners).all(axis=1)
    result: NDArray[np.bool_] = vanished | unbounded
    return result


# --- COCO's 12 metrics, for all classes and for each, with the arrays that they are means of ---


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
