"""Which detection COCO counts as which ground truth: `COCOeval.evaluateImg`, as columns.

COCO goes through the detections of one image and class by falling score, once for each of 10 IoU
thresholds and 4 area ranges. A detection takes, of the ground truth that is left and overlaps it at
least by the threshold, the one it overlaps most; ground truth that counts goes before ground truth
that is ignored (crowds, areas out of range), and of two equal overlaps the later one is taken. A
crowd is never used up. A detection is ignored when it took ignored ground truth, or took none and
its own area is out of range.

That rule is sequential within an image and class, but not across them: all groups take their first
detection at once, then their second, and so on. Only pairs that overlap by at least 0.5 can ever
match, and most detections have none, so the rounds are few and short.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import Detections, GroundTruth, compressed_masks, mask_areas

# --- What overlaps are measured on: boxes or masks ---


IouType = Literal["bbox", "segm"]


def of_type(
    truth: GroundTruth, detections: Detections, iou_type: str
) -> tuple[GroundTruth, Detections]:
    """Gives both with what is compared, boxes or compressed masks; detections with nothing else.

    Raises:
        DataError: boxes are asked for and there are masks only, or the other way round; masks of
            the ground truth that are none.
        ValueError: `iou_type` is neither `bbox` nor `segm`.
    """
    if iou_type == "bbox":
        if detections.boxes is None:
            raise DataError(
                "the detections hold masks, and boxes are asked for",
                expected="'bbox' in every detection",
                mend="score masks, or write the boxes too",
                where=detections.where,
            )
        return replace(truth, masks=None), replace(detections, masks=None)
    if iou_type != "segm":
        raise ValueError(f"iou_type is {iou_type!r}, not 'bbox' or 'segm'")
    if detections.masks is None and detections.num:
        raise DataError(
            "the detections hold boxes, and masks are asked for",
            expected="'segmentation' in every detection",
            mend="score boxes, or write the masks too",
            where=detections.where,
        )
    masks = compressed_masks(truth)
    return replace(truth, masks=masks), replace(
        detections, boxes=None, masks=detections.masks or ()
    )


# --- Which detection COCO counts as which ground truth: `COCOeval.evaluateImg`, as columns ---


# pycocotools' `Params.setDetParams`; `linspace` as there, so that the floats are the same.
IOU_THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS: Final = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS: Final = (1, 10, 100)
AREA_RANGES: Final = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Square pixels; both ends belong to the range."""


_PAIRS_AT_ONCE: Final = 2_000_000


def group_numbers(truth: GroundTruth, objects: GroundTruth | Detections) -> NDArray[np.int64]:
    """Numbers the class and image of each object, by class, then by image in COCO's order."""
    ranks = truth.image_ranks[objects.images]
    return np.asarray(objects.categories.astype(np.int64) * truth.num_images + ranks)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Detections and annotations that may match, P pairs.

    Attributes:
        rows: int64 [P], the detection; ascending, so that those of one detection are neighbours.
        truths: int64 [P], the annotation; by rising IoU, then by position, within a detection.
        ious: float64 [P].
    """

    rows: NDArray[np.int64]
    truths: NDArray[np.int64]
    ious: NDArray[np.float64]


def near_pairs(
    truth: GroundTruth, chosen: Detections, groups: NDArray[np.int64], least_iou: float
) -> Pairs:
    """Gives all pairs of one group that overlap by `least_iou` or more.

    Args:
        truth: with masks in compressed run lengths, if they are what is compared.
        chosen: N detections in the order of their groups; boxes or masks, not both.
        groups: int64 [N], as `group_numbers` gives them.
        least_iou: above 0.

    Source: pycocotools' `COCOeval.computeIoU`.
    """
    truth_groups = group_numbers(truth, truth)
    by_group = np.argsort(truth_groups, kind="stable")
    first = np.searchsorted(truth_groups[by_group], groups, side="left")
    counts = np.searchsorted(truth_groups[by_group], groups, side="right") - first
    overlap = _mask_ious if chosen.boxes is None else _box_ious
    found = []
    for part in _parts(groups, counts):
        rows = np.repeat(part, counts[part])
        within = np.arange(len(rows)) - np.repeat(
            np.cumsum(counts[part]) - counts[part], counts[part]
        )
        truths = by_group[first[rows] + within]
        ious = overlap(truth, chosen, truths, rows, groups)
        near = ious >= least_iou
        found.append((rows[near], truths[near], ious[near]))
    rows, truths, ious = (np.concatenate(columns) for columns in zip(*found, strict=True))
    order = np.lexsort((truths, ious, rows))
    return Pairs(rows[order], truths[order], ious[order])


def _parts(groups: NDArray[np.int64], counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cuts the detections between groups, so that no part has many more pairs than fit."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    pairs_before = (np.cumsum(counts) - counts)[starts] // _PAIRS_AT_ONCE
    cuts = starts[np.flatnonzero(np.diff(pairs_before)) + 1]
    yield from np.split(np.arange(len(groups)), cuts)


def _box_ious(
    truth: GroundTruth,
    chosen: Detections,
    truths: NDArray[np.int64],
    rows: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Gives the IoU of each pair, in the arithmetic of maskApi.c's `bbIou`."""
    assert chosen.boxes is not None
    x, y, width, height = chosen.boxes[rows].T
    truth_x, truth_y, truth_width, truth_height = truth.boxes[truths].T
    # Areas beyond all floats are infinite in C, too, and their IoU is NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        wide = np.minimum(width + x, truth_width + truth_x) - np.maximum(x, truth_x)
        high = np.minimum(height + y, truth_height + truth_y) - np.maximum(y, truth_y)
        apart = (wide <= 0) | (high <= 0)
        common = wide * high
        area = width * height
        # Against a crowd, the share of the detection that lies in it.
        union = np.where(truth.is_crowd[truths], area, area + truth_width * truth_height - common)
        union[apart] = 1.0
        return np.where(apart, 0.0, common / union)


