"""What is drawn on pictures is where it belongs, and a sheet has a place for each of them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from odapi_repro.page.canvas import (
    DASHES,
    Canvas,
    Corners,
    Mark,
    Picture,
    render_sheet,
    room_for,
    tinted,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)
BOX = (20.0, 30.0, 70.0, 80.0)


def drawn(mark: Mark) -> NDArray[Any]:
    canvas = Canvas(Image.new("RGB", (100, 100), BLUE))
    canvas.box(BOX, mark)
    return np.asarray(canvas.picture)


def of_colour(pixels: NDArray[Any], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (pixels == np.array(colour)).all(axis=2)
    return found


def test_a_box_is_a_line_with_a_halo_and_its_inside_is_seen() -> None:
    pixels = drawn(Mark(RED))
    rows, columns = np.nonzero(of_colour(pixels, RED))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (21, 31, 69, 79)
    assert tuple(pixels[30, 20]) == (17, 17, 17)
    assert of_colour(pixels, BLUE)[36:74, 26:64].all()
    assert of_colour(pixels, BLUE)[:30].all()


def test_dashes_are_fewer_pixels_of_the_same_box() -> None:
    whole, dashed = (of_colour(drawn(Mark(RED, dashes)), RED) for dashes in (None, DASHES))
    assert 0.4 < dashed.sum() / whole.sum() < 0.8
    assert drawn(Mark(RED, DASHES))[31:79, 21:69].any()


def test_a_hatched_box_ends_at_its_corners() -> None:
    pixels = drawn(Mark(RED, is_hatched=True))
    outside = np.ones((100, 100), np.bool_)
    outside[30:81, 20:71] = False
    assert of_colour(pixels, BLUE)[outside].all()
    assert not of_colour(pixels, BLUE)[~outside].any()
    assert not of_colour(pixels, RED).any()


def test_masks_are_tinted_one_after_the_other() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    left = np.array([[True, False], [True, False]])
    top = np.array([[True, True], [False, False]])
    found = tinted(image, [(left, (200, 0, 0)), (top, (0, 0, 200))], 0.5)
    assert found[1, 0].tolist() == [150, 50, 50]
    assert found[0, 0].tolist() == [75, 25, 125]
    assert found[1, 1].tolist() == [100, 100, 100]
    assert (image == 100).all()


def test_labels_find_a_free_place_inside_the_picture() -> None:
    taken: list[Corners] = []
    for _ in range(5):
        room = room_for((0.0, 0.0, 60.0, 60.0), (50, 16), (200, 200), taken)
        assert room[0] >= 0
        assert room[1] >= 0
        assert room[2] < 200
        assert room[3] < 200
        assert not any(
            room[0] < one[2] and one[0] < room[2] and room[1] < one[3] and one[1] < room[3]
            for one in taken
        )
        taken.append(room)


@pytest.mark.parametrize("height", [60, 40])
def test_a_sheet_has_a_picture_in_each_place_and_its_legend_in_rows(height: int) -> None:
    picture = Picture(Image.new("RGB", (60, height), BLUE), "name", "note")
    pages = [
        render_sheet("a", "b", [picture] * 3, columns=2, side=60, legend=[(Mark(RED), "box")] * n)
        for n in (1, 1, 9)
    ]
    assert pages[0] == pages[1]
    few, many = (Image.open(io.BytesIO(page)) for page in pages[1:])
    assert few.width == many.width == 2 * (60 + 14) + 14
    assert many.height > few.height
    # A lower picture stands at the bottom of its place.
    blue = of_colour(np.asarray(few), BLUE)
    assert blue.sum() == 3 * 60 * height
    assert blue[62 + 60 - height : 62 + 60, 14:74].all()


def test_a_warning_below_a_picture_is_in_the_colour_of_warnings() -> None:
    for is_warning in (False, True):
        picture = Picture(Image.new("RGB", (60, 60)), "name", "████", is_warning)
        page = render_sheet("a", "", [picture], columns=1, side=60, legend=[(None, "words")])
        with Image.open(io.BytesIO(page)) as sheet:
            assert of_colour(np.asarray(sheet), (207, 34, 46)).any() == is_warning
