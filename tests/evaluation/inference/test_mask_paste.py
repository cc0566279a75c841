"""Masks go from their box to the run lengths of the whole image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as mask_api

from odapi_repro.evaluation.inference.mask_paste import paste_masks


def pasted(masks: Any, boxes: Any, height: int, width: int) -> list[NDArray[np.uint8]]:
    found = paste_masks(np.asarray(masks, np.float32), np.asarray(boxes, np.float32), height, width)
    assert all(rle["size"] == [height, width] for rle in found)
    return [mask_api.decode(rle) for rle in found]


def test_a_full_mask_fills_its_box_and_nothing_else() -> None:
    # 10x20 pixels; samples lie at pixel/(size-1), so rows 0..9 are at 0, 1/9 .. 1.
    (mask,) = pasted(np.ones((1, 15, 15)), [[0.3, 0.25, 0.7, 0.5]], 10, 20)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert rows.tolist() == [3, 4, 5, 6]
    assert columns.tolist() == [5, 6, 7, 8, 9]
    assert mask.sum() == 20


def test_half_a_mask_is_cut_where_it_crosses_one_half() -> None:
    # Two columns, 1 and 0: bilinear between them, 0.5 in the middle of the box, which is not above.
    half = np.tile([1.0, 0.0], (2, 1))[np.newaxis]
    (mask,) = pasted(half, [[0.0, 0.0, 1.0, 1.0]], 4, 5)
    assert mask.tolist() == [[1, 1, 0, 0, 0]] * 4


def test_boxes_beyond_the_image_are_cut_and_boxes_outside_are_empty() -> None:
    boxes = [[-0.5, -0.5, 0.5, 0.5], [1.2, 1.2, 1.5, 1.5], [0.5, 0.5, 0.5, 0.5]]
    cut, outside, point = pasted(np.ones((3, 3, 3)), boxes, 9, 9)
    assert cut[:5, :5].all()
    assert cut.sum() == 25
    assert outside.sum() == 0
    assert point.sum() <= 1


def test_a_mask_over_the_whole_image_begins_and_ends_with_it() -> None:
    (full,) = paste_masks(
        np.ones((1, 5, 5), np.float32), np.array([[0, 0, 1, 1]], np.float32), 7, 3
    )
    expected = mask_api.encode(np.asfortranarray(np.ones((7, 3), np.uint8)))
    assert full["counts"] == expected["counts"].decode()


def test_run_lengths_are_those_of_pycocotools() -> None:
    random = np.random.default_rng(0)
    corners = np.sort(random.uniform(-0.2, 1.2, (200, 2, 2)), axis=1)
    boxes = corners.reshape(200, 4).astype(np.float32)
    masks = random.random((200, 7, 9), np.float32)
    for rle in paste_masks(masks, boxes, 41, 53):
        again = mask_api.encode(np.asfortranarray(mask_api.decode(rle)))
        assert again["counts"].decode() == rle["counts"]


def test_whole_numbers_are_resized_by_the_nearest_and_any_above_zero_counts() -> None:
    parts = np.array([[[0, 3], [1, 0]]], np.uint8)
    (rle,) = paste_masks(parts, np.array([[0, 0, 1, 1]], np.float32), 4, 4)
    expected = np.array([[0, 0, 1, 1]] * 2 + [[1, 1, 0, 0]] * 2)
    assert mask_api.decode(rle).tolist() == expected.tolist()


def test_an_image_of_one_row_takes_the_middle_of_the_mask() -> None:
    rows = np.array([[0.0], [1.0], [0.0]], np.float32)[np.newaxis]
    (mask,) = pasted(np.tile(rows, (1, 1, 3)), [[0.0, 0.0, 1.0, 1.0]], 1, 3)
    assert mask.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("shape", [(0, 15, 15), (0, 1, 1)])
def test_no_masks_are_no_error(shape: tuple[int, ...]) -> None:
    assert paste_masks(np.zeros(shape, np.float32), np.zeros((0, 4), np.float32), 8, 8) == []
