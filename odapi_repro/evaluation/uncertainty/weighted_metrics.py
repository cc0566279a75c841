"""COCO's metrics of many weighted samples of one data set at once.

A weight of k makes an image count as if it stood in the data set k times, with all its ground truth
and detections. Matching happens within an image, so it is done once, and a sample changes only how
often each outcome counts: precision and recall become ratios of weighted counts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from odapi_repro.evaluation.scoring.detection_matching import (
    AREA_RANGES,
    MAX_DETECTIONS,
    RECALL_THRESHOLDS,
    Matches,
)

_WEIGHTS_AT_ONCE: Final = 800_000


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


def weighted_metrics(
    matches: Matches, weights: NDArray[Any], *, sizes: bool = True
) -> NDArray[np.float64]:
    """Gives the 12 metrics of every class in every sample, float64 [12, K, R], in points.

    NaN where a class has no ground truth of that size in a sample. COCO's figure is the mean over
    the classes that are not NaN.

    Args:
        matches: of I images.
        weights: [R, I], how often each image stands in each sample; whole numbers, 0 and up.
        sizes: whether APs, APm and APl are wanted; without them it takes half the time, and they
            are NaN.

    Copies of an image count as COCO would count them with ids that follow one another, ties of
    score within an image included.

    Source: pycocotools' `COCOeval.accumulate` and `summarize`.
    """
    truth_counts, hit_counts = _truth_counts(matches), _hit_counts(matches)
    rows, copies = _unrolled(matches, weights)
    edges = np.searchsorted(matches.categories[rows], np.arange(matches.num_categories + 1))
    areas = range(len(AREA_RANGES) if sizes else 1)
    # Without a match it counts at all thresholds or at none, unless it took a crowd of id 0.
    differs = (matches.ignored != matches.ignored[:, :1]).any(axis=(0, 1))
    is_matched = np.asarray(matches.matched.any(axis=(0, 1)) | differs)

    def events_of(category: int) -> list[Events]:
        part = slice(edges[category], edges[category + 1])
        return [
            events_of_class(matches, is_matched, rows[part], copies[part], area) for area in areas
        ]

    result = np.empty((12, matches.num_categories, len(weights)))
    # What one step works on should stay in the cache of a core.
    width = int(np.clip(_WEIGHTS_AT_ONCE // max(matches.num_images, 1), 64, 1024))
    # NumPy and SciPy let go of the interpreter inside their loops.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        events = list(pool.map(events_of, range(matches.num_categories)))
        for begin in range(0, len(weights), width):
            block = np.ascontiguousarray(weights[begin : begin + width].T, np.float64)
            truths = (truth_counts @ block).reshape(len(AREA_RANGES), len(events), -1)
            hits = (hit_counts @ block).reshape(6, len(events), -1)
            into = result[:, :, begin : begin + width]
            precisions = pool.map(
                average_precisions, events, repeat(block), truths.transpose(1, 0, 2)
            )
            for category, precision in enumerate(precisions):
                into[:6, category] = precision
            with np.errstate(invalid="ignore"):
                # Points, and hits are summed over 10 thresholds.
                into[6:] = 10.0 * hits / truths[[0, 0, 0, 1, 2, 3]]
    return result


def images_with_truth(matches: Matches) -> NDArray[np.int64]:
    """Gives how many images hold ground truth that counts, int64 [A, K]."""
    images = np.diff(_truth_counts(matches).indptr)
    return images.reshape(len(AREA_RANGES), matches.num_categories).astype(np.int64)


def _truth_counts(matches: Matches) -> sparse.csr_array:
    """[A * K, I]: annotations that count, by area range and class."""
    area, annotation = np.nonzero(~matches.truth_ignored)
    rows = area * matches.num_categories + matches.truth_categories[annotation]
    return summing_matrix(
        rows,
        matches.truth_images[annotation],
        np.ones(len(rows)),
        _shape(matches, len(AREA_RANGES)),
    )


def _hit_counts(matches: Matches) -> sparse.csr_array:
    """[6 * K, I]: annotations found, summed over thresholds, for AR1 AR10 AR100 ARs ARm ARl."""
    matched = np.flatnonzero(matches.matched.any(axis=(0, 1)))
    right = matches.matched[:, :, matched] & ~matches.ignored[:, :, matched]
    hits = right.sum(axis=1)
    ranks = matches.ranks[matched]
    hits = np.stack([*(hits[0] * (ranks < most) for most in MAX_DETECTIONS), *hits[1:]])
    metric, place = np.nonzero(hits)
    row = matched[place]
    rows = metric * matches.num_categories + matches.categories[row]
    return summing_matrix(
        rows, matches.images[row], hits[metric, place], _shape(matches, len(hits))
    )


def _shape(matches: Matches, kinds: int) -> tuple[int, int]:
    return kinds * matches.num_categories, matches.num_images


def _unrolled(
    matches: Matches, weights: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Gives the detections by class and falling score, and which copy of its image each is of.

    Almost all stand for every copy of their image (-1). Detections of one image and class with
    equal scores do not, where some are right and some wrong: two copies of right, wrong give COCO
    right, wrong, right, wrong. They are written out, once for each copy that occurs.
    """
    order = np.lexsort((-matches.scores, matches.categories))
    columns = (matches.scores[order], matches.categories[order], matches.images[order])
    starts = np.ones(len(order), np.bool_)
    starts[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    run = np.cumsum(starts) - 1
    tied = np.flatnonzero(np.bincount(run)[run] > 1)
    if len(tied):
        counted = ~matches.ignored[:, :, order[tied]]
        right = matches.matched[:, :, order[tied]] & counted
        of_run = np.flatnonzero(starts[tied])
        mixed = np.logical_or.reduceat(right, of_run, axis=-1)
        mixed &= np.logical_or.reduceat(counted & ~right, of_run, axis=-1)
        lengths = np.diff(of_run, append=len(tied))
        tied = tied[np.repeat(mixed.any(axis=(0, 1)), lengths)]
    most = int(weights[:, np.unique(columns[2][tied])].max(initial=0))
    if most <= 1:
        return order, np.full(len(order), -1)
    alone = np.setdiff1d(np.arange(len(order)), tied, assume_unique=True)
    places = np.concatenate([alone, np.repeat(tied, most)])
    copies = np.concatenate([np.full(len(alone), -1), np.tile(np.arange(most), len(tied))])
    by_copy = np.lexsort((places, copies, run[places]))
    return order[places[by_copy]], copies[by_copy]
