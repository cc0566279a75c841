"""The census counts what is there, whatever it is, and the same on one core and on several."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.census import (
    MASK_OK,
    MASK_OTHER_SIZE,
    take_census,
)
from odapi_repro.datasets.census import survey as survey_module
from odapi_repro.datasets.census.record_portion import look_at_image, look_at_mask
from odapi_repro.datasets.embedded import EmbeddedDataset
from odapi_repro.datasets.example import make_example
from odapi_repro.datasets.record_files import folder_inventories, inventory_of
from odapi_repro.datasets.record_ground_truth import decode_mask
from odapi_repro.datasets.tfrecord import read_records, write_records
from odapi_repro.errors import DataError


@pytest.fixture
def one_image(train_files: list[Path]) -> AnnotatedImage:
    images = map(AnnotatedImage.from_example, read_records(train_files[0]))
    return next(image for image in images if len(image.boxes) > 1)


def census_of(tmp_path: Path, *records: bytes):
    write_records(tmp_path / "train.record", records)
    return take_census("train", inventory_of([str(tmp_path / "train.record")]))


def test_boxes_masks_areas_and_crowds_are_those_of_the_json(small: EmbeddedDataset):
    split = take_census("train", folder_inventories(small.folder)[0]["train"])
    content = json.loads(small.instances_train.read_text())
    by_image = {str(one["id"]): [] for one in content["images"]}
    for one in content["annotations"]:
        by_image[str(one["image_id"])].append(one)
    assert len(split.images) == len(by_image)
    row = 0
    for index, source_id in enumerate(split.images.source_id):
        for one in by_image[source_id]:
            assert split.boxes.image[row] == index
            assert split.boxes.label[row] == one["category_id"]
            assert split.boxes.crowd[row] == bool(one["iscrowd"])
            assert split.boxes.area[row] == one["area"]
            assert split.boxes.mask_pixels[row] == coco_mask.area(one["segmentation"])
            x, y, width, height = coco_mask.toBbox(one["segmentation"])
            assert split.boxes.mask_box[row].tolist() == [y, x, y + height, x + width]
            row += 1
    assert row == len(split.boxes)


def test_several_processes_and_small_stretches_give_the_same_columns(small, monkeypatch):
    inventory = folder_inventories(small.folder)[0]["train"]
    alone = take_census("train", inventory)
    monkeypatch.setattr(survey_module, "_ALONE_BYTES", 0)
    monkeypatch.setattr(survey_module, "_STRETCH_RECORDS", 2)
    shared = take_census("train", inventory, workers=2)
    assert shared.vocabulary == alone.vocabulary
    for columns in ("images", "boxes"):
        one, other = getattr(alone, columns), getattr(shared, columns)
        for column in fields(one):
            np.testing.assert_array_equal(getattr(one, column.name), getattr(other, column.name))


def test_progress_ends_with_all_records(small):
    told = []
    inventory = folder_inventories(small.folder)[0]["train"]
    take_census("train", inventory, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.9, 0.999])
def test_a_jpeg_is_found_truncated_wherever_it_is_cut(one_image, cut):
    whole = one_image.encoded_image
    assert look_at_image(whole).fault == ""
    assert look_at_image(whole[: int(len(whole) * cut)]).fault


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (97, 2000), (640, 480)])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP"])
def test_the_size_of_an_image_is_that_of_its_pixels(size, form):
    file = io.BytesIO()
    Image.new("RGB", size, (10, 200, 30)).save(file, form)
    picture = look_at_image(file.getvalue())
    assert (picture.width, picture.height, picture.fault) == (*size, "")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_a_mask_is_measured_as_the_evaluation_decodes_it_whatever_its_mode(mode):
    pixels = np.zeros((40, 60), np.uint8)
    pixels[7:20, 11:31] = 1
    pixels[9, 12:15] = 0
    if mode in ("L", "RGB"):
        picture = Image.fromarray(pixels).convert(mode)
    elif mode == "I;16":
        picture = Image.fromarray(pixels.astype(np.uint16))
    else:
        picture = Image.fromarray(pixels * 255).convert(mode)
    file = io.BytesIO()
    picture.save(file, "PNG")
    truth = decode_mask(file.getvalue(), where="")
    facts = look_at_mask(file.getvalue(), 40, 60)
    assert (facts.state, facts.pixels) == (MASK_OK, int(truth.sum()))
    rows, columns = np.nonzero(truth)
    wanted = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    assert facts.box == wanted
    assert look_at_mask(file.getvalue(), 60, 40).state == MASK_OTHER_SIZE


@pytest.mark.parametrize("data", [b"x", b"\xff\xd8\xff\xe0", b"GIF89a", b"\x89PNG\r\n\x1a\n" * 3])
def test_rubbish_under_the_image_is_a_fault_and_no_exception(data):
    assert look_at_image(data).fault


def test_a_record_that_is_none_leaves_the_others_untouched(tmp_path, one_image):
    split = census_of(tmp_path, one_image.to_example(), b"\xff\xfe rubbish", one_image.to_example())
    assert (split.records, len(split.images)) == (3, 2)
    assert split.faults["not_example"].count == 1
    assert split.faults["not_example"].examples == ("train.record record 2",)


def test_an_image_without_any_object_key_has_no_boxes(tmp_path, one_image):
    split = census_of(tmp_path, make_example({"image/encoded": one_image.encoded_image}))
    assert (len(split.images), len(split.boxes)) == (1, 0)
    assert split.images.num_boxes.tolist() == [0]
    assert split.faults == {}


def test_a_file_cut_at_any_byte_gives_the_records_before_and_a_fault(tmp_path, train_files):
    data = train_files[0].read_bytes()
    whole = len(list(read_records(train_files[0])))
    path = tmp_path / "train.record"
    for cut in (1, 11, 13, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        split = take_census("train", inventory_of([str(path)]))
        assert split.files[0].fault
        assert split.records == len(split.images) < whole


def test_a_missing_shard_is_known_by_the_names_of_the_others(tmp_path):
    for index in (0, 1, 3):
        (tmp_path / f"train-{index:05d}-of-00004.tfrecord").touch()
    (tmp_path / "val.record").touch()
    found, _ = folder_inventories(tmp_path)
    assert found["train"].shard_sets[0].missing == (2,)
    assert found["eval"].shard_sets == ()


def test_a_folder_without_record_files_is_refused(tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(DataError, match="holds no record file"):
        folder_inventories(tmp_path)


def test_records_whose_names_tell_no_split_are_for_training(tmp_path):
    (tmp_path / "pictures.record").touch()
    found, (told,) = folder_inventories(tmp_path)
    assert [one.name for one in found["train"].files] == ["pictures.record"]
    assert "taken for training: pictures.record" in told
