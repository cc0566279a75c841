"""Pairs of a detection and an annotation of one image and class that overlap enough to match."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.coco_data import Detections, GroundTruth

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
