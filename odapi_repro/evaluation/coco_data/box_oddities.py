"""Boxes of detections and of ground truth that seem to be no x, y, width, height in pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.box_units import (
    AS_IS,
    MOST_OUTLINES,
    BoxSample,
    are_boxes,
    lie_in_corner,
    misread_boxes,
    share_beyond,
    spread,
)
from odapi_repro.datasets.conversion.png_masks import outline_bounds
from odapi_repro.evaluation.coco_data.box_readings import better_reading
from odapi_repro.evaluation.coco_data.coco_columns import Detections, GroundTruth

_MOST = 0.5
_FAR = 0.05  # of the image's side
_FEW, _FURTHER = 10, 0.25  # so few boxes must all end further beyond it, and be two at least
_SMALL = 32.0**2  # square pixels, the largest that COCO calls small
_LEAST_FILLED = 0.01  # of its box: an outline fills more of it
_FEW_ODD = 0.01  # of the objects


def box_oddities(detections: Detections, truth: GroundTruth) -> list[str]:
    """Gives, as clauses with numbers, why boxes seem to be no x, y, width, height in pixels.

    Where another reading puts them on the objects, it is named. Nothing is said of where they lie
    if the ground truth's own boxes lie there, too.
    """
    boxes = detections.boxes
    if boxes is None or not len(boxes) or not truth.num_annotations:
        return []
    place, reading = _odd_place(boxes, detections, truth), better_reading(detections, truth)
    if not place and not reading:
        return []
    return [
        "; ".join(filter(None, (place, reading or f"boxes are {AS_IS} in pixels of the image")))
    ]


def _odd_place(boxes: NDArray[np.float64], detections: Detections, truth: GroundTruth) -> str:
    """Gives, as a clause, that boxes lie all in the corner of their image, or beyond it."""
    if lie_in_corner(boxes).all() and not lie_in_corner(truth.boxes).all():
        furthest, true_furthest = (
            float((one[:, :2] + one[:, 2:]).max()) for one in (boxes, truth.boxes)
        )
        return (
            f"{'all of its' if len(boxes) > 1 else 'its'} {len(boxes):,}"
            f" box{'es end' if len(boxes) > 1 else ' ends'} within {furthest:.3g} pixels of the"
            f" image's corner, the ground truth's within {true_furthest:,.0f}"
        )
    sizes = _sizes(truth, detections.images)
    few = len(boxes) < _FEW
    beyond = share_beyond(boxes, sizes, np.maximum(1.0, (_FURTHER if few else _FAR) * sizes))
    many = beyond == 1 and len(boxes) > 1 if few else beyond > _MOST
    if many and share_beyond(truth.boxes, _sizes(truth, truth.images)) <= _MOST:
        return f"{100 * beyond:.0f} % of its {len(boxes):,} boxes end far beyond their image"
    return ""


def odd_areas(truth: GroundTruth) -> str:
    """Gives, as a clause, that areas are far below those of the boxes; empty for sound ones.

    COCO sorts objects into small, medium and large by `area` alone: one of 0 is small, and counts
    neither for APm nor for APl (pycocotools' `COCOeval.evaluateImg`).
    """
    own = ~truth.is_crowd & are_boxes(truth.boxes)
    boxes = truth.boxes[own, 2:].prod(axis=1)
    areas = truth.areas[own]
    tiny = (boxes > _SMALL) & (areas < _LEAST_FILLED * boxes)
    count = int(tiny.sum())
    if count <= _FEW_ODD * len(boxes):
        return ""
    zero = int((areas[tiny] == 0).sum())
    what = "is 0" if zero == count else f"is less than {100 * _LEAST_FILLED:g} % of the box's"
    return (
        f"the 'area' of {count:,} of {len(boxes):,} objects {what}, though their boxes are larger"
        " than 32 x 32 pixels; COCO sorts objects by 'area', and takes them for smaller than they"
        " are"
    )


def misread_truth(truth: GroundTruth) -> str:
    """Gives, as a clause, why the ground truth's boxes are no x, y, width, height; else empty."""
    boxes = truth.boxes
    sizes = _sizes(truth, truth.images)
    rows = spread(np.flatnonzero(are_boxes(boxes) & (sizes > 0).all(axis=1) & ~truth.is_crowd))
    outlines = np.full((len(rows), 4), np.nan)
    if truth.masks is not None:
        for place in spread(np.arange(len(rows)), MOST_OUTLINES).tolist():
            width, height = sizes[rows[place]].astype(int).tolist()
            outlines[place] = outline_bounds(truth.masks[int(rows[place])], height, width)
    return misread_boxes(BoxSample(boxes[rows], sizes[rows], truth.areas[rows], outlines))


def _sizes(truth: GroundTruth, images: NDArray[np.int32]) -> NDArray[np.float64]:
    """Widths and heights, 0 where not known."""
    return np.stack([truth.widths[images], truth.heights[images]], axis=1).astype(np.float64)
