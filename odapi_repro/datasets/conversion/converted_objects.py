"""Which annotations become objects of records, and their keypoints."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.coco_categories import Category
from odapi_repro.datasets.conversion.coco_index import UNKNOWN, CocoIndex
from odapi_repro.datasets.conversion.conversion_request import Slots
from odapi_repro.datasets.json_numbers import are_within

# --- Which annotations become objects of records, and what became of each of the others ---


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


# --- Keypoints of COCO's annotations as the lists of records, the same for every object ---


_FURTHEST_PIXEL = 1e9  # beyond it is no pixel of any image, and no visibility


@dataclass(frozen=True, eq=False)
class ImageKeypoints:
    """The keypoints of an image's objects.

    Attributes:
        places: float32 [N, K, 2], y x as shares.
        visibility: int64 [N, K].
        counts: int64 [N].
        known: objects that have keypoints.
        damaged: objects whose keypoints are not as their category has them.
    """

    places: NDArray[np.float32]
    visibility: NDArray[np.int64]
    counts: NDArray[np.int64]
    known: int
    damaged: int


def slots_of(categories: Sequence[Category]) -> Slots:
    """Gives the union of the categories' keypoints by name, in the order they come.

    The OD API's decoder wants as many keypoints for every object, so that a category has its own
    places among those of all.
    """
    names = tuple(dict.fromkeys(name for one in categories for name in one.keypoints))
    place = {name: number for number, name in enumerate(names)}
    return Slots(
        names, {one.id: tuple(place[name] for name in one.keypoints) for one in categories}
    )


def image_keypoints(
    slots: Slots,
    categories: Sequence[int],
    values: Iterable[bytes],
    given_counts: Sequence[int],
    size: tuple[int, int],
) -> ImageKeypoints:
    """Gives the keypoints of an image's objects; zeros where an object has none.

    Args:
        slots: the lists' names and places.
        categories: category id of each object.
        values: COCO's `keypoints` of each as JSON, empty for none.
        given_counts: `num_keypoints` of each, UNKNOWN where the json has none.
        size: height and width that the json gives the image.
    """
    shape = len(categories), len(slots.names)
    places = np.zeros((*shape, 2), np.float32)
    visibility = np.zeros(shape, np.int64)
    counts = np.zeros(len(categories), np.int64)
    known = damaged = 0
    for number, (category, text, given) in enumerate(
        zip(categories, values, given_counts, strict=True)
    ):
        own = slots.of_category.get(category, ())
        listed = _parsed(text) if text else []
        if not listed or not own:
            continue
        if not _are_triples(listed, len(own)):
            damaged += 1
            continue
        known += 1
        table = np.array(listed, np.float64).reshape(-1, 3)
        places[number, own, 0] = table[:, 1] / size[0]
        places[number, own, 1] = table[:, 0] / size[1]
        visibility[number, own] = table[:, 2]
        counts[number] = np.count_nonzero(table[:, 2]) if given == UNKNOWN else given
    return ImageKeypoints(places, visibility, counts, known, damaged)


def _parsed(text: bytes) -> Any:
    """Gives a JSON value; one that Python does not read (a number too long) is damaged, too."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"unreadable": True}


def _are_triples(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3 * count
        and are_within(values, _FURTHEST_PIXEL)
    )
