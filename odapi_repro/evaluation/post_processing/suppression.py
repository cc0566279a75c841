"""Suppression of detections that overlap: hard and soft NMS, and caps, as pure NumPy.

All functions work image by image and class by class. They go in rounds, each of them over all
images and classes at once: a round takes the best detection left of every image and class. So
5,000 images with 100 detections each take as many rounds as the fullest class of one image has
detections kept, not 5,000 loops.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.coco_data import Detections

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def nms(
    detections: Detections, iou_threshold: float, *, class_agnostic: bool = False
) -> Detections:
    """Gives the detections that greedy non-maximum suppression keeps.

    The best detection of an image and class is kept, and those of them that overlap it by more
    than the threshold are dropped; then the next best, to the last. Of equal scores the first in
    order counts as the better. The rule is that of TensorFlow's `NonMaxSuppression` kernels, which
    the OD API's `core/post_processing.py` calls.

    Args:
        detections: with boxes; masks stay with the detections that are kept.
        iou_threshold: 0 to 1; an overlap equal to it is kept.
        class_agnostic: suppress across classes, too.

    Returns:
        The detections kept, by image and falling score.
    """
    check_iou(iou_threshold)
    order, groups = _grouped(detections, class_agnostic=class_agnostic)
    boxes = boxes_of(detections)[order]
    kept = np.zeros(len(order), bool)
    left = np.arange(len(order))
    while len(left):
        begins = _begins(groups[left])
        leaders = left[begins]
        kept[leaders] = True
        overlaps = box_ious(boxes[leaders][np.cumsum(begins) - 1], boxes[left])
        left = left[~begins & (overlaps <= iou_threshold)]
    return by_image_and_score(detections.subset(np.sort(order[kept])))


def soft_nms(
    detections: Detections,
    *,
    method: Literal["linear", "gaussian"],
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 0.0,
) -> Detections:
    """Gives the detections with scores that decay with the overlap, as far as they stay above one.

    Source: Bodla et al. 2017 (arXiv:1704.04503). `linear` is equation 2: a score is multiplied by
    1 - IoU where the IoU with the detection just taken is above `iou_threshold`; `gaussian` is
    equation 3: by exp(-IoU^2 / sigma), at every overlap. The OD API's `soft_nms_sigma` is half of
    this sigma: TensorFlow's kernel (`tf.image.non_max_suppression_with_scores`) multiplies by
    exp(-IoU^2 / (2 sigma)).

    Args:
        detections: with boxes, before any other suppression; masks stay with their detections.
        method: `linear` or `gaussian`.
        iou_threshold: of `linear`; the paper has 0.3.
        sigma: of `gaussian`; the paper has 0.5.
        min_score: detections whose score is not above it, or falls to it, are dropped.

    Returns:
        The detections kept, with their new scores, by image and falling score.
    """
    check_iou(iou_threshold)
    if method == "gaussian" and not sigma > 0:
        raise ValueError(f"sigma is {sigma}, and must be above 0")
    order, groups = _grouped(detections)
    boxes, scores = boxes_of(detections)[order], detections.scores[order]
    kept = np.zeros(len(order), bool)
    left = np.flatnonzero(scores > min_score)
    while len(left):
        leads = _leads(groups[left], scores[left])
        leaders = left[leads]
        kept[leaders] = True
        segment = np.cumsum(_begins(groups[left])) - 1
        overlaps = box_ious(boxes[leaders][segment], boxes[left])
        if method == "linear":
            decay = np.where(overlaps > iou_threshold, 1.0 - overlaps, 1.0)
        else:
            decay = np.exp(-np.square(overlaps) / sigma)
        others = left[~leads]
        scores[others] *= decay[~leads]
        left = others[scores[others] > min_score]
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(order[rows])]
    chosen = detections.subset(order[rows])
    return by_image_and_score(dataclasses.replace(chosen, scores=scores[rows]))


def keep_best(
    detections: Detections, *, per_class: int | None = None, per_image: int | None = None
) -> Detections:
    """Gives the best detections of every image and class, then of every image.

    As the OD API's `max_detections_per_class` and `max_total_detections`.

    Returns:
        The detections kept, by image and falling score.
    """
    if per_class is not None:
        order, groups = _grouped(detections)
        detections = detections.subset(np.sort(order[_ranks(groups) < per_class]))
    result = by_image_and_score(detections)
    if per_image is not None:
        result = result.subset(_ranks(result.images) < per_image)
    return result


def by_image_and_score(detections: Detections) -> Detections:
    """Gives the detections by image and falling score; equal scores keep their order."""
    return detections.subset(np.lexsort((-detections.scores, detections.images)))


def boxes_of(detections: Detections) -> Floats:
    """Gives the boxes, float64 [D, 4] x y width height in pixels.

    Raises:
        ValueError: there are masks only.
    """
    if detections.boxes is None:
        raise ValueError("these detections have masks and no boxes; overlaps are those of boxes")
    return detections.boxes


def box_ious(first: Floats, second: Floats) -> Floats:
    """Gives the IoU of each box with the box in the same row of the other array.

    Args:
        first, second: float64 [N, 4], x y width height.

    Returns:
        float64 [N]; 0 where both boxes are empty.
    """
    shared = [
        np.minimum(first[:, axis] + first[:, axis + 2], second[:, axis] + second[:, axis + 2])
        - np.maximum(first[:, axis], second[:, axis])
        for axis in (0, 1)
    ]
    intersection = np.maximum(shared[0], 0.0) * np.maximum(shared[1], 0.0)
    union = first[:, 2] * first[:, 3] + second[:, 2] * second[:, 3] - intersection
    ious: Floats = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return ious


def group_keys(detections: Detections) -> Indices:
    """Gives a number for the image and class of each detection, int64 [D]."""
    return (detections.images.astype(np.int64) << 32) + detections.categories


def check_iou(threshold: float) -> None:
    """Raises `ValueError` for what is no IoU."""
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"an IoU threshold of {threshold}; expected 0 to 1")


def _grouped(detections: Detections, *, class_agnostic: bool = False) -> tuple[Indices, Indices]:
    """Gives an order by image, class and falling score, and the group of each place in it."""
    keys = detections.images.astype(np.int64) if class_agnostic else group_keys(detections)
    order = np.lexsort((-detections.scores, keys))
    return order, np.cumsum(_begins(keys[order])) - 1


def _begins(groups: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each place is the first of its group, for groups that lie together."""
    begins = np.ones(len(groups), bool)
    begins[1:] = groups[1:] != groups[:-1]
    return begins


def _leads(groups: Indices, scores: Floats) -> NDArray[np.bool_]:
    """Whether each place has the highest score of its group, the first of equals."""
    starts = np.flatnonzero(_begins(groups))
    sizes = np.diff(np.append(starts, len(groups)))
    best = np.flatnonzero(scores == np.repeat(np.maximum.reduceat(scores, starts), sizes))
    leads = np.zeros(len(groups), bool)
    leads[best[_begins(groups[best])]] = True
    return leads


def _ranks(groups: NDArray[Any]) -> Indices:
    """The place of each row within its group, for groups that lie together."""
    starts = np.flatnonzero(_begins(groups))
    sizes = np.diff(np.append(starts, len(groups)))
    return np.arange(len(groups)) - np.repeat(starts, sizes)
