"""Outlines of an image that was resized after it was annotated, brought to the file's size."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from odapi_repro.datasets.conversion.masks import Rle

__all__ = ["rescaled_polygons", "rescaled_rle"]


def rescaled_polygons(polygons: list[Any], old: tuple[int, int], new: tuple[int, int]) -> list[Any]:
    """Gives the polygons of an image of height and width `old` on one of `new`.

    What is no list of numbers stays as it is, for `rle_of` to refuse.
    """
    scale_y, scale_x = new[0] / old[0], new[1] / old[1]
    scales = (scale_x, scale_y)
    if polygons and all(type(value) in (int, float) for value in polygons):
        return [value * scales[place % 2] for place, value in enumerate(polygons)]
    return [rescaled_polygons(one, old, new) if isinstance(one, list) else one for one in polygons]


def rescaled_rle(rle: Rle, height: int, width: int) -> Rle:
    """Gives the mask on height x width pixels, each with the value of the nearest old one."""
    mask = coco_mask.decode(rle)
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.int64)
    scaled: Rle = coco_mask.encode(np.asfortranarray(mask[rows[:, None], columns]))
    return scaled
