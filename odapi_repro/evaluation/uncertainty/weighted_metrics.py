"""COCO's metrics of many weighted samples of one data set at once.

A weight of k makes an image count as if it stood in the data set k times, with all its ground truth
and detections. Matching happens within an image, so it is done once, and a sample changes only how
often each outcome counts: precision and recall become ratios of weighted counts.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from odapi_repro.evaluation.scoring.matching import AREA_RANGES, MAX_DETECTIONS, Matches
from odapi_repro.evaluation.uncertainty.weighted_precision import (
    Events,
    average_precisions,
    events_of_class,
    summing_matrix,
)

_WEIGHTS_AT_ONCE: Final = 800_000


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