def _mask_ious(
    truth: GroundTruth,
    chosen: Detections,
    truths: NDArray[np.int64],
    rows: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Gives the IoU of each pair; a group's pairs are all its detections with all its truths."""
    from pycocotools import mask as mask_api

    assert chosen.masks is not None
    assert truth.masks is not None
    ious = np.empty(len(rows))
    edges = np.append(np.flatnonzero(np.diff(groups[rows], prepend=-1)), len(rows)).tolist()
    for begin, end in itertools.pairwise(edges):
        num_truths = int(np.searchsorted(rows[begin:end], rows[begin], side="right"))
        here = truths[begin : begin + num_truths].tolist()
        ious[begin:end] = mask_api.iou(
            [chosen.masks[row] for row in rows[begin:end:num_truths].tolist()],
            [truth.masks[index] for index in here],
            truth.is_crowd[here].astype(np.uint8).tolist(),
        ).ravel()
    return ious


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of every detection that COCO looks at, and of every annotation.

    N detections (at most 100 an image and class), G annotations, T = 10 IoU thresholds
    (`IOU_THRESHOLDS`), A = 4 area ranges (`AREA_RANGES`). Detections stand by class, then by image
    in COCO's order, then by falling score: the order in which `COCOeval.accumulate` sees them.

    Attributes:
        num_images, num_categories: of the data set, those without any object among them.
        rows: int64 [N], position in the `Detections` that were matched.
        images: int32 [N], index into `GroundTruth.image_ids`.
        categories: int32 [N], index into `GroundTruth.category_ids`.
        scores: float64 [N].
        ranks: int32 [N], place by score within image and class, from 0.
        matched: bool [A, T, N], it took an annotation, be it one that is ignored.
        ignored: bool [A, T, N], it counts neither as right nor as wrong.
        ground_truth: int32 [T, N], the annotation it took in the area range `all`; -1 for none.
        image_ranks: int64 [I], the place of each image in COCO's order.
        truth_images, truth_categories: int32 [G], as in the `GroundTruth`.
        truth_ignored: bool [A, G], it counts neither as found nor as missed.
    """

    num_images: int
    num_categories: int
    rows: NDArray[np.int64]
    images: NDArray[np.int32]
    categories: NDArray[np.int32]
    scores: NDArray[np.float64]
    ranks: NDArray[np.int32]
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    ground_truth: NDArray[np.int32]
    image_ranks: NDArray[np.int64]
    truth_images: NDArray[np.int32]
    truth_categories: NDArray[np.int32]
    truth_ignored: NDArray[np.bool_]

    @property
    def num(self) -> int:
        """N."""
        return len(self.rows)


def match(truth: GroundTruth, detections: Detections, iou_type: str = "bbox") -> Matches:
    """Matches detections with ground truth as COCO does.

    Args:
        truth: the data set.
        detections: of images and classes of `truth`.
        iou_type: `bbox`, or `segm` for the overlap (and, of detections, the area) of masks.

    Raises:
        DataError: masks are asked for, and either side has none; or boxes, and there are none.

    Source: pycocotools' `COCOeval.evaluate`, `computeIoU` and `evaluateImg`, down to the order
    among equal scores and equal overlaps, and to the annotation of id 0, which never counts as
    found.
    """
    truth, detections = of_type(truth, detections, iou_type)
    groups, order, ranks = _coco_order(truth, detections)
    chosen = detections.subset(order)
    truth_ignored = truth.is_crowd | _out_of_range(truth.areas)
    pairs = near_pairs(truth, chosen, groups, float(IOU_THRESHOLDS[0]))
    rows, taken = _greedy(truth, truth_ignored, groups, pairs)

    shape = (len(AREA_RANGES), len(IOU_THRESHOLDS), chosen.num)
    matched = np.zeros(shape, np.bool_)
    ignored = np.empty(shape, np.bool_)
    ignored[:] = _out_of_range(_areas(chosen))[:, None]
    area, threshold, place = np.nonzero(taken >= 0)
    winner = taken[area, threshold, place]
    # COCOeval notes a match by the annotation's id, and reads 0 as none.
    noted = truth.ids[winner] != 0
    matched[area, threshold, rows[place]] = noted
    ignored[area, threshold, rows[place]] &= ~noted
    ignored[area, threshold, rows[place]] |= truth_ignored[area, winner]
    ground_truth = np.full(shape[1:], -1, np.int32)
    ground_truth[:, rows] = np.where(truth.ids[taken[0]] == 0, -1, taken[0]) if len(rows) else -1
    return Matches(
        num_images=truth.num_images,
        num_categories=truth.num_categories,
        rows=order,
        images=chosen.images,
        categories=chosen.categories,
        scores=chosen.scores,
        ranks=ranks,
        matched=matched,
        ignored=ignored,
        ground_truth=ground_truth,
        image_ranks=truth.image_ranks,
        truth_images=truth.images,
        truth_categories=truth.categories,
        truth_ignored=truth_ignored,
    )


def _coco_order(
    truth: GroundTruth, detections: Detections
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Gives group, position and rank, [N], of the detections that COCO keeps, in its order."""
    groups = group_numbers(truth, detections)
    # A stable sort: of equal scores, the first in the file comes first.
    order = np.lexsort((-detections.scores, groups))
    groups = groups[order]
    ranks = np.arange(len(order)) - np.searchsorted(groups, groups, side="left")
    kept = ranks < MAX_DETECTIONS[-1]
    return groups[kept], order[kept], ranks[kept].astype(np.int32)


def _out_of_range(areas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Gives [A, N]: the area is not in the range."""
    return np.stack([(areas < low) | (areas > high) for low, high in AREA_RANGES.values()])


def _areas(detections: Detections) -> NDArray[np.float64]:
    if detections.areas is not None:
        return detections.areas
    if detections.boxes is None:
        return mask_areas(detections.masks or ())
    with np.errstate(over="ignore"):  # infinite, as in C: larger than large
        return np.asarray(detections.boxes[:, 2] * detections.boxes[:, 3])


def _greedy(
    truth: GroundTruth,
    truth_ignored: NDArray[np.bool_],
    groups: NDArray[np.int64],
    pairs: Pairs,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Gives the detections that have a pair, [C], and what they took: int32 [A, T, C], -1: none."""
    rows, starts, counts = np.unique(pairs.rows, return_index=True, return_counts=True)
    turns = np.arange(len(rows)) - np.searchsorted(groups[rows], groups[rows], side="left")
    shape = (len(AREA_RANGES), len(IOU_THRESHOLDS))
    taken = np.full((*shape, len(rows)), -1, np.int32)
    used = np.zeros((*shape, truth.num_annotations), np.bool_)
    # COCO's own bound, which matters for a threshold of 1 only.
    least = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    if not len(rows):
        return rows, taken
    by_turn = np.argsort(turns, kind="stable")
    for now in np.split(by_turn, np.flatnonzero(np.diff(turns[by_turn])) + 1):
        edges = np.cumsum(counts[now]) - counts[now]
        total = int(counts[now].sum())
        offered = np.repeat(starts[now] - edges, counts[now]) + np.arange(total)
        truths = pairs.truths[offered]
        free = (pairs.ious[offered] >= least) & ~used[:, :, truths]
        # The last pair wins: the best overlap, among those that count if there is one.
        preference = np.arange(total) + np.where(truth_ignored[:, None, truths], 0, total)
        best = np.maximum.reduceat(np.where(free, preference, -1), edges, axis=-1)
        chosen = np.where(best >= 0, truths[best % total], -1)
        taken[:, :, now] = chosen
        area, threshold, place = np.nonzero(best >= 0)
        winner = chosen[area, threshold, place]
        # A crowd takes any number of detections.
        used[area, threshold, winner] = ~truth.is_crowd[winner]
    return rows, taken
