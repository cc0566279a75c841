"""The chain of recall of a two-stage detector: at which stage each object is lost.

An object passes a stage when one of the stage's candidates overlaps it enough. It is *alive* at a
stage when it passes that stage or a later one, and *lost* at the first stage at which it is not
alive. So what a later stage mends (a loose proposal that is refined) is not counted as lost, every
object that is not found is lost at exactly one stage, and what is found is what COCO's own matching
finds.

Enough is the IoU threshold of the evaluation from the refined boxes on. For anchors and proposals
it is 0.5 whatever the threshold: from there on the second stage is trained to refine a box
(`target_assigner.create_target_assigner('FasterRCNN', 'detection')`), so a tighter one is its
business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import Detections, GroundTruth, compressed_masks
from odapi_repro.evaluation.inference.mask_paste import paste_masks
from odapi_repro.evaluation.inference.stage_tensors import ImageStages, Stages
from odapi_repro.evaluation.mask_chain.detector_stages import ChainSettings, ChainStage
from odapi_repro.evaluation.post_processing import nms, soft_nms
from odapi_repro.evaluation.scoring.detection_matching import IOU_THRESHOLDS, match

# --- How much of each object every stage of a two-stage detector still covers: one IoU each ---


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


# --- The chain of recall of a two-stage detector: at which stage each object is lost ---


SIZES: Final = ("all", "small", "medium", "large")
PROPOSAL_IOU: Final = 0.5
"""Overlap from which a proposal is one that the second stage is trained to refine."""

NOT_COUNTED: Final = -1
_SMALL, _LARGE = 32.0**2, 96.0**2
_FIRST_STAGE = ("anchor", "rpn_nms", "proposal")


def perfect_mask_ious(
    mask: Mapping[str, Any], boxes: NDArray[np.float64], mask_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Gives the IoU of a mask with itself, taken through a mask head's grid in each of some boxes.

    Args:
        mask: compressed run lengths, of the whole image.
        boxes: float64 [N, 4], x y width height in pixels; parts outside the image are allowed.
        mask_size: height and width of the grid.

    Returns:
        float64 [N]; 0 for an empty mask.

    Source: faster_rcnn_meta_arch, `_loss_box_classifier` crops the target with
    `tf.image.crop_and_resize`; the way back is `paste_masks`. The target is taken at the mask's
    own size here, as if the network's input had the size of the image.
    """
    from pycocotools import mask as mask_api

    height, width = mask["size"]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    shares = corners[:, [1, 0, 3, 2]] / np.array([height, width, height, width])
    shares = shares.astype(np.float32)
    pixels = mask_api.decode(mask)
    targets = np.stack([_target(pixels, box, mask_size) for box in shares])
    pasted = paste_masks(targets, shares, height, width)
    # maskApi.c gives NaN, or -1, for two empty masks.
    overlaps = np.nan_to_num(np.asarray(mask_api.iou(pasted, [mask], [0])[:, 0], np.float64))
    return np.maximum(overlaps, 0.0)


