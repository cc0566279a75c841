"""Boxes of detections and of ground truth that seem to be no x, y, width, height in pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.box_units import (
    MOST_OUTLINES,
    BoxSample,
    are_boxes,
    lie_in_corner,
    misread_boxes,
    share_beyond,
    spread,
)
from odapi_repro.datasets.conversion.masks import outline_bounds
from odapi_repro.evaluation.coco_data.columns import Detections, GroundTruth

__all__ = ["box_oddities", "misread_truth"]

_MOST = 0.5


def box_oddities(detections: Detections, truth: GroundTruth) -> list[str]:
    """Gives, as clauses with numbers, why boxes seem to be shares of the image, or corners.

    Nothing is said where the ground truth's own boxes look the same.
    """
    boxes = detections.boxes
    if boxes is None or not len(boxes) or not truth.num_annotations:
        return []
    if lie_in_corner(boxes).all() and not lie_in_corner(truth.boxes).all():
        furthest, true_furthest = (
            float((one[:, :2] + one[:, 2:]).max()) for one in (boxes, truth.boxes)
        )
        return [
            f"all of its {len(boxes):,} boxes end within {furthest:.3g} pixels of the image's"
            f" corner, the ground truth's within {true_furthest:,.0f}; boxes are x, y, width,"
            " height in pixels, not shares of the image"
        ]
    beyond = share_beyond(boxes, _sizes(truth, detections.images))
    if beyond > _MOST >= share_beyond(truth.boxes, _sizes(truth, truth.images)):
        return [
            f"{100 * beyond:.0f} % of its {len(boxes):,} boxes end beyond their image; boxes are"
            " x, y, width, height, not two corners"
        ]
    return []


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
