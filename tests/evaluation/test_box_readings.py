"""Boxes that hit no object as they are read: the reading that puts them on the objects is named."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from small_sets import MIXED_SIZES, Box, Json, columns, scene

from odapi_repro.evaluation.coco_data import (
    box_oddities,
    ground_truth_of,
    odd_areas,
)
from odapi_repro.evaluation.coco_data.box_readings import better_reading

Change = Callable[[Box, float, float], Box]  # of a box on an image of a width and height


def changed(data: Json, rows: list[Json], change: Change) -> list[Json]:
    sizes = {one["id"]: (one["width"], one["height"]) for one in data["images"]}
    return [{**row, "bbox": change(row["bbox"], *sizes[row["image_id"]])} for row in rows]


def read_otherwise(data: Json, rows: list[Json]) -> str:
    truth, detections = columns(data, rows)
    return better_reading(detections, truth)


def oddities(data: Json, rows: list[Json]) -> list[str]:
    truth, detections = columns(data, rows)
    return box_oddities(detections, truth)


def corners(box: Box) -> Box:
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


def turned(box: Box) -> Box:
    return [box[1], box[0], box[3], box[2]]


def scaled(box: Box, across: float, down: float) -> Box:
    return [box[0] * across, box[1] * down, box[2] * across, box[3] * down]


ORDERS: dict[str, Change] = {
    "x1, y1, x2, y2": lambda box, w, h: corners(box),
    "y, x, height, width": lambda box, w, h: turned(box),
    "y1, x1, y2, x2": lambda box, w, h: turned(corners(box)),
    "centre, width, height": lambda box, w, h: [
        box[0] + box[2] / 2, box[1] + box[3] / 2, box[2], box[3],
    ],
    "x, y, width, height as shares of the image": lambda box, w, h: scaled(box, 1 / w, 1 / h),
    "y1, x1, y2, x2 as shares of the image": lambda box, w, h: turned(
        corners(scaled(box, 1 / w, 1 / h))
    ),
    "y, x, width, height": lambda box, w, h: [box[1], box[0], *box[2:]],
    "x, y, width, height with x counted from the right": lambda box, w, h: [
        w - box[0] - box[2], *box[1:],
    ],
    "x, y, width, height with y counted from the bottom": lambda box, w, h: [
        box[0], h - box[1] - box[3], *box[2:],
    ],
    "x, y, width, height as percent": lambda box, w, h: scaled(box, 100 / w, 100 / h),
}  # fmt: skip
RESIZED: dict[str, Change] = {
    "x, y, width, height of the image resized to about 1024 x 1024 pixels": lambda box, w, h: (
        scaled(box, 1024 / w, 1024 / h)
    ),
    "x, y, width, height of the image resized to about 320 x 200 pixels": lambda box, w, h: scaled(
        box, 320 / w, 200 / h
    ),
    "y1, x1, y2, x2 of the image resized to about 512 x 512 pixels": lambda box, w, h: turned(
        corners(scaled(box, 512 / w, 512 / h))
    ),
}


@pytest.mark.parametrize("sizes", [((800, 600),), MIXED_SIZES])
@pytest.mark.parametrize("name", [*ORDERS, *RESIZED])
def test_the_reading_that_fits_is_named_with_counts(
    name: str, sizes: tuple[tuple[int, int], ...]
) -> None:
    data, found = scene(sizes=sizes)
    rows = changed(data, found, {**ORDERS, **RESIZED}[name])
    told = read_otherwise(data, rows)
    assert told.startswith(f"read as {name.split('about', maxsplit=1)[0]}")
    assert "they lie on 22 of 24 objects (IoU 0.5), and on " in told
    sides = [
        [int(side) for side in re.findall(r"\d+", one.split("about")[-1])] for one in (name, told)
    ]
    if name in RESIZED:
        assert sides[1][:2] == pytest.approx(sides[0], rel=0.02)
    (oddity,) = oddities(data, rows)
    assert told in oddity


@pytest.mark.parametrize(("side", "by"), [("longer", max), ("shorter", min)])
def test_images_resized_with_their_aspect_ratio_are_told_by_a_side(
    side: str, by: Callable[[float, float], float]
) -> None:
    data, found = scene(sizes=((640, 480), (300, 600), (500, 375)))
    resized = changed(data, found, lambda box, w, h: scaled(box, 200 / by(w, h), 200 / by(w, h)))
    told = read_otherwise(data, resized)
    assert re.search(f"resized to a {side} side of about (199|200|201) pixels", told)


def test_images_between_equal_borders_are_told_with_the_side_of_their_square() -> None:
    data, found = scene(sizes=((640, 480), (300, 600), (500, 375)))

    def letterboxed(box: Box, width: float, height: float) -> Box:
        whole = max(width, height)
        placed = [box[0] + (whole - width) / 2, box[1] + (whole - height) / 2, *box[2:]]
        return scaled(placed, 320 / whole, 320 / whole)

    told = read_otherwise(data, changed(data, found, letterboxed))
    assert re.search(
        r"of the image between equal borders that make it square, of about (319|320|321) x \1"
        r" pixels, they lie on 22 of 24 objects",
        told,
    )


@pytest.mark.parametrize("seed", range(200))
def test_of_a_few_boxes_at_random_nothing_is_said(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data, _ = scene(seed, images=4, sizes=((1920, 1080),))
    _, guesses = scene(seed + 1000, images=4, sizes=((1920, 1080),))
    for one in data["annotations"] if seed % 2 else []:
        one["bbox"] = [*rng.uniform(0, 300, 2).tolist(), *rng.uniform(500, 780, 2).tolist()]
    assert oddities(data, guesses) == []


def test_a_few_boxes_beyond_their_image_are_guesses() -> None:
    data, found = scene()
    near = {**found[0], "bbox": [700, 500, 200, 200]}
    far = {**found[0], "bbox": [700, 500, 400, 400]}
    assert oddities(data, [near] * 3) == oddities(data, [far]) == []
    assert oddities(data, [far, far, near]) == []
    for rows in ([near] * 12, [far] * 2):
        (told,) = oddities(data, rows)
        assert told.startswith(f"100 % of its {len(rows)} boxes end far beyond their image")


def test_one_scale_is_told_where_the_sizes_of_images_are_not_known() -> None:
    data, found = scene()
    for one in data["images"]:
        one["width"] = one["height"] = 0
    smaller = changed(data, found, lambda box, w, h: scaled(box, 0.5, 0.25))
    told = read_otherwise(data, smaller)
    assert "of the image with x times 0.5 and y times 0.25" in told


def test_a_ground_truth_of_y_before_x_is_named_as_the_other_side_that_may_be_wrong() -> None:
    data, found = scene(sizes=MIXED_SIZES)
    data["annotations"] = [{**one, "bbox": turned(one["bbox"])} for one in data["annotations"]]
    told = read_otherwise(data, found)
    assert told.startswith("read as y, x, height, width (or those of the ground truth are)")


@pytest.mark.parametrize("seed", range(10))
def test_of_boxes_that_are_right_or_only_bad_nothing_is_said(seed: int) -> None:
    data, found = scene(seed, sizes=MIXED_SIZES)
    rng = np.random.default_rng(seed)

    def random(box: Box, width: float, height: float) -> Box:
        return [
            *(rng.uniform(0, 0.6, 2) * (width, height)).tolist(),
            *rng.uniform(9, 200, 2).tolist(),
        ]

    def half(box: Box, width: float, height: float) -> Box:
        return [box[0] + box[2] / 4, box[1] + box[3] / 4, box[2] / 2, box[3] / 2]

    def too_far(box: Box, width: float, height: float) -> Box:
        shift = rng.normal(0, 0.4, 2) * box[2:]
        return [*np.maximum(box[:2] + shift, 0).tolist(), *box[2:]]

    for rows in (found, *(changed(data, found, one) for one in (random, half, too_far))):
        assert read_otherwise(data, rows) == ""
    assert oddities(data, found) == []
    assert read_otherwise(data, found[:2]) == ""
    assert read_otherwise(data, []) == ""


def test_extreme_boxes_among_them_stop_nothing() -> None:
    data, found = scene()
    found[0]["bbox"] = [1e308, 1e308, 1e308, 1e308]
    found[1]["bbox"] = [0, 0, 0, 0]
    data["annotations"][0]["bbox"] = [-1e308, 0, 1e-300, 1e-300]
    rows = changed(data, found, ORDERS["y, x, height, width"])
    assert "y, x, height, width" in read_otherwise(data, rows)


# --- areas ---


def areas_of(area: Callable[[Json], float]) -> str:
    data, _ = scene()
    for one in data["annotations"]:
        one["area"] = area(one)
    return odd_areas(ground_truth_of(data))


def test_areas_of_0_are_told_with_what_they_do() -> None:
    told = areas_of(lambda one: 0)
    assert told.startswith("the 'area' of 24 of 24 objects is 0, though their boxes are larger")
    assert areas_of(lambda one: 0.4).startswith(
        "the 'area' of 24 of 24 objects is less than 1 % of the box's"
    )
    assert "of 3 of 24" in areas_of(lambda one: 0 if one["id"] < 4 else one["area"])


def test_areas_of_masks_and_of_small_or_empty_boxes_are_let_be() -> None:
    assert areas_of(lambda one: one["area"]) == ""
    assert areas_of(lambda one: one["area"] / 20) == ""
    data, _ = scene()
    for number, one in enumerate(data["annotations"]):
        one["bbox"] = [*one["bbox"][:2], *([20, 20] if number % 2 else [0, 50])]
        one["area"] = 0
    assert odd_areas(ground_truth_of(data)) == ""
