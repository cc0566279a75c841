"""Copies are found however they were encoded; different pictures are none."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.census import ImageColumns, take_census
from odapi_repro.datasets.census import duplicates as duplicates_module
from odapi_repro.datasets.census.duplicates import likeness
from odapi_repro.datasets.census.record_portion import look_at_image
from odapi_repro.datasets.record_files import folder_inventories
from odapi_repro.datasets.tfrecord import read_records


@pytest.fixture(scope="module")
def pictures(train_files) -> list[Image.Image]:
    images = [
        AnnotatedImage.from_example(data) for file in train_files for data in read_records(file)
    ]
    return [Image.open(io.BytesIO(image.encoded_image)).convert("RGB") for image in images]


def columns_of(encoded: list[bytes]) -> ImageColumns:
    looked = [look_at_image(data) for data in encoded]
    count = len(encoded)
    texts = np.array([str(i) for i in range(count)], object)
    return ImageColumns(
        source_id=texts,
        filename=texts,
        file=np.zeros(count, np.int32),
        recorded_size=np.zeros((count, 2), np.int32),
        decoded_size=np.array([(one.height, one.width) for one in looked], np.int32),
        orientation=np.ones(count, np.uint8),
        num_boxes=np.zeros(count, np.int32),
        keypoints=np.zeros(count, np.int32),
        visibilities=np.zeros(count, np.int32),
        keypoint_most=np.full(count, np.nan, np.float32),
        digest=np.array([[hash(data) & 0xFFFF, len(data)] for data in encoded], np.uint64),
        thumbnail=np.stack([one.thumbnail for one in looked]),
    )


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


@pytest.mark.parametrize(
    "encode",
    [
        lambda one: jpeg(one, 70),
        lambda one: jpeg(one, 30),
        png,
        lambda one: jpeg(scaled(one, 0.9)),
        lambda one: jpeg(scaled(one, 0.5)),
        lambda one: jpeg(scaled(one, 2.0)),
    ],
    ids=["quality 70", "quality 30", "PNG", "90 %", "50 %", "200 %"],
)
def test_every_copy_is_known_by_its_picture(
    pictures: list[Image.Image], encode: Callable[[Image.Image], bytes]
):
    found = likeness(
        [columns_of([jpeg(one) for one in pictures]), columns_of([encode(p) for p in pictures])]
    )
    count = len(pictures)
    assert found.near[:count].tolist() == list(range(count))
    assert found.near[count:].tolist() == list(range(count))
    assert found.exact.tolist() == list(range(2 * count))


@pytest.mark.parametrize("change", [ImageOps.mirror, ImageOps.flip, ImageOps.invert])
def test_mirrored_and_recoloured_pictures_are_others(pictures, change):
    found = likeness(
        [columns_of([jpeg(p) for p in pictures] + [jpeg(change(p)) for p in pictures])]
    )
    assert found.near.tolist() == list(range(2 * len(pictures)))


def test_one_object_more_makes_another_picture(pictures):
    def with_square(picture: Image.Image) -> Image.Image:
        copy = picture.copy()
        left = picture.width // 3
        copy.paste((255, 0, 255), (left, left, left + 40, left + 40))
        return copy

    found = likeness(
        [columns_of([jpeg(p) for p in pictures] + [jpeg(with_square(p)) for p in pictures])]
    )
    assert found.near.tolist() == list(range(2 * len(pictures)))


def test_images_of_one_colour_are_known_by_their_bytes_alone():
    encoded = [jpeg(Image.new("RGB", (64, 64), (grey,) * 3)) for grey in (10, 10, 12)]
    found = likeness([columns_of(encoded)])
    assert found.exact.tolist() == found.near.tolist() == [0, 0, 2]


def test_blocks_give_what_one_block_gives(pictures, monkeypatch):
    encoded = [jpeg(p, quality) for quality in (90, 60, 40) for p in pictures]
    whole = likeness([columns_of(encoded)]).near
    monkeypatch.setattr(duplicates_module, "_BLOCK", 5)
    monkeypatch.setattr(duplicates_module, "_VERIFIED_AT_ONCE", 2)
    assert likeness([columns_of(encoded)]).near.tolist() == whole.tolist()


def test_no_image_of_a_clean_set_is_like_another(small):
    columns = [
        take_census(split, inventory).images
        for split, inventory in folder_inventories(small.folder)[0].items()
    ]
    found = likeness(columns)
    assert found.near.tolist() == list(range(len(found.near)))
