"""Tells boxes that were written otherwise than COCO's x, y, width, height in pixels.

What they are instead shows exactly where an annotation has its outline or its area, too: read the
right way, the box encloses the outline, and has that area. Without either, corners reach beyond
their images when they are read as sizes, and shares of the image lie in its first pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_COMPARED = 5_000
"""Boxes that are looked at: more tell nothing new."""

MOST_OUTLINES = 1_000
"""Of them, those whose outline is looked at."""

_LARGEST = 1e9  # pixels; beyond it is no box of any image

# All boxes of a data set in the corner of so many pixels are shares of the image.
_MOST_OF_SHARES = 2.0
# Rounding may put an edge so many pixels beyond the image, or away from the outline.
_SLACK = 1.0
_LEAST_SIDE = 16  # pixels: boxes may fill an image below this and be taken for shares
_UNITS = {1.0: "as shares of the image", 100.0: "as percent", 1000.0: "as thousandths"}
AS_IS = "x, y, width, height"
"""How COCO writes boxes."""

_CORNERS = "x1, y1, x2, y2"
_ORDERS = (AS_IS, _CORNERS, "y, x, height, width", "y1, x1, y2, x2", "centre, width, height")
_EDGE_PIXELS, _AREA_SHARE, _AREA_PIXELS = 2.0, 0.01, 2.0
# The other reading must be right for half of the boxes, the right one for an eighth at most.
_MOST, _FEW = 0.5, 0.125
_LEAST_COMPARED = 0.05  # share of the boxes, and so many; a few odd ones stand for no others
_LEAST_KNOWN = 3
_FAR, _NEARLY_ALL, _LEAST_BOXES, _SOME_BOXES, _SOME = 0.05, 0.98, 3, 20, 0.2

_Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BoxSample:
    """Boxes of a data set, none of them a crowd region, and what else is known of their objects.

    Attributes:
        boxes: float64 [N, 4] as written, finite, the last two above 0.
        sizes: float64 [N, 2], width and height of the image.
        areas: float64 [N], NaN where not known.
        outlines: float64 [N, 4], left, top, right and bottom of the outline; NaN where not known.
    """

    boxes: _Array
    sizes: _Array
    areas: _Array
    outlines: _Array


def are_boxes(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows are numbers that a box of some image may have: finite, and not without a size."""
    with np.errstate(invalid="ignore"):
        sound = (np.abs(boxes) < _LARGEST).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    return np.asarray(sound, np.bool_)


def spread(rows: NDArray[np.int64], most: int = MOST_COMPARED) -> NDArray[np.int64]:
    """Gives up to `most` of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def misread_boxes(sample: BoxSample) -> str:
    """Gives, as a clause with numbers, why boxes are not x, y, width, height; empty for sound ones.

    Some odd ones among others are no reason: most of the boxes must fit another reading, and few
    the right one.
    """
    if not len(sample.boxes):
        return ""
    as_is = corners_of(sample.boxes, AS_IS)
    return _by_outlines(sample, as_is) or _by_areas(sample, as_is) or _by_place(sample)


def lie_in_corner(boxes: _Array) -> NDArray[np.bool_]:
    """Tells which boxes, [N, 4], end within two pixels of their image's corner."""
    with np.errstate(over="ignore"):
        result: NDArray[np.bool_] = (boxes[:, :2] + boxes[:, 2:]).max(axis=1) <= _MOST_OF_SHARES
    return result


def share_beyond(boxes: _Array, sizes: _Array, slack: float | _Array = _SLACK) -> float:
    """Gives the share of boxes, [N, 4], that end beyond their image, of those of known size.

    `sizes` are widths and heights, [N, 2], 0 for one that is not known.
    """
    known = (sizes > 0).all(axis=1)
    if not known.any():
        return 0.0
    with np.errstate(over="ignore"):
        beyond = boxes[:, :2] + boxes[:, 2:] > sizes + slack
    return float(beyond[known].any(axis=1).mean())


def _by_outlines(sample: BoxSample, as_is: _Array) -> str:
    known = np.asarray(np.isfinite(sample.outlines).all(axis=1))
    if not _is_enough(known):
        return ""

    def agree(corners: _Array) -> NDArray[np.bool_]:
        fits: NDArray[np.bool_] = _apart(corners, sample.outlines) <= _EDGE_PIXELS
        return fits

    for name, corners in other_readings(sample.boxes, sample.sizes):
        told = known & (_apart(corners, as_is) > 2 * _EDGE_PIXELS)
        if clause := _verdict(agree(corners), agree(as_is), known, told, name):
            return clause.format("enclose their outlines ('segmentation')")
    return ""


