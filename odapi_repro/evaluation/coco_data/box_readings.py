"""What else the boxes of detections may mean: the reading that puts them on the objects.

Detections whose boxes hit no object may be read wrongly: two corners, y before x, shares of the
image, pixels of the image that the network saw. Each reading is held against the ground truth's
boxes, whatever the classes are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.box_units import AS_IS, are_boxes, corners_of, other_readings, spread
from odapi_repro.evaluation.coco_data.coco_columns import Detections, GroundTruth

_MOST_IMAGES = 200
_MOST_OF_IMAGE = 20  # detections by score; so many more where an image has more objects
_HIT = 0.5  # IoU
# A reading must put boxes on so many objects and this share of them, four times as many as the
# boxes as they are, and more by so many standard deviations. A scale is fitted to the boxes, and
# must hit more.
_LEAST_OBJECTS, _LEAST_SHARE, _LEAST_TIMES, _LEAST_SURE = 7, 0.3, 4, 2.5
_LEAST_SCALED = 10
_SCALED_ORDERS = (AS_IS, "x1, y1, x2, y2", "y1, x1, y2, x2")
# Sides and places of a pair must tell the same scale up to this, in logarithms.
_SAME_SCALE = 0.15
_BIN = 0.1

_Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Sample:
    """Objects, the most confident detections of their images, and all pairs of both.

    Attributes:
        boxes: [D, 4] as written.
        sizes: [D, 2], width and height of the image of each; 0 where not known.
        objects: [N, 4], left, top, right and bottom.
        rows, owners: int64 [P], the detection and the object of each pair.
    """

    boxes: _Array
    sizes: _Array
    objects: _Array
    rows: NDArray[np.int64]
    owners: NDArray[np.int64]

    def hits(self, corners: _Array) -> int:
        """Gives how many objects have a box on them, with the detections read as `corners`."""
        ious = _overlaps(corners[self.rows], self.objects[self.owners])
        return len(np.unique(self.owners[ious >= _HIT]))


def better_reading(detections: Detections, truth: GroundTruth) -> str:
    """Gives, as a clause with numbers, the reading that puts the boxes on the objects; else empty.

    Nothing is said where a fair part of the objects is hit as it is, or where no reading hits many.
    """
    sample = _sample(detections, truth)
    count = len(sample.objects)
    if count < _LEAST_OBJECTS or not len(sample.boxes):
        return ""
    own = sample.hits(corners_of(sample.boxes, AS_IS))
    if own * _LEAST_TIMES > count:
        return ""
    best, name = 0, ""
    least = max(_LEAST_OBJECTS, _LEAST_SHARE * count, _LEAST_TIMES * own)
    for reading, corners, at_least in _readings(sample):
        hits = sample.hits(corners)
        sure = hits - own >= _LEAST_SURE * math.sqrt(hits + own)
        if hits > best and hits >= max(least, at_least) and sure:
            best, name = hits, reading
    if not name:
        return ""
    which = " (or those of the ground truth are)" if name.startswith("y, x") else ""
    return (
        f"read as {name}{which}, they lie on {best:,} of {count:,} objects (IoU 0.5), and on "
        f"{own:,} as {AS_IS} in pixels of the image"
    )


def _sample(detections: Detections, truth: GroundTruth) -> _Sample:
    """Takes up to 200 of the images with objects."""
    assert detections.boxes is not None
    objects = np.flatnonzero(~truth.is_crowd & are_boxes(truth.boxes))
    images = spread(np.unique(truth.images[objects]).astype(np.int64), _MOST_IMAGES)
    objects = objects[np.isin(truth.images[objects], images)]
    objects = objects[np.argsort(truth.images[objects], kind="stable")]
    counts = np.bincount(truth.images[objects], minlength=truth.num_images)
    rows = np.flatnonzero((counts[detections.images] > 0) & are_boxes(detections.boxes))
    rows = rows[np.lexsort((-detections.scores[rows], detections.images[rows]))]
    image = detections.images[rows]
    place = np.arange(len(rows)) - np.searchsorted(image, image)
    rows = rows[place < _MOST_OF_IMAGE + counts[image]]
    image = detections.images[rows]
    first = np.searchsorted(truth.images[objects], image)
    of_pair = np.repeat(np.arange(len(rows)), counts[image])
    within = np.arange(len(of_pair)) - np.searchsorted(of_pair, of_pair)
    sizes = np.stack([truth.widths[image], truth.heights[image]], axis=1)
    return _Sample(
        boxes=detections.boxes[rows],
        sizes=sizes.astype(np.float64),
        objects=corners_of(truth.boxes[objects], AS_IS),
        rows=of_pair,
        owners=first[of_pair] + within,
    )


def _readings(sample: _Sample) -> Iterator[tuple[str, _Array, int]]:
    """Gives what else the boxes may mean: left, top, right, bottom, and the objects to be hit."""
    for name, corners in (*other_readings(sample.boxes, sample.sizes), *_turned(sample)):
        yield name, corners, _LEAST_OBJECTS
    for order in _SCALED_ORDERS:
        for name, corners in _resized(sample, corners_of(sample.boxes, order)):
            yield f"{order} {name}", corners, _LEAST_SCALED


def _turned(sample: _Sample) -> Iterator[tuple[str, _Array]]:
    """Gives the boxes with their places alone exchanged, or counted from the other end."""
    boxes = sample.boxes
    yield "y, x, width, height", corners_of(boxes[:, [1, 0, 2, 3]], AS_IS)
    mirrored = np.where(sample.sizes > 0, sample.sizes - boxes[:, :2] - boxes[:, 2:], np.nan)
    for axis, name in enumerate(("x counted from the right", "y counted from the bottom")):
        turned = boxes.copy()
        turned[:, axis] = mirrored[:, axis]
        yield f"{AS_IS} with {name}", corners_of(turned, AS_IS)


def _resized(sample: _Sample, corners: _Array) -> Iterator[tuple[str, _Array]]:
    """Gives the boxes as they are in the image, where they are of one that was resized."""
    sizes = sample.sizes
    longer = np.repeat(sizes.max(axis=1, keepdims=True), 2, axis=1)
    shorter = np.repeat(sizes.min(axis=1, keepdims=True), 2, axis=1)
    none = np.zeros_like(sizes)
    for name, unit, edge in (
        ("of the image resized to about {0:.0f} x {1:.0f} pixels", sizes, none),
        ("of the image resized to a longer side of about {0:.0f} pixels", longer, none),
        ("of the image resized to a shorter side of about {0:.0f} pixels", shorter, none),
        ("of the image with x times {0:.3g} and y times {1:.3g}", np.ones_like(sizes), none),
        (
            "of the image between equal borders that make it square, of about {0:.0f} x {0:.0f}"
            " pixels",
            longer,
            (longer - sizes) / 2,
        ),
    ):
        scales, rows = _scales(sample, corners, edge)
        known = (unit[rows] > 0).all(axis=1)
        side = _most_common(scales[known] * unit[rows[known]])
        keeps_aspect = unit is longer or unit is shorter
        if side is None or (keeps_aspect and abs(math.log(side[0] / side[1])) > _BIN):
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            by = np.where(unit > 0, side / unit, np.nan)
        yield name.format(*side), corners / np.tile(by, 2) - np.tile(edge, 2)


def _scales(sample: _Sample, corners: _Array, edge: _Array) -> tuple[_Array, NDArray[np.int64]]:
    """Gives the pairs that differ by a scale, [S, 2] in x and y, and their detections, [S].

    `edge` is the border left of each image and above it, before it was resized.
    """
    found = corners[sample.rows]
    objects = sample.objects[sample.owners] + np.tile(edge[sample.rows], 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = np.log(found[:, 2:] - found[:, :2]) - np.log(objects[:, 2:] - objects[:, :2])
        ends = np.log(found[:, 2:]) - np.log(objects[:, 2:])
        same = (np.abs(sides - ends) < _SAME_SCALE).all(axis=1)
    return np.exp(ends[same]), sample.rows[same]


def _most_common(values: _Array) -> _Array | None:
    """Gives the middle of the values, [S, 2], that stand closest together; None without any."""
    if not len(values):
        return None
    logs = np.log(values)
    bins, counts = np.unique(np.floor(logs / _BIN), axis=0, return_counts=True)
    centre = (bins[counts.argmax()] + 0.5) * _BIN
    near = (np.abs(logs - centre) < _BIN).all(axis=1)
    result: _Array = np.exp(np.median(logs[near], axis=0))
    return result


def _overlaps(one: _Array, other: _Array) -> _Array:
    """Gives the IoU of boxes, [P, 4] of corners each; 0 where one is none."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        common = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
        shared = np.maximum(common, 0).prod(axis=1)
        union = sum((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (one, other)) - shared
        is_box = (one[:, 2:] > one[:, :2]).all(axis=1)
        result: _Array = np.where(is_box & (union > 0), shared / union, 0.0)
    return result
