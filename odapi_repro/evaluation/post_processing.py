"""Suppression of detections that overlap: hard and soft NMS, and caps, as pure NumPy.

All functions work image by image and class by class. They go in rounds, each of them over all
images and classes at once: a round takes the best detection left of every image and class. So
5,000 images with 100 detections each take as many rounds as the fullest class of one image has
detections kept, not 5,000 loops.

Scores of the members are taken as they are: a member that is more confident throughout has more
to say. Overlaps are those of boxes; masks stay with the detections that are kept (`union`,
`consensus`), and are dropped where boxes are averaged (`box_voting`, `weighted_boxes`), because a
mask of another box would not fit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.coco_data import Detections

# --- Suppression of detections that overlap: hard and soft NMS, and caps, as pure NumPy ---


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


# --- Detections of several models, or of several views of an image, made into one set ---


_PAIRS_AT_ONCE = 2_000_000


def concatenate(members: Sequence[Detections]) -> Detections:
    """Gives all detections, member after member; masks only where every member has them.

    Raises:
        ValueError: no member, or one without boxes.
    """
    if not members:
        raise ValueError("nothing to fuse")
    masks = [one.masks for one in members if one.masks is not None]
    return Detections(
        images=np.concatenate([one.images for one in members]),
        categories=np.concatenate([one.categories for one in members]),
        boxes=np.concatenate([boxes_of(one) for one in members]),
        scores=np.concatenate([one.scores for one in members]),
        masks=tuple(m for each in masks for m in each) if len(masks) == len(members) else None,
        where=", ".join(dict.fromkeys(one.where for one in members if one.where)),
    )


def union(
    members: Sequence[Detections], iou_threshold: float, *, class_agnostic: bool = False
) -> Detections:
    """Gives the detections of all members after NMS; of equal scores the first member's."""
    return nms(concatenate(members), iou_threshold, class_agnostic=class_agnostic)


def consensus(members: Sequence[Detections], iou_threshold: float, num_agreeing: int) -> Detections:
    """Gives those detections of the union that enough members have found.

    A member agrees when it has a detection of the same class that overlaps by more than the
    threshold (its own included). With `num_agreeing` 1 this is the union.

    Raises:
        ValueError: `num_agreeing` is not between 1 and the number of members.
    """
    if not 1 <= num_agreeing <= len(members):
        raise ValueError(f"{num_agreeing} of {len(members)} members cannot agree")
    kept = union(members, iou_threshold)
    votes = np.zeros(kept.num, np.int64)
    for member in members:
        agrees = np.zeros(kept.num, bool)
        for rows, others, overlaps in _overlaps(kept, member):
            agrees[rows[overlaps > iou_threshold]] = True
            # A box without area overlaps nothing, not even itself.
            same = (boxes_of(kept)[rows] == boxes_of(member)[others]).all(axis=1)
            agrees[rows[same]] = True
        votes += agrees
    return kept.subset(votes >= num_agreeing)


def box_voting(kept: Detections, candidates: Detections, iou_threshold: float = 0.8) -> Detections:
    """Gives the detections with each box moved to the mean of the candidates around it.

    The mean of the corners is weighted by the candidates' scores (a negative score counts as 0)
    over the candidates of the same image and class with an IoU of at least the threshold. Scores
    and order stay. Without such a candidate a box stays, too.

    Source: Gidaris and Komodakis 2015 (arXiv:1505.01749), section 5; their threshold is 0.5.

    Args:
        kept: what NMS left.
        candidates: what NMS was given; those in `kept` should be among them.
        iou_threshold: 0 to 1.
    """
    check_iou(iou_threshold)
    boxes = boxes_of(kept)
    total, weight = np.zeros_like(boxes), np.zeros(len(boxes))
    corners = _corners(boxes_of(candidates))
    weights = np.maximum(candidates.scores, 0.0)
    for rows, others, overlaps in _overlaps(kept, candidates):
        near = overlaps >= iou_threshold
        voted, voters = rows[near], others[near]
        weight += np.bincount(voted, weights[voters], minlength=len(boxes))
        for column in range(4):
            votes = weights[voters] * corners[voters, column]
            total[:, column] += np.bincount(voted, votes, minlength=len(boxes))
    moved = weight > 0
    result = boxes.copy()
    result[moved] = _sizes(total[moved] / weight[moved, None])
    return dataclasses.replace(kept, boxes=result, masks=None)


