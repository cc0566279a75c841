"""The limit that gives resized boxes away is seen where it is, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from columns_of_boxes import COCO_SIZES, split_of

from odapi_repro.datasets.census.box_kinds import ABSOLUTE, RESIZED, box_kinds


def drawn(
    seed: int, sizes: tuple[tuple[int, int], ...], *, images: int = 300, at_border: float = 0.15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, images and shares of boxes as in a well-made set: some end at their image's border."""
    rng = np.random.default_rng(seed)
    size = np.array(sizes)[rng.integers(len(sizes), size=images)]
    image = np.sort(rng.integers(images, size=4 * images))
    side = rng.uniform(0.03, 0.6, (len(image), 2))
    first = rng.uniform(0, 1, (len(image), 2)) * (1 - side)
    second = np.where(rng.random((len(image), 2)) < at_border, 1.0, first + side)
    return size, image, np.concatenate([first, second], axis=1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "sizes",
    [
        COCO_SIZES,
        ((640, 640),),
        ((1080, 1920),),
        ((300, 300), (301, 299)),
        ((512, 512), (600, 800)),
    ],
    ids=str,
)
@pytest.mark.parametrize("at_border", [0.0, 0.02, 0.3])
def test_a_well_made_set_raises_no_alarm(seed, sizes, at_border):
    split = split_of(*drawn(seed, sizes, at_border=at_border))
    assert not box_kinds(split).are(RESIZED).any()


def test_objects_that_always_end_at_one_place_raise_no_alarm():
    """A camera that stands still: a table ends at column 1,100 of 1,920 in every image."""
    size, image, corners = drawn(0, ((1080, 1920),), at_border=0.0)
    corners[:, 3] = np.minimum(corners[:, 3], 1100 / 1920)
    corners[::3, 3] = 1100 / 1920
    corners[:, 1] = np.minimum(corners[:, 1], corners[:, 3] - 0.01)
    assert not box_kinds(split_of(size, image, corners)).are(RESIZED).any()


@pytest.mark.parametrize("target", [(512, 512), (320, 320), (300, 300), (600, 1024), (1024, 1024)])
@pytest.mark.parametrize("sizes", [COCO_SIZES, ((1080, 1920),)], ids=["coco", "one size"])
def test_boxes_of_a_resized_image_are_seen_and_all_of_them(target, sizes):
    size, image, corners = drawn(1, sizes)
    factor = (np.array(target) / size)[image]
    moved = corners * np.concatenate([factor, factor], axis=1)
    kinds = box_kinds(split_of(size, image, moved))
    assert kinds.resized is not None
    assert kinds.resized.target == f"{target[0]} x {target[1]}"
    assert kinds.are(RESIZED).all()


@pytest.mark.parametrize("target", [256, 512, 1333])
@pytest.mark.parametrize("word", ["longer", "shorter"])
@pytest.mark.parametrize("sizes", [COCO_SIZES, ((1080, 1920), (1920, 1080), (720, 1280))])
def test_boxes_of_a_resizer_that_keeps_the_aspect_are_seen(target, word, sizes):
    size, image, corners = drawn(2, sizes)
    side = size.max(axis=1) if word == "longer" else size.min(axis=1)
    moved = corners * (target / side)[image, None]
    kinds = box_kinds(split_of(size, image, moved))
    assert kinds.resized is not None
    assert kinds.are(RESIZED).all()


@pytest.mark.parametrize("sizes", [COCO_SIZES, ((1080, 1920),), ((512, 512), (600, 800))], ids=str)
@pytest.mark.parametrize("share", [0.1, 0.9, 1.0])
def test_boxes_in_pixels_are_no_boxes_of_a_resized_image(sizes, share):
    size, image, corners = drawn(3, sizes)
    chosen = (np.arange(len(size)) < share * len(size))[image]
    scale = np.concatenate([size, size], axis=1)[image]
    kinds = box_kinds(split_of(size, image, np.where(chosen[:, None], corners * scale, corners)))
    assert kinds.resized is None
    np.testing.assert_array_equal(kinds.are(ABSOLUTE), chosen)
