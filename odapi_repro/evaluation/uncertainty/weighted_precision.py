"""Average precision of one class in many weighted samples, from the detections that matter.

Recall rises only where a detection is right, and COCO's precision is read where recall rises. What
is wrong in between enters as one weighted sum, by a sparse matrix. Arrays are [rows, samples]: sums
run down the rows, and every operation works on whole rows of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from odapi_repro.evaluation.scoring.matching import RECALL_THRESHOLDS, Matches

_IOU_50, _IOU_75 = 0, 5

# Recall of exactly n/100 misses the threshold of that name for these n: the float of
# `linspace(0, 1, 101)`, to which `COCOeval.accumulate` compares, lies above it. Such a recall needs
# a number of annotations that ten divides.
_MISSED: Final = np.arange(101) / 100 < RECALL_THRESHOLDS
_MISSED_DIVISOR: Final = 10


def summing_matrix(
    rows: NDArray[Any], images: NDArray[Any], values: NDArray[Any], shape: tuple[int, int]
) -> sparse.csr_array:
    """Gives the matrix that turns weights of images, [I, R], into weighted sums of `values`.

    Args:
        rows: of the result, one for each value.
        images: whose weight a value has.
        values: what is summed.
        shape: (rows, I).
    """
    return sparse.csr_array((values.astype(np.float64), (rows, images)), shape=shape)


@dataclass(frozen=True, eq=False)
class Events:
    """The detections of one class and area range at which recall may rise, best score first.

    S events, among them every detection that is right at some threshold.

    Attributes:
        images: [S].
        copies: [S]; an event of copy c stands for the image's c-th copy alone, one of copy -1 for
            all of them (see `weighted_metrics._unrolled`).
        right, counted: bool [T, S].
        others_before: [S, I], the detections that count between the event before and this one,
            all of them wrong.
    """

    images: NDArray[np.int32]
    copies: NDArray[np.int64]
    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    others_before: sparse.csr_array


def events_of_class(
    matches: Matches,
    is_matched: NDArray[np.bool_],
    rows: NDArray[np.int64],
    copies: NDArray[np.int64],
    area: int,
) -> Events:
    """Gives the events of one class.

    Args:
        matches: of all classes.
        is_matched: [N], at some threshold in some area range, or ignored at some and not at
            others; most detections are neither.
        rows: the class's detections by falling score.
        copies: of each row, as in `Events`.
        area: range.
    """
    possible = np.flatnonzero(is_matched[rows] | (copies >= 0))
    counted = ~matches.ignored[area][:, rows[possible]]
    right = matches.matched[area][:, rows[possible]] & counted
    kept = right.any(axis=0) | (counted != counted[0]).any(axis=0)
    kept |= (copies[possible] >= 0) & counted[0]
    chosen = possible[kept]
    others = ~matches.ignored[area, 0, rows]
    others[chosen] = False
    wrong = np.flatnonzero(others)
    segment = np.searchsorted(chosen, wrong)
    # What comes after the last event changes nothing.
    wrong, segment = wrong[segment < len(chosen)], segment[segment < len(chosen)]
    images = matches.images[rows]
    return Events(
        images=images[chosen],
        copies=copies[chosen],
        right=right[:, kept],
        counted=counted[:, kept],
        others_before=summing_matrix(
            segment, images[wrong], np.ones(len(wrong)), (len(chosen), matches.num_images)
        ),
    )


def average_precisions(
    events: Sequence[Events], weights: NDArray[np.float64], num_truths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """AP AP50 AP75 APs APm APl of one class, [6, R], in points.

    Args:
        events: of the area ranges that are wanted.
        weights: [I, R].
        num_truths: [A, R].
    """
    result = np.full((6, weights.shape[1]), np.nan)
    for area, (of_area, truths) in enumerate(zip(events, num_truths, strict=False)):
        precisions = _precisions(of_area, weights, np.maximum(truths, 1.0))
        precisions[:, truths == 0] = np.nan
        result[2 + area if area else 0] = precisions.mean(axis=0)
        if area == 0:
            result[1:3] = precisions[[_IOU_50, _IOU_75]]
    return result


def _precisions(
    events: Events, weights: NDArray[np.float64], num_truths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average precision at each IoU threshold in each sample, [T, R], in points.

    Args:
        weights: [I, R].
        num_truths: [R], above 0.
    """
    weight = weights[events.images]
    copied = events.copies >= 0
    if copied.any():
        weight[copied] = np.clip(weight[copied] - events.copies[copied, None], 0.0, 1.0)
    # In hundredths: recall comes out in percent, by one division of whole numbers.
    weight *= 100.0
    position = events.others_before @ weights
    position *= 100.0
    position += weight
    np.cumsum(position, axis=0, out=position)
    result = np.zeros((len(events.right), weights.shape[1]))
    # Fresh memory costs as much as the arithmetic.
    buffers = np.empty((2, *weight.shape))
    for threshold, (right, counted) in enumerate(zip(events.right, events.counted, strict=True)):
        rows = np.flatnonzero(right)
        if not len(rows):
            continue
        found, precision = buffers[:, : len(rows)]
        np.take(weight, rows, axis=0, out=found, mode="clip")
        np.cumsum(found, axis=0, out=found)
        np.take(position, rows, axis=0, out=precision, mode="clip")
        ignored = np.flatnonzero(~counted)
        before = np.searchsorted(ignored, rows)
        below = precision[np.searchsorted(before, 1) :]
        if len(below):
            below -= np.cumsum(weight[ignored], axis=0)[before[-len(below) :] - 1]
        # Above the first image that is drawn it is 0 / 0, which `fmax` passes over.
        with np.errstate(invalid="ignore"):
            np.divide(found, precision, out=precision)
        np.fmax.accumulate(precision[::-1], axis=0, out=precision[::-1])
        reached = _percent_reached(found, num_truths)
        # Each precision counts for the recall thresholds, 0 among them, that it is first to reach.
        result[threshold] = precision[0] + np.einsum("sr,sr->r", precision, reached)
        result[threshold] -= np.einsum("sr,sr->r", precision[1:], reached[:-1])
    # NaN where no image with a detection that counts is drawn.
    return np.nan_to_num(result * (100.0 / len(RECALL_THRESHOLDS)))


def _percent_reached(
    found: NDArray[np.float64], num_truths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The highest of the recall thresholds 0, 1 ... 100 percent reached, [S, R]; in place.

    Args:
        found: hundred times the number found, [S, R]. A quotient of whole numbers is whole in
            floating point if it is in truth, and else further from a whole number than rounding.
        num_truths: [R].
    """
    found /= num_truths
    samples = np.flatnonzero(num_truths % _MISSED_DIVISOR == 0)
    percent = found[:, samples]
    whole = np.flatnonzero(percent == np.floor(percent))
    missed = whole[_MISSED[percent.ravel()[whole].astype(np.int64)]]
    row, column = np.divmod(missed, max(len(samples), 1))
    np.floor(found, out=found)
    found[row, samples[column]] -= 1.0
    return found