def _by_areas(sample: BoxSample, as_is: _Array) -> str:
    with np.errstate(invalid="ignore"):
        known = np.asarray((sample.areas > 0) & (sample.areas < np.inf))
    if not _is_enough(known):
        return ""
    own = _areas(as_is)

    def agree(areas: _Array) -> NDArray[np.bool_]:
        off = np.abs(areas - sample.areas)
        fits: NDArray[np.bool_] = off <= np.maximum(_AREA_SHARE * sample.areas, _AREA_PIXELS)
        return fits

    for name, corners in other_readings(sample.boxes, sample.sizes):
        areas = _areas(corners)
        told = known & (np.abs(areas - own) > 0.05 * np.maximum(areas, own))
        if clause := _verdict(agree(areas), agree(own), known, told, name):
            return clause.format("have the 'area' that is written beside them")
    return ""


def _is_enough(known: NDArray[np.bool_]) -> bool:
    return bool(known.sum() >= max(min(_LEAST_KNOWN, len(known)), _LEAST_COMPARED * len(known)))


def _verdict(
    other: NDArray[np.bool_],
    own: NDArray[np.bool_],
    known: NDArray[np.bool_],
    told: NDArray[np.bool_],
    name: str,
) -> str:
    """Gives a clause with a gap for what the boxes do; empty where the reading is not better."""
    count = int(told.sum())
    if count < _MOST * known.sum():
        return ""
    as_other, as_own = int(other[told].sum()), int(own[told].sum())
    if as_other < _MOST * count or as_own > _FEW * count:
        return ""
    return f"{as_other:,} of {count:,} {{}} as {name}, and {as_own:,} do as {AS_IS}"


def _by_place(sample: BoxSample) -> str:
    boxes, sizes = sample.boxes, sample.sizes
    large = (sizes >= _LEAST_SIDE).all(axis=1)
    boxes, sizes = boxes[large], sizes[large]
    count = len(boxes)
    if not count:
        return ""
    within = lie_in_corner(boxes)
    below_pixel = within & (boxes[:, 2:] < 1).any(axis=1)
    if (within.all() and count >= _LEAST_BOXES) or below_pixel.mean() > _MOST:
        return (
            f"{int(within.sum()):,} of {count:,} end within {_MOST_OF_SHARES:g} pixels of their "
            "image's corner, as shares of the image do"
        )
    beyond = share_beyond(boxes, sizes, np.maximum(_SLACK, _FAR * sizes))
    if count < _LEAST_BOXES or beyond <= (_SOME if count >= _SOME_BOXES else _MOST):
        return ""
    for name in (_CORNERS, "y1, x1, y2, x2"):
        corners = corners_of(boxes, name)
        is_box = (corners[:, 2:] > corners[:, :2]).all(axis=1)
        is_box &= (corners[:, 2:] <= sizes + _EDGE_PIXELS).all(axis=1)
        if is_box.mean() >= _NEARLY_ALL:
            return (
                f"{100 * beyond:.0f} % of {count:,} end far beyond their image as {AS_IS}, and "
                f"{int(is_box.sum()):,} lie within it as {name}"
            )
    return ""


def other_readings(boxes: _Array, sizes: _Array) -> Iterator[tuple[str, _Array]]:
    """Gives what else four numbers, [N, 4], may mean, with left, top, right and bottom in pixels.

    `sizes` are widths and heights, [N, 2], 0 for one that is not known.
    """
    for name in _ORDERS[1:]:
        yield name, corners_of(boxes, name)
    scale = np.concatenate([sizes, sizes], axis=1)
    for whole, unit in _UNITS.items():
        for name in _ORDERS:
            of_unit = scale[:, [1, 0, 3, 2]] if name.startswith("y") else scale
            yield f"{name} {unit}", corners_of(boxes / whole * of_unit, name)


def corners_of(boxes: _Array, name: str) -> _Array:
    """Gives left, top, right and bottom, [N, 4], of boxes that are read in one of the orders."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if name.startswith("y"):
        first, second = first[:, ::-1], second[:, ::-1]
    if name == _ORDERS[-1]:
        return np.concatenate([first - second / 2, first + second / 2], axis=1)
    if name in (_CORNERS, "y1, x1, y2, x2"):
        return np.concatenate([first, second], axis=1)
    return np.concatenate([first, first + second], axis=1)


def _areas(corners: _Array) -> _Array:
    result: _Array = np.maximum(corners[:, 2:] - corners[:, :2], 0).prod(axis=1)
    return result


def _apart(one: _Array, other: _Array) -> _Array:
    """Gives how far edges are apart at most, [N]; infinite where one is not known."""
    apart = np.abs(one - other).max(axis=1)
    return np.where(np.isnan(apart), np.inf, apart)