def _target(
    mask: NDArray[np.uint8], box: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Gives `tf.image.crop_and_resize` of a mask, bilinear, 0 outside of the image."""
    rows, columns = (
        _places(box[axis], box[axis + 2], size[axis], mask.shape[axis]) for axis in (0, 1)
    )
    inside = np.logical_and.outer(
        (rows >= 0) & (rows <= mask.shape[0] - 1), (columns >= 0) & (columns <= mask.shape[1] - 1)
    )
    rows, columns = (
        np.clip(places, np.float32(0), np.float32(side - 1))
        for places, side in zip((rows, columns), mask.shape, strict=True)
    )
    top, left = np.floor(rows), np.floor(columns)
    corners = [
        mask[np.ix_(row.astype(np.intp), column.astype(np.intp))].astype(np.float32)
        for row in (top, np.ceil(rows))
        for column in (left, np.ceil(columns))
    ]
    above = corners[0] + (corners[1] - corners[0]) * (columns - left)
    below = corners[2] + (corners[3] - corners[2]) * (columns - left)
    between = above + (below - above) * (rows - top)[:, None]
    return np.where(inside, between, np.float32(0))


def _places(low: np.float32, high: np.float32, count: int, side: int) -> NDArray[np.float32]:
    """Gives where on an axis of `side` pixels the samples lie, as crop_and_resize_op.cc does."""
    last = np.float32(side - 1)
    if count == 1:
        return np.array([np.float32(0.5) * (low + high) * last])
    step = (high - low) * last / np.float32(count - 1)
    return low * last + np.arange(count, dtype=np.float32) * step


@dataclass(frozen=True)
class ProposalRecall:
    """What share of the objects the first so many proposals of an image overlap.

    Attributes:
        num_proposals: by falling objectness.
        at_50: at an IoU of 0.5, in percent, by `SIZES`; None where there is no object.
        average: on average over the thresholds from 0.5 to 0.95.
    """

    num_proposals: int
    at_50: tuple[float | None, ...]
    average: tuple[float | None, ...]


@dataclass(frozen=True)
class PerfectMasks:
    """What a mask head without error would reach with its grid, in the objects' own boxes.

    Attributes:
        mask_size: height and width of the grid.
        mean_iou: of an object's mask with itself after the grid, by `SIZES`, in percent.
        recall: share of the objects whose mask passes, on average over the thresholds.
    """

    mask_size: tuple[int, int]
    mean_iou: tuple[float | None, ...]
    recall: tuple[float | None, ...]


@dataclass(frozen=True, eq=False)
class ChainReport:
    """Where the objects of a data set are lost.

    S stages, T = 10 IoU thresholds (`matching.IOU_THRESHOLDS`), Z = 4 `SIZES`, A annotations.
    For every threshold and size, `lost` over the stages and `found` sum to `objects`.

    Attributes:
        settings: of the pipeline.
        stages: in order.
        objects: int64 [Z], annotations that count: no crowds.
        lost: int64 [S, T, Z].
        found: int64 [T, Z], what COCO matches (masks where they are predicted, else boxes).
        refined: int64 [T, Z], objects found although no proposal overlaps them by 0.5.
        lost_at: int8 [T, A], the stage; S for found, `NOT_COUNTED` for a crowd.
        proposals: recall by number of proposals.
        perfect_masks: the bound of the mask head's resolution; None without masks.
    """

    settings: ChainSettings
    stages: tuple[ChainStage, ...]
    objects: NDArray[np.int64]
    lost: NDArray[np.int64]
    found: NDArray[np.int64]
    refined: NDArray[np.int64]
    lost_at: NDArray[np.int8]
    proposals: tuple[ProposalRecall, ...]
    perfect_masks: PerfectMasks | None

    def share_lost(self, stage: str, size: str = "all", iou: float | None = None) -> float | None:
        """Gives the share of the objects lost at a stage, in percent.

        Args:
            stage: its name.
            size: one of `SIZES`.
            iou: a threshold; None for the average over all ten.

        Returns:
            None where there is no object of the size.
        """
        place = [one.name for one in self.stages].index(stage)
        return self._share(self.lost[place], size, iou)

    def share_found(self, size: str = "all", iou: float | None = None) -> float | None:
        """Gives the share of the objects found, in percent: recall over objects.

        COCO's AR is the same recall per class, then averaged over the classes.
        """
        return self._share(self.found, size, iou)

    def largest_loss(self, size: str = "all", iou: float | None = None) -> ChainStage | None:
        """Gives the stage that loses most; None where nothing is lost."""
        shares = [self.share_lost(stage.name, size, iou) or 0.0 for stage in self.stages]
        return self.stages[int(np.argmax(shares))] if max(shares) > 0 else None

    def _share(self, counts: NDArray[np.int64], size: str, iou: float | None) -> float | None:
        column = SIZES.index(size)
        if not self.objects[column]:
            return None
        here = counts[:, column] if iou is None else counts[_threshold(iou), column]
        return 100.0 * float(np.mean(here)) / int(self.objects[column])


def recall_chain(
    truth: GroundTruth, stages: Stages, detections: Detections, settings: ChainSettings
) -> ChainReport:
    """Gives the chain of one model on one data set.

    Args:
        truth: the data set, its images in the order in which they were evaluated and with their
            sizes (`evaluate.with_image_sizes`).
        stages: as `StageRecorder` kept them.
        detections: the final ones, with boxes, and with masks where `settings` has a mask size.
        settings: of the pipeline and the variant that gave them.

    Raises:
        DataError: the stages are those of another number of images, an image's size is not known,
            or boxes or masks are missing.
    """
    if stages.num_images != truth.num_images:
        raise DataError(
            f"the stages are those of {stages.num_images} images",
            expected=f"those of the {truth.num_images} images of the data set, in its order",
            mend="evaluate again, on the same images",
        )
    unknown = np.flatnonzero((truth.heights <= 0) | (truth.widths <= 0))
    if len(unknown):
        raise DataError(
            f"the size of image {truth.image_ids[int(unknown[0])]} is not known",
            expected="height and width of every image: stages give boxes as shares of them",
            mend="give height and width in the json",
            where=truth.where,
        )
    grid = box = None
    if settings.mask_size is not None:
        grid, box = _mask_overlaps(truth, detections, settings.mask_size)
    passed = _passed(truth, stages, detections, settings)
    if grid is not None and box is not None:
        passed |= _passed_by_masks(truth, detections, passed["own_detection"], grid, box)
    names = [stage.name for stage in settings.stages]
    alive = np.logical_or.accumulate(np.stack([passed[name] for name in names])[::-1])[::-1]
    # Alive once lost never comes back: the number of stages passed is the stage of the loss.
    lost_at = alive.sum(axis=0).astype(np.int8)
    lost_at[:, truth.is_crowd] = NOT_COUNTED
    sizes = _sizes(truth)
    counts = np.array(
        [
            [np.bincount(at[size], minlength=len(names) + 1) for size in sizes]
            for at in lost_at.astype(np.int64)
        ]
    ).transpose(2, 0, 1)
    refined = passed[names[-1]] & ~passed["proposal"]
    return ChainReport(
        settings=settings,
        stages=settings.stages,
        objects=np.array([np.count_nonzero(size) for size in sizes]),
        lost=counts[:-1],
        found=counts[-1],
        refined=np.stack([np.count_nonzero(refined & size, axis=1) for size in sizes], axis=1),
        lost_at=lost_at,
        proposals=_proposal_recall(truth, stages, settings.max_proposals, sizes),
        perfect_masks=None if grid is None else _perfect_masks(settings, grid, sizes),
    )


def _passed(
    truth: GroundTruth, stages: Stages, detections: Detections, settings: ChainSettings
) -> dict[str, NDArray[np.bool_]]:
    """Gives which objects pass each stage for themselves, bool [T, A] by name."""
    overlaps = first_stage_overlaps(truth, stages, settings.max_proposals)
    overlaps |= second_stage_overlaps(truth, stages, settings.score_threshold)
    overlaps["detection"] = detection_overlaps(truth, detections)
    passed = {name: _enough(name, iou) for name, iou in overlaps.items()}
    # A box of another class says something of the object's score, nothing of where its own is.
    passed["score"] &= passed["refined_box"]
    # NMS is worth its while only where it may be what lost an object.
    asked = (passed["class"] & ~passed["detection"]).any(axis=0) & ~truth.is_crowd
    images = np.unique(truth.images[asked]).astype(np.int64)
    passed["nms"] = _enough("nms", nms_overlaps(truth, stages, settings, images))
    passed["own_detection"] = _found(truth, detections, "bbox")
    return passed


def _passed_by_masks(
    truth: GroundTruth,
    detections: Detections,
    box_found: NDArray[np.bool_],
    grid: Floats,
    box: Floats,
) -> dict[str, NDArray[np.bool_]]:
    """Gives which objects pass the stages of masks: a found box alone is no mask."""
    by_grid = box_found & _enough("mask_grid", grid)
    return {
        "mask_grid": by_grid,
        "mask_box": by_grid & _enough("mask_box", box),
        "mask": _found(truth, detections, "segm"),
    }


def _enough(stage: str, overlaps: Floats) -> NDArray[np.bool_]:
    """Whether each overlap is enough at each threshold, [T, A]; as COCOeval compares them."""
    least = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    if stage in _FIRST_STAGE:
        least = np.full(len(least), PROPOSAL_IOU)
    return np.asarray(overlaps >= least[:, None])


def _found(truth: GroundTruth, detections: Detections, iou_type: str) -> NDArray[np.bool_]:
    """Which objects COCO's matching finds, [T, A]."""
    took = match(truth, detections, iou_type).ground_truth
    found = np.zeros((len(IOU_THRESHOLDS), truth.num_annotations), np.bool_)
    threshold, detection = np.nonzero(took >= 0)
    found[threshold, took[threshold, detection]] = True
    return found


def _mask_overlaps(
    truth: GroundTruth, detections: Detections, mask_size: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Gives each object's IoU with its own mask after the grid, [A]: in its own box, and found."""
    masks = compressed_masks(truth)
    best = best_detections(truth, detections)
    grid, box = np.zeros(truth.num_annotations), np.zeros(truth.num_annotations)
    assert detections.boxes is not None
    for row in np.flatnonzero(~truth.is_crowd).tolist():
        boxes = [truth.boxes[row]]
        if best[row] >= 0:
            boxes.append(detections.boxes[best[row]])
        ious = perfect_mask_ious(masks[row], np.stack(boxes), mask_size)
        grid[row], box[row] = ious[0], ious[-1] if best[row] >= 0 else 0.0
    return grid, box


def _sizes(truth: GroundTruth) -> list[NDArray[np.bool_]]:
    """Which annotations are objects of each of `SIZES`.

    Those of exactly 32 or 96 squared pixels, which COCO counts on both sides, count as the larger.
    """
    objects, areas = ~truth.is_crowd, truth.areas
    small, large = areas < _SMALL, areas >= _LARGE
    return [objects, objects & small, objects & ~small & ~large, objects & large]


def _proposal_recall(
    truth: GroundTruth, stages: Stages, most: int, sizes: list[NDArray[np.bool_]]
) -> tuple[ProposalRecall, ...]:
    """Recall of an eighth, a quarter, a half and all of the proposals."""
    counts = tuple(sorted({max(1, most // share) for share in (8, 4, 2, 1)}))
    overlaps = proposal_overlaps(truth, stages, counts)
    return tuple(
        ProposalRecall(
            num_proposals=count,
            at_50=tuple(_percent(iou[size] >= PROPOSAL_IOU) for size in sizes),
            average=tuple(_percent(_enough("box", iou[size])) for size in sizes),
        )
        for count, iou in zip(counts, overlaps, strict=True)
    )


def _perfect_masks(
    settings: ChainSettings, grid: Floats, sizes: list[NDArray[np.bool_]]
) -> PerfectMasks:
    assert settings.mask_size is not None
    return PerfectMasks(
        mask_size=settings.mask_size,
        mean_iou=tuple(_percent(grid[size]) for size in sizes),
        recall=tuple(_percent(_enough("mask_grid", grid[size])) for size in sizes),
    )


def _percent(values: NDArray[Any]) -> float | None:
    return 100.0 * float(np.mean(values)) if values.size else None


def _threshold(iou: float) -> int:
    place = int(np.argmin(np.abs(IOU_THRESHOLDS - iou)))
    if abs(IOU_THRESHOLDS[place] - iou) > 1e-6:
        raise ValueError(f"{iou} is none of COCO's thresholds 0.5, 0.55 ... 0.95")
    return place
