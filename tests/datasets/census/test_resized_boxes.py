"""The limit that gives resized boxes away is seen where it is, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from columns_of_boxes import COCO_SIZES, split_of

from odapi_repro.datasets.census import SplitCensus
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
    first = np.where(rng.random((len(image), 2)) < at_border, 0.0, first)
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


def of_places(
    sizes: tuple[tuple[int, int], ...],
    region: tuple[int, int],
    *,
    places: int = 40,
    jitter: float = 0.0,
    origin: tuple[int, int] = (0, 0),
) -> SplitCensus:
    """Cameras that stand still: some of so many places in every image, the last ends the region."""
    rng = np.random.default_rng(5)
    side = rng.uniform(20, 120, (places, 2))
    first = origin + rng.uniform(0, 1, (places, 2)) * (np.array(region) - origin - side)
    corners = np.concatenate([first, first + side], axis=1)
    corners[0, 2:], corners[1, :2] = region, origin
    size = np.array(sizes)[rng.integers(len(sizes), size=300)]
    image = np.repeat(np.arange(300), 8)
    boxes = corners[rng.integers(places, size=len(image))]
    boxes = np.clip(boxes + rng.normal(0, jitter, boxes.shape), 0, [*region, *region])
    return split_of(size, image, boxes / np.concatenate([size, size], axis=1)[image])


@pytest.mark.parametrize("jitter", [0.0, 2.0, 6.0])
@pytest.mark.parametrize("region", [(640, 1024), (512, 512), (600, 800), (1000, 1900)], ids=str)
@pytest.mark.parametrize(
    "sizes", [((1080, 1920),), ((1080, 1920), (1079, 1918)), ((1080, 1920), (1200, 1920))], ids=str
)
def test_places_that_repeat_count_once(sizes, region, jitter):
    kinds = box_kinds(of_places(sizes, region, jitter=jitter))
    assert not kinds.are(RESIZED).any()
    assert kinds.resized is None


@pytest.mark.parametrize("origin", [(0, 0), (100, 0), (0, 64), (128, 256)], ids=str)
@pytest.mark.parametrize("region", [(640, 1024), (512, 512), (700, 1500), (640, 1920)], ids=str)
@pytest.mark.parametrize("sizes", [((1080, 1920),), ((1080, 1920), (1072, 1920))], ids=str)
def test_a_region_of_images_of_one_size_proves_nothing(sizes, region, origin):
    """A belt: objects everywhere on it, cut off at its ends, and none beside it."""
    size, image, corners = drawn(6, sizes, at_border=0.2)
    low, high = np.array(origin), np.array(region)
    pixels = np.concatenate([low, low]) + corners * np.concatenate([high - low, high - low])
    kinds = box_kinds(split_of(size, image, pixels / np.concatenate([size, size], axis=1)[image]))
    assert not kinds.are(RESIZED).any()
    # What could be both is asked about: from the corner, to sides that images are resized to.
    asked = origin == (0, 0) and region in ((640, 1024), (512, 512))
    assert (kinds.resized is not None) == asked
    assert kinds.resized is None or not kinds.resized.is_certain


@pytest.mark.parametrize("target", [(512, 512), (320, 320), (300, 300), (600, 1024), (1024, 1024)])
@pytest.mark.parametrize(
    "sizes", [COCO_SIZES, ((480, 640), (720, 1280)), ((200, 280),)], ids=["coco", "two", "beyond"]
)
def test_boxes_of_a_resized_image_are_seen_and_all_of_them(target, sizes):
    size, image, corners = drawn(1, sizes)
    factor = (np.array(target) / size)[image]
    moved = corners * np.concatenate([factor, factor], axis=1)
    kinds = box_kinds(split_of(size, image, moved))
    assert kinds.resized is not None
    assert kinds.resized.is_certain
    assert kinds.resized.target == f"{target[0]} x {target[1]}"
    assert kinds.are(RESIZED).all()


@pytest.mark.parametrize("target", [(512, 512), (320, 320), (300, 300), (600, 1024), (180, 320)])
def test_boxes_of_resized_images_of_one_size_are_asked_about(target):
    size, image, corners = drawn(1, ((1080, 1920),))
    factor = (np.array(target) / size)[image]
    kinds = box_kinds(split_of(size, image, corners * np.concatenate([factor, factor], axis=1)))
    assert kinds.resized is not None
    assert not kinds.resized.is_certain
    assert not kinds.are(RESIZED).any()


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


def test_one_image_of_another_size_shows_nothing():
    """A region of 299 frames, and a thumbnail whose only object fits it."""
    size, image, corners = drawn(6, ((1080, 1920),), at_border=0.2)
    size[0] = (600, 1200)
    pixels = corners * np.array([630, 1000, 630, 1000])
    kinds = box_kinds(split_of(size, image, pixels / np.concatenate([size, size], axis=1)[image]))
    assert kinds.resized is None


def test_a_bar_below_the_picture_makes_no_other_size():
    size, image, corners = drawn(6, ((1080, 1920), (1280, 1920)), at_border=0.2)
    pixels = corners * np.array([630, 1000, 630, 1000])
    kinds = box_kinds(split_of(size, image, pixels / np.concatenate([size, size], axis=1)[image]))
    assert kinds.resized is None
