"""COCO's precision and recall arrays, by either of two scoring engines.

`hotcoco` is the fast one. `pycocotools` is COCO's own: the oracle of the tests, and a choice.
hotcoco 1.3 is known not to follow pycocotools in two corners; classes with one of these are scored
by pycocotools, whichever is chosen:

- An annotation with the id 0. COCOeval notes a match by the annotation's id and takes 0 for no
  match (`dtMatches`), so that whatever finds this one is counted as false.
- Boxes so large or so small that their overlap is NaN, which COCOeval takes for a match.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.coco_data import Detections, GroundTruth, mask_areas
from odapi_repro.evaluation.scoring.iou_types import IouType

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
