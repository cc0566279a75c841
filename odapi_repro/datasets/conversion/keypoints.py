"""Keypoints of COCO's annotations as the lists of records, the same for every object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.coco_categories import Category
from odapi_repro.datasets.conversion.coco_index import UNKNOWN
from odapi_repro.datasets.conversion.shard_task import Slots
from odapi_repro.datasets.json_numbers import are_within

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
