"""Tells boxes that were written otherwise than COCO's x, y, width, height in pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.coco_data.columns import Detections, GroundTruth

__all__ = ["box_oddities"]

# All boxes of a data set in the corner of so many pixels are shares of the image.
_MOST_OF_SHARES = 2.0
# Rounding may put an edge so many pixels beyond the image.
_SLACK = 1.0
_MOST = 0.5


def box_oddities(detections: Detections, truth: GroundTruth) -> list[str]:
    """Gives, as clauses with numbers, why boxes seem to be shares of the image, or corners.

    Nothing is said where the ground truth's own boxes look the same.
    """
    boxes = detections.boxes
    if boxes is None or not len(boxes) or not truth.num_annotations:
        return []
    ends = boxes[:, :2] + boxes[:, 2:]
    furthest, true_furthest = (
        float(ends.max()),
        float((truth.boxes[:, :2] + truth.boxes[:, 2:]).max()),
    )
    if furthest <= _MOST_OF_SHARES < true_furthest:
        return [
            f"all of its {len(boxes):,} boxes end within {furthest:.3g} pixels of the image's"
            f" corner, the ground truth's within {true_furthest:,.0f}; boxes are x, y, width,"
            " height in pixels, not shares of the image"
        ]
    beyond = _share_beyond(boxes, detections.images, truth)
    if beyond > _MOST >= _share_beyond(truth.boxes, truth.images, truth):
        return [
            f"{100 * beyond:.0f} % of its {len(boxes):,} boxes end beyond their image; boxes are"
            " x, y, width, height, not two corners"
        ]
    return []


def _share_beyond(
    boxes: NDArray[np.float64], images: NDArray[np.int32], truth: GroundTruth
) -> float:
    """Of the boxes on images of known size, the share that end beyond the image."""
    sizes = np.stack([truth.widths[images], truth.heights[images]], axis=1)
    known = (sizes > 0).all(axis=1)
    if not known.any():
        return 0.0
    ends = boxes[:, :2] + boxes[:, 2:]
    return float((ends[known] > sizes[known] + _SLACK).any(axis=1).mean())
