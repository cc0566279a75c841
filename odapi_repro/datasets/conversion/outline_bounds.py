"""The edges of a COCO segmentation, without drawing its polygons."""

from __future__ import annotations

import itertools
import math
from typing import Any

from pycocotools import mask as coco_mask

from odapi_repro.datasets.conversion.masks import rle_of
from odapi_repro.datasets.json_numbers import are_within
from odapi_repro.datasets.outline_limits import furthest_corner

__all__ = ["outline_bounds"]

_NONE = (math.nan, math.nan, math.nan, math.nan)


def outline_bounds(segmentation: Any, height: int, width: int) -> tuple[float, float, float, float]:
    """Gives left, top, right and bottom of polygons or an RLE; NaN for none and for damaged ones.

    `height` and `width` are the image's.
    """
    if isinstance(segmentation, dict):
        return _of_rle(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        return _NONE
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    if not all(isinstance(one, list) for one in polygons):
        return _NONE
    numbers = list(itertools.chain.from_iterable(polygons))
    is_even = all(len(one) % 2 == 0 for one in polygons)
    if not numbers or not is_even or not are_within(numbers, furthest_corner(height, width)):
        return _NONE
    x, y = numbers[0::2], numbers[1::2]
    return min(x), min(y), max(x), max(y)


def _of_rle(
    segmentation: dict[str, Any], height: int, width: int
) -> tuple[float, float, float, float]:
    try:
        rle = rle_of(segmentation, height, width)
    except ValueError:
        return _NONE
    x, y, wide, high = map(float, coco_mask.toBbox(rle))
    return (x, y, x + wide, y + high) if wide and high else _NONE
