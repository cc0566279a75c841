"""How much of each object every stage of a two-stage detector still covers: one IoU each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.coco_data import Detections, GroundTruth
from odapi_repro.evaluation.inference.stage_tensors import ImageStages, Stages
from odapi_repro.evaluation.mask_chain.stages import ChainSettings
from odapi_repro.evaluation.post_processing.suppression import nms, soft_nms

_IMAGES_AT_ONCE = 100
Floats = NDArray[np.float64]


def first_stage_overlaps(
    truth: GroundTruth, stages: Stages, max_proposals: int
) -> dict[str, Floats]:
    """Gives the largest IoU of each object with the boxes of the first stage, of whatever class.

    Returns:
        `anchor`, `rpn_nms` and `proposal`, float64 [A] each. `rpn_nms` is that of boxes which more
        proposals could bring: where as many proposals were made as are allowed, those whose
        objectness is not above the last one's.
    """
    found = {name: np.zeros(truth.num_annotations) for name in ("anchor", "rpn_nms", "proposal")}
    for rows, image, size in _images(truth, stages):
        objects = truth.boxes[rows]
        overlaps = _ious(_pixels(image.rpn_boxes, size), objects)
        found["anchor"][rows] = _largest(overlaps)
        if len(image.proposal_boxes) >= max_proposals:
            later = image.rpn_scores <= image.proposal_scores[-1]
            found["rpn_nms"][rows] = _largest(overlaps[later])
        found["proposal"][rows] = _largest(_ious(_pixels(image.proposal_boxes, size), objects))
    return found


def proposal_overlaps(truth: GroundTruth, stages: Stages, counts: tuple[int, ...]) -> Floats:
    """Gives the largest IoU of each object with the first so many proposals, float64 [len, A]."""
    found = np.zeros((len(counts), truth.num_annotations))
    for rows, image, size in _images(truth, stages):
        overlaps = _ious(_pixels(image.proposal_boxes, size), truth.boxes[rows])
        for place, count in enumerate(counts):
            found[place, rows] = _largest(overlaps[:count])
    return found


def second_stage_overlaps(
    truth: GroundTruth, stages: Stages, score_threshold: float
) -> dict[str, Floats]:
    """Gives the largest IoU of each object with the second stage's boxes.

    Where the box of a proposal for that class was not kept, for its score is among the lowest
    (`stages.MAX_CANDIDATES`), those it has of other classes stand in for it in `refined_box`.

    Returns:
        `refined_box` (of its own class, whatever the score), `score` (of whatever class, above the
        threshold) and `class` (of its own class, above the threshold), float64 [A] each.
    """
    found = {name: np.zeros(truth.num_annotations) for name in ("refined_box", "score", "class")}
    for rows, image, size in _images(truth, stages):
        overlaps = _ious(_pixels(image.candidate_boxes, size), truth.boxes[rows])
        above = image.candidate_scores > np.float32(score_threshold)
        found["score"][rows] = _largest(overlaps[above])
        categories = truth.categories[rows]
        for category in np.unique(categories).tolist():
            chosen = np.flatnonzero(categories == category)
            own = image.candidate_classes == truth.category_ids[category]
            stands_in = ~np.isin(image.candidate_proposals, image.candidate_proposals[own])
            these = overlaps[:, chosen]
            found["refined_box"][rows[chosen]] = _largest(these[own | stands_in])
            found["class"][rows[chosen]] = _largest(these[own & above])
    return found


def nms_overlaps(
    truth: GroundTruth, stages: Stages, settings: ChainSettings, images: NDArray[np.int64]
) -> Floats:
    """Gives the largest IoU of each object with what NMS keeps of its class, nothing capped.

    Args:
        truth: the data set.
        stages: its stages.
        settings: of the NMS.
        images: those to look at; objects of other images get 0.

    Returns:
        float64 [A].
    """
    found = np.zeros(truth.num_annotations)
    rows_of = dict(_rows_by_image(truth))
    for begin in range(0, len(images), _IMAGES_AT_ONCE):
        kept = _suppressed(truth, stages, settings, images[begin : begin + _IMAGES_AT_ONCE])
        assert kept.boxes is not None
        for image in images[begin : begin + _IMAGES_AT_ONCE].tolist():
            rows = rows_of[image]
            low, high = np.searchsorted(kept.images, [image, image + 1])
            overlaps = _ious(kept.boxes[low:high], truth.boxes[rows])
            ids = np.array([truth.category_ids[k] for k in truth.categories[rows].tolist()])
            own = kept.categories[low:high][:, None] == ids
            found[rows] = _largest(np.where(own, overlaps, 0.0))
    return found


def detection_overlaps(truth: GroundTruth, detections: Detections) -> Floats:
    """Gives the largest IoU of each object's box with final detections of its class, [A]."""
    found = np.zeros(truth.num_annotations)
    for rows, _, own in _detection_pairs(truth, detections):
        found[rows] = _largest(own)
    return found


def best_detections(truth: GroundTruth, detections: Detections) -> NDArray[np.int64]:
    """Gives the detection of its own class that overlaps each object's box most; -1 for none."""
    found = np.full(truth.num_annotations, -1, np.int64)
    for rows, here, own in _detection_pairs(truth, detections):
        if len(own):
            best = own.argmax(axis=0)
            found[rows] = np.where(own.max(axis=0) > 0, here[best], -1)
    return found


