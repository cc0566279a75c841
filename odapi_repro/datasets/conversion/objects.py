"""Which annotations become objects of records, and what became of each of the others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.coco_index import UNKNOWN, CocoIndex

REASONS = (
    "kept",
    "unknown_image",
    "unknown_category",
    "not_finite",
    "no_area",
    "outside_image",
    "class_not_chosen",
    "image_not_chosen",
    "image_dropped",
)
"""What can become of an annotation; its number in `Objects.fates`."""
(KEPT, _UNKNOWN_IMAGE, _UNKNOWN_CATEGORY, _NOT_FINITE, _NO_AREA, _OUTSIDE, CLASS_NOT_CHOSEN,
 IMAGE_NOT_CHOSEN, IMAGE_DROPPED) = range(len(REASONS))  # fmt: skip

SIZES = ("small", "medium", "large")
_SIZE_LIMITS = (32.0**2, 96.0**2)  # COCO's: medium from the first, large from the second
_ROUNDING_PIXELS = 1.0


@dataclass(frozen=True, eq=False)
class Objects:
    """The annotations of a json, judged; columns in the json's order.

    Attributes:
        fates: int8 [N], number in REASONS.
        boxes: float32 [N, 4], ymin xmin ymax xmax as shares of the image, clipped to it; of use
            where the annotation is kept.
        is_clipped: bool [N], the box reached beyond the image.
        is_clipped_far: bool [N], by more than a pixel: no rounding.
        areas: float64 [N] in pixels: the json's, NaN where it has none above 0; at most the
            clipped box's where that lost more than rounding.
        sizes: int8 [N], number in SIZES, by the area, else by the clipped box.
    """

    fates: NDArray[np.int8]
    boxes: NDArray[np.float32]
    is_clipped: NDArray[np.bool_]
    is_clipped_far: NDArray[np.bool_]
    areas: NDArray[np.float64]
    sizes: NDArray[np.int8]


def judged(index: CocoIndex, chosen_categories: Collection[int]) -> Objects:
    """Gives the objects of an index; what is wrong goes before what is not wanted.

    A box that reaches beyond its image is clipped to it; one that is not finite, has no height or
    width, or lies outside of the image altogether, is dropped.
    """
    image = np.maximum(index.images, 0)
    height, width = index.heights[image].astype(float), index.widths[image].astype(float)
    x, y, box_width, box_height = index.boxes.T
    with np.errstate(invalid="ignore", over="ignore"):
        right, bottom = x + box_width, y + box_height
        corners = np.stack(
            [
                np.clip(y, 0, height) / height,
                np.clip(x, 0, width) / width,
                np.clip(bottom, 0, height) / height,
                np.clip(right, 0, width) / width,
            ],
            axis=1,
        ).astype(np.float32)
        overrun = np.maximum.reduce([-x, -y, right - width, bottom - height])
        has_area = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        areas = np.where(np.isfinite(index.areas) & (index.areas > 0), index.areas, np.nan)
        box_areas = (
            np.prod(corners[:, 2:].astype(np.float64) - corners[:, :2], axis=1) * height * width
        )
        # What lies outside of the image is no part of the object there.
        cut = (overrun > _ROUNDING_PIXELS) & (areas > box_areas)
        areas = np.where(cut, box_areas, areas)
    fates = np.full(len(index.ids), KEPT, np.int8)
    outside = (right <= 0) | (bottom <= 0) | (x >= width) | (y >= height)
    for fate, applies in (
        (CLASS_NOT_CHOSEN, ~np.isin(index.category_ids, list(chosen_categories))),
        (_NO_AREA, ~has_area),
        (_OUTSIDE, outside),
        (_NO_AREA, (box_width <= 0) | (box_height <= 0)),
        (_NOT_FINITE, ~np.isfinite(index.boxes).all(axis=1)),
        (_UNKNOWN_CATEGORY, index.category_ids == UNKNOWN),
        (_UNKNOWN_IMAGE, index.images == UNKNOWN),
    ):
        fates[applies] = fate
    return Objects(
        fates=fates,
        boxes=corners,
        is_clipped=overrun > 0,
        is_clipped_far=overrun > _ROUNDING_PIXELS,
        areas=areas,
        sizes=size_of(np.where(np.isnan(areas), box_areas, areas)),
    )


def size_of(areas: NDArray[np.float64]) -> NDArray[np.int8]:
    """Gives the number of COCO's size of each area in pixels."""
    return np.searchsorted(_SIZE_LIMITS, areas, side="right").astype(np.int8)
