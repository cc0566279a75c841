"""Boxes of another format are told apart from odd ones among sound ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from odapi_repro.datasets.box_units import BoxSample, misread_boxes

Array = NDArray[np.float64]
WIDTH, HEIGHT = 640.0, 480.0


def boxes_of(count: int, seed: int = 0) -> Array:
    """Sound boxes within an image, x y width height."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.01, 0.6, (count, 2)) * [WIDTH, HEIGHT]
    corner = rng.uniform(0, 1, (count, 2)) * ([WIDTH, HEIGHT] - size)
    return np.concatenate([corner, size], axis=1)


def edges_of(boxes: Array) -> Array:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def found(
    boxes: Array, areas: Any = np.nan, outlines: Any = np.nan, *, turned: bool = False
) -> str:
    count = len(boxes)
    size = [HEIGHT, WIDTH] if turned else [WIDTH, HEIGHT]
    sample = BoxSample(
        boxes,
        np.tile(np.array(size), (count, 1)),
        np.broadcast_to(np.asarray(areas, np.float64), (count,)),
        np.broadcast_to(np.asarray(outlines, np.float64), (count, 4)),
    )
    return misread_boxes(sample)


def written(boxes: Array, name: str) -> Array:
    scale = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    centre = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
    forms = {
        "corners": edges_of(boxes),
        "corners, y first": edges_of(boxes)[:, [1, 0, 3, 2]],
        "y first": boxes[:, [1, 0, 3, 2]],
        "centre": centre,
        "shares": boxes / scale,
        "corners in shares": edges_of(boxes) / scale,
        "centre in shares": centre / scale,
        "percent": 100 * boxes / scale,
        "thousandths, y first, corners": 1000 * (edges_of(boxes) / scale)[:, [1, 0, 3, 2]],
    }
    return forms[name]


FORMS = (
    ("corners", "as x1, y1, x2, y2,"),
    ("corners, y first", "as y1, x1, y2, x2,"),
    ("y first", "as y, x, height, width,"),
    ("centre", "as centre, width, height,"),
    ("shares", "as x, y, width, height as shares of the image"),
    ("corners in shares", "as x1, y1, x2, y2 as shares of the image"),
    ("centre in shares", "as centre, width, height as shares of the image"),
    ("percent", "as x, y, width, height as percent"),
    ("thousandths, y first, corners", "as y1, x1, y2, x2 as thousandths"),
)


@pytest.mark.parametrize(("form", "said"), FORMS)
@pytest.mark.parametrize("count", [1, 3, 400])
def test_the_outlines_tell_every_other_format_exactly(form: str, said: str, count: int) -> None:
    boxes = boxes_of(count)
    text = found(written(boxes, form), outlines=edges_of(boxes))
    assert said in text
    assert text.startswith(f"{count} of {count} enclose their outlines")


@pytest.mark.parametrize("form", ["corners", "corners, y first", "shares", "percent"])
@pytest.mark.parametrize("count", [1, 50])
def test_the_areas_tell_corners_and_shares(form: str, count: int) -> None:
    boxes = boxes_of(count)
    text = found(written(boxes, form), areas=boxes[:, 2] * boxes[:, 3])
    assert "have the 'area' that is written beside them" in text


@pytest.mark.parametrize("form", ["corners", "corners, y first"])
def test_corners_without_area_and_outline_reach_beyond_their_images(form: str) -> None:
    boxes = written(boxes_of(50), form)
    assert "end far beyond their image" in found(boxes)
    # An area that was made of the same wrong numbers says nothing against it.
    assert "end far beyond their image" in found(boxes, areas=boxes[:, 2] * boxes[:, 3])


@pytest.mark.parametrize("form", ["shares", "corners in shares", "centre in shares"])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_shares_without_area_and_outline_lie_in_the_corner(form: str, count: int) -> None:
    assert "of their image's corner" in found(written(boxes_of(count), form))


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sound_boxes_are_sound_with_whatever_else_is_known(count: int, seed: int) -> None:
    boxes = boxes_of(count, seed)
    areas = boxes[:, 2] * boxes[:, 3]
    of_masks = areas * np.random.default_rng(seed).uniform(0.05, 1, count)
    for one in (np.nan, areas, of_masks, 0.0):
        for outlines in (np.nan, edges_of(boxes), np.round(edges_of(boxes))):
            assert not found(boxes, one, outlines)


def test_sizes_that_were_turned_are_another_fault() -> None:
    boxes = boxes_of(300)
    assert not found(boxes, turned=True)
    assert not found(boxes, boxes[:, 2] * boxes[:, 3], edges_of(boxes), turned=True)


def test_boxes_that_touch_or_pass_the_border_are_no_corners() -> None:
    full = np.tile([2.0, 2.0, WIDTH, HEIGHT], (40, 1))
    assert not found(full)
    assert not found(np.tile([0.0, 0.0, WIDTH, HEIGHT], (40, 1)))
    # Whole bodies behind the border, as CrowdHuman has them: over it on either side.
    beyond = boxes_of(200)
    beyond[:, :2] -= [0.2 * WIDTH, 0]
    beyond[:, 2:] += [0.6 * WIDTH, 0]
    assert not found(beyond)


@pytest.mark.parametrize("form", ["corners", "shares", "y first", "centre"])
def test_a_few_odd_boxes_in_a_sound_set_are_no_format(form: str) -> None:
    boxes = boxes_of(100)
    odd = boxes.copy()
    odd[:8] = written(boxes, form)[:8]
    assert not found(odd)
    assert not found(odd, boxes[:, 2] * boxes[:, 3], edges_of(boxes))


def test_a_few_outlines_do_not_speak_for_all_boxes() -> None:
    boxes = boxes_of(1000)
    outlines = np.full((1000, 4), np.nan)
    odd = boxes.copy()
    odd[:20] = edges_of(boxes)[:20]
    outlines[:20] = edges_of(boxes)[:20]
    assert not found(odd, outlines=outlines)


def test_points_and_empty_boxes_in_the_corner_are_no_shares() -> None:
    boxes = boxes_of(30)
    boxes[:10] = [0, 0, 1, 1]
    assert not found(boxes)
    assert not misread_boxes(
        BoxSample(np.zeros((0, 4)), np.zeros((0, 2)), np.zeros(0), np.zeros((0, 4)))
    )
    small = np.tile([1.0, 1.0], (5, 1))  # images of one pixel, which a box fills
    assert not misread_boxes(
        BoxSample(np.tile([0.0, 0, 1, 1], (5, 1)), small, np.ones(5), np.full((5, 4), np.nan))
    )