def _rows_by_image(truth: GroundTruth) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Gives each image that has annotations, with them."""
    order = np.argsort(truth.images, kind="stable")
    images, starts = np.unique(truth.images[order], return_index=True)
    if len(images):
        yield from zip(images.tolist(), np.split(order, starts[1:]), strict=True)


def _images(
    truth: GroundTruth, stages: Stages
) -> Iterator[tuple[NDArray[np.int64], ImageStages, tuple[int, int]]]:
    """Gives annotations, stages, height and width of each image that has annotations."""
    for image, rows in _rows_by_image(truth):
        size = int(truth.heights[image]), int(truth.widths[image])
        yield rows, stages.image(image), size


def _detection_pairs(
    truth: GroundTruth, detections: Detections
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Gives annotations, detections and their IoU [D, G] of each image; 0 of unlike classes."""
    assert detections.boxes is not None
    order = np.argsort(detections.images, kind="stable")
    images = detections.images[order]
    for image, rows in _rows_by_image(truth):
        low, high = np.searchsorted(images, [image, image + 1])
        here = order[low:high]
        same = detections.categories[here][:, None] == truth.categories[rows]
        yield rows, here, np.where(same, _ious(detections.boxes[here], truth.boxes[rows]), 0.0)


def _suppressed(
    truth: GroundTruth, stages: Stages, settings: ChainSettings, images: NDArray[np.int64]
) -> Detections:
    """The candidates of some images after the score threshold and NMS, boxes clipped to them.

    `categories` are ids here, as in the stages: classes that the data set lacks compete, too.
    """
    columns: dict[str, list[NDArray[Any]]] = {
        "images": [],
        "classes": [],
        "boxes": [],
        "scores": [],
    }
    sizes: Mapping[int, tuple[int, int]] = {
        image: (int(truth.heights[image]), int(truth.widths[image])) for image in images.tolist()
    }
    for image, size in sizes.items():
        one = stages.image(image)
        kept = one.candidate_scores > np.float32(settings.score_threshold)
        if settings.class_agnostic_nms:
            kept &= _rank_in_proposal(one) < settings.max_classes_per_detection
        columns["images"].append(np.full(np.count_nonzero(kept), image, np.int32))
        columns["classes"].append(one.candidate_classes[kept])
        # NMS is done before boxes are clipped to the image.
        columns["boxes"].append(_scaled(one.candidate_boxes[kept], size))
        columns["scores"].append(one.candidate_scores[kept])
    candidates = Detections(
        images=np.concatenate(columns["images"]),
        categories=np.concatenate(columns["classes"]).astype(np.int32),
        boxes=np.concatenate(columns["boxes"]),
        scores=np.concatenate(columns["scores"]).astype(np.float64),
    )
    if settings.soft_nms_sigma > 0:
        kept_ones = soft_nms(
            candidates,
            method="gaussian",
            sigma=2 * settings.soft_nms_sigma,
            min_score=settings.score_threshold,
        )
    else:
        kept_ones = nms(candidates, settings.nms_iou, class_agnostic=settings.class_agnostic_nms)
    assert kept_ones.boxes is not None
    limits = np.array([sizes[image][::-1] for image in kept_ones.images.tolist()]).reshape(-1, 2)
    return Detections(
        images=kept_ones.images,
        categories=kept_ones.categories,
        boxes=_clipped(kept_ones.boxes, limits),
        scores=kept_ones.scores,
    )


def _rank_in_proposal(image: ImageStages) -> NDArray[np.int64]:
    """The place of each candidate among those of its proposal, by falling score."""
    order = np.lexsort((-image.candidate_scores, image.candidate_proposals))
    proposals = image.candidate_proposals[order]
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.searchsorted(proposals, proposals)
    return ranks


def _scaled(boxes: NDArray[np.float32], size: tuple[int, int]) -> Floats:
    """Gives x y width height in pixels of ymin xmin ymax xmax in shares."""
    height, width = size
    corners = boxes.astype(np.float64) * np.array([height, width, height, width])
    ymin, xmin, ymax, xmax = corners.T
    return np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)


def _pixels(boxes: NDArray[np.float32], size: tuple[int, int]) -> Floats:
    """The same, clipped to the image."""
    return _clipped(_scaled(boxes, size), np.array([size[::-1]]))


def _clipped(boxes: Floats, limits: NDArray[Any]) -> Floats:
    """Clips x y width height to width and height, [N or 1, 2]."""
    low = np.clip(boxes[:, :2], 0, limits)
    high = np.clip(boxes[:, :2] + boxes[:, 2:], 0, limits)
    return np.concatenate([low, high - low], axis=1)


def _ious(boxes: Floats, objects: Floats) -> Floats:
    from pycocotools import mask as mask_api

    if not len(boxes):
        return np.zeros((0, len(objects)))
    overlaps: Floats = mask_api.iou(
        np.ascontiguousarray(boxes), np.ascontiguousarray(objects), [0] * len(objects)
    )
    return overlaps


def _largest(overlaps: Floats) -> Floats:
    """Gives the largest IoU of each column, [D, G] to [G]; 0 where there are no rows."""
    return np.asarray(overlaps.max(axis=0, initial=0.0))