def weighted_boxes(members: Sequence[Detections], iou_threshold: float = 0.55) -> Detections:
    """Gives the weighted boxes fusion of several members.

    Detections of an image and class are taken by falling score. Each joins the cluster whose
    fused box it overlaps most, if by more than the threshold, or begins one. The fused box is the
    mean of the members' corners weighted by their scores; the fused score is the mean score times
    min(T, N) / N for T boxes from N members.

    Source: Solovyev, Wang and Gabruseva 2021 (Image and Vision Computing 107; arXiv:1910.13302),
    section 3, with their first formula for the score and equal weights of the models.

    Returns:
        Boxes without masks, by image and falling score.
    """
    check_iou(iou_threshold)
    everything = dataclasses.replace(concatenate(members), masks=None)
    keys = group_keys(everything)
    order = np.lexsort((-everything.scores, keys))
    ordered, keys = everything.subset(order), keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    clusters = _Clusters(ordered, starts)
    for rank in range(int(clusters.sizes.max(initial=0))):
        clusters.add(rank, iou_threshold)
    founders = np.flatnonzero(clusters.count)
    founders = founders[np.argsort(order[founders])]
    count = clusters.count[founders]
    scores = clusters.score[founders] / count * np.minimum(count, len(members)) / len(members)
    fused = ordered.subset(founders)
    boxes = clusters.fused(founders)
    return by_image_and_score(dataclasses.replace(fused, boxes=boxes, scores=scores))


class _Clusters:
    """The clusters of all groups; one lies at the place of the detection that began it."""

    def __init__(self, detections: Detections, starts: Indices) -> None:
        self.boxes = boxes_of(detections)
        self.corners = _corners(self.boxes)
        self.scores = detections.scores
        self.starts = starts
        self.sizes = np.diff(np.append(starts, detections.num))
        self.group = np.repeat(np.arange(len(starts)), self.sizes)
        self.count = np.zeros(detections.num, np.int64)
        self.score = np.zeros(detections.num)
        self.weighted = np.zeros((detections.num, 4))

    def add(self, rank: int, iou_threshold: float) -> None:
        """Adds the detection of this rank of every group that has one."""
        groups = np.flatnonzero(self.sizes > rank)
        arriving = self.starts[groups] + rank
        homes = arriving.copy()
        if rank:
            founders = np.flatnonzero(self.count)
            founders = founders[self.sizes[self.group[founders]] > rank]
            # Every group has a founder by now, and founders lie in the order of their groups.
            place = np.searchsorted(groups, self.group[founders])
            overlaps = box_ious(self.fused(founders), self.boxes[arriving[place]])
            begins = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
            best = np.maximum.reduceat(overlaps, begins)
            first = np.flatnonzero((overlaps == best[place]) & (best[place] > iou_threshold))
            joined, at = np.unique(place[first], return_index=True)
            homes[joined] = founders[first[at]]
        self.count[homes] += 1
        self.score[homes] += self.scores[arriving]
        self.weighted[homes] += self.scores[arriving, None] * self.corners[arriving]

    def fused(self, founders: Indices) -> Floats:
        """Gives the fused boxes, x y width height; one of a single detection is its own."""
        weight = self.score[founders]
        mean = np.divide(
            self.weighted[founders],
            weight[:, None],
            out=self.corners[founders].copy(),
            where=weight[:, None] > 0,
        )
        alone = (self.count[founders] == 1)[:, None]
        return np.where(alone, self.boxes[founders], _sizes(mean))


def _overlaps(
    detections: Detections, others: Detections
) -> Iterator[tuple[Indices, Indices, Floats]]:
    """Gives the IoU of all pairs of one image and class, in portions that fit into memory.

    Yields:
        Rows of `detections`, rows of `others`, and their IoU.
    """
    keys, other_keys = group_keys(detections), group_keys(others)
    order = np.argsort(other_keys, kind="stable")
    low = np.searchsorted(other_keys[order], keys, side="left")
    counts = np.searchsorted(other_keys[order], keys, side="right") - low
    ends = np.cumsum(counts)
    boxes, other_boxes = boxes_of(detections), boxes_of(others)
    begin = 0
    while begin < len(counts):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        portion = counts[begin:end]
        rows = np.repeat(np.arange(begin, end), portion)
        firsts = np.repeat(np.cumsum(portion) - portion, portion)
        columns = order[low[rows] + np.arange(len(rows)) - firsts]
        yield rows, columns, box_ious(boxes[rows], other_boxes[columns])
        begin = end


def _corners(boxes: Floats) -> Floats:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _sizes(corners: Floats) -> Floats:
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
