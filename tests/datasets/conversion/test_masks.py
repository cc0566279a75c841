"""Masks against pycocotools' own pixels, PNGs read back by Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from odapi_repro.datasets.conversion.png_masks import (
    empty_mask,
    png_of,
    rescaled_polygons,
    rescaled_rle,
    rle_of,
)

SIDES = st.integers(1, 70)


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.convert("RGB"))[..., 0]


def reference(segmentation: Any, height: int, width: int) -> np.ndarray:
    """What the OD API's create_coco_tf_record makes of it."""
    mask = coco_mask.decode(coco_mask.frPyObjects(segmentation, height, width))
    return mask if mask.ndim == 2 else np.amax(mask, axis=2)


@settings(max_examples=60, deadline=None)
@given(
    height=SIDES,
    width=SIDES,
    polygons=st.lists(
        st.lists(st.integers(-200, 900).map(lambda tenth: tenth / 10), min_size=6, max_size=14)
        .map(lambda values: values[: len(values) // 2 * 2]),
        min_size=1,
        max_size=3,
    ),
)  # fmt: skip
def test_polygons_have_the_pixels_that_pycocotools_gives_them(
    height: int, width: int, polygons: list[list[float]]
) -> None:
    expected = reference(polygons, height, width)
    rle = rle_of(polygons, height, width)
    assert rle is not None
    png, count = png_of(rle)
    assert np.array_equal(pixels(png), expected)
    assert count == expected.sum()


@settings(max_examples=40, deadline=None)
@given(height=SIDES, width=SIDES, seed=st.integers(0, 1000), density=st.sampled_from([0.01, 0.5]))
def test_run_lengths_of_either_form_have_their_pixels(
    height: int, width: int, seed: int, density: float
) -> None:
    mask = (np.random.default_rng(seed).random((height, width)) < density).astype(np.uint8)
    compressed = coco_mask.encode(np.asfortranarray(mask))
    text = {"size": [height, width], "counts": compressed["counts"].decode()}
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    counts = np.diff([0, *edges, len(flat)]).tolist()
    for segmentation in (text, {"size": [height, width], "counts": counts}):
        rle = rle_of(segmentation, height, width)
        assert rle is not None
        assert np.array_equal(pixels(png_of(rle)[0]), mask)


def test_long_runs_are_unpacked() -> None:
    mask = np.zeros((2000, 3000), np.uint8)
    mask[3:1998, 5:2990] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    assert np.array_equal(pixels(png_of(rle)[0]), mask)


@pytest.mark.parametrize("segmentation", [[], [[]], [[1, 2, 3, 4]], [[5, 5]]])
def test_what_encloses_nothing_is_no_mask(segmentation: Any) -> None:
    assert rle_of(segmentation, 10, 10) is None


def test_a_short_polygon_beside_a_whole_one_is_left_out_and_not_taken_for_a_box() -> None:
    square = [2.0, 2.0, 8.0, 2.0, 8.0, 8.0, 2.0, 8.0]
    rle = rle_of([[0, 0, 9, 9], square], 10, 10)
    assert rle is not None
    assert np.array_equal(pixels(png_of(rle)[0]), reference([square], 10, 10))


def test_a_polygon_without_the_list_around_it_is_read() -> None:
    assert rle_of([1, 1, 8, 1, 8, 8], 10, 10) == rle_of([[1, 1, 8, 1, 8, 8]], 10, 10)


@pytest.mark.parametrize(
    "segmentation",
    [
        "text",
        5,
        {"counts": [5]},
        {"size": [10, 10], "counts": [50, 49]},
        {"size": [10, 10], "counts": [-1, 101]},
        {"size": [10, 10], "counts": "~~~"},
        {"size": [10, 10], "counts": ""},
        {"size": [10, 11], "counts": [110]},
        {"size": [10, 10], "counts": [1.5, 98.5]},
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, "3", 4, 5, 6]],
        [[1, 2, float("nan"), 4, 5, 6]],
        [[1, 2, 1e300, 4, 5, 6]],
        [5, [1, 2, 3, 4, 5, 6]],
    ],
)
def test_what_is_no_segmentation_is_refused(segmentation: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        rle_of(segmentation, 10, 10)


def test_an_empty_mask_has_the_size_of_its_image() -> None:
    assert pixels(empty_mask(7, 13)).shape == (7, 13)
    assert not pixels(empty_mask(7, 13)).any()


def test_outlines_are_scaled_with_their_image() -> None:
    assert rescaled_polygons([[1, 2, 3, 4, 5, 6]], (10, 20), (20, 60)) == [[3, 4, 9, 8, 15, 12]]
    mask = np.zeros((4, 4), np.uint8)
    mask[1:3, 2:] = 1
    scaled = coco_mask.decode(rescaled_rle(coco_mask.encode(np.asfortranarray(mask)), 8, 12))
    assert np.array_equal(scaled, np.repeat(np.repeat(mask, 2, axis=0), 3, axis=1))
