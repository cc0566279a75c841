"""COCO files become columns, or one message that says what is wrong and where."""

from __future__ import annotations

import copy
import gzip
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask
from pycocotools.coco import COCO

from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import (
    compressed_masks,
    detections_of,
    ground_truth_of,
    mask_areas,
    read_detections,
    read_ground_truth,
)
from odapi_repro.evaluation.coco_data.run_lengths import run_length_sums

Json = dict[str, Any]
POLYGON = [[10.0, 10.0, 30.0, 10.0, 30.0, 40.0, 10.0, 40.0]]


def encoded(height: int = 60, width: int = 80) -> Json:
    pixels = np.zeros((height, width), np.uint8, order="F")
    pixels[10:40, 10:30] = 1
    made = mask.encode(pixels)
    return {"size": made["size"], "counts": made["counts"].decode()}


def instances() -> Json:
    """Two images, three annotations, two classes, nothing in the order of its ids."""
    images = [
        {"id": 139, "file_name": "000000000139.jpg", "height": 60, "width": 80},
        {"id": 25, "file_name": "000000000025.jpg", "height": 60, "width": 80},
    ]
    annotations = [
        {"id": 8, "image_id": 25, "category_id": 3, "bbox": [10, 10, 20, 30], "area": 600.0},
        {"id": 5, "image_id": 139, "category_id": 1, "bbox": [1.5, 2, 0, 0], "area": 0},
        {"id": 6, "image_id": 25, "category_id": 3, "bbox": [0, 0, 9, 9], "area": 50, "iscrowd": 1},
    ]
    for annotation in annotations:
        annotation["segmentation"] = POLYGON
    categories = [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def results() -> list[Json]:
    return [
        {"image_id": 25, "category_id": 3, "bbox": [10.0, 10.0, 20.0, 30.5], "score": 0.75},
        {"image_id": 139, "category_id": 1, "bbox": [0, 0, 0, 5], "score": 1},
        {"image_id": 25, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.125},
    ]


def masks() -> list[Json]:
    return [
        {"image_id": 25, "category_id": 3, "segmentation": encoded(), "score": 0.5},
        {"image_id": 139, "category_id": 3, "segmentation": encoded(), "score": 0.25},
    ]


# --- columns ---


def test_ground_truth_becomes_columns_of_indices() -> None:
    truth = ground_truth_of(instances())
    assert truth.image_ids == (139, 25)
    assert truth.file_names == ("000000000139.jpg", "000000000025.jpg")
    assert truth.category_ids == (1, 3), "ascending, as COCO's K axis is"
    assert truth.category_names == ("cat", "dog")
    assert truth.ids.tolist() == [8, 5, 6]
    assert truth.images.tolist() == [1, 0, 1]
    assert truth.categories.tolist() == [1, 0, 1]
    assert truth.boxes.tolist() == [[10, 10, 20, 30], [1.5, 2, 0, 0], [0, 0, 9, 9]]
    assert truth.areas.tolist() == [600, 0, 50]
    assert truth.is_crowd.tolist() == [False, False, True]
    assert truth.heights.tolist() == [60, 60]
    assert truth.widths.tolist() == [80, 80]
    assert truth.masks == (POLYGON, POLYGON, POLYGON)


def test_detections_become_columns_of_indices() -> None:
    truth = ground_truth_of(instances())
    found = detections_of(results(), truth)
    assert found.num == 3
    assert found.images.tolist() == [1, 0, 1]
    assert found.categories.tolist() == [1, 0, 1]
    assert found.boxes is not None
    assert found.boxes.tolist() == [[10, 10, 20, 30.5], [0, 0, 0, 5], [1, 2, 3, 4]]
    assert found.scores.tolist() == [0.75, 1, 0.125]
    assert found.masks is None
    alone = detections_of(masks(), truth)
    assert alone.masks == (encoded(), encoded())
    assert alone.boxes is not None
    assert alone.boxes.tolist() == [mask.toBbox(encoded()).tolist()] * 2
    assert alone.areas is not None
    assert alone.areas.tolist() == [float(mask.area(encoded()))] * 2


@pytest.mark.parametrize("content", [results(), masks(), []])
def test_detections_go_back_to_what_they_were_read_from(content: list[Json]) -> None:
    truth = ground_truth_of(instances())
    assert detections_of(content, truth).to_coco(truth) == content


def test_ground_truth_goes_back_to_what_pycocotools_reads_the_same_from() -> None:
    truth = ground_truth_of(instances())
    again = ground_truth_of(truth.to_coco())
    for name in ("ids", "images", "categories", "boxes", "areas", "is_crowd", "heights", "widths"):
        np.testing.assert_array_equal(getattr(again, name), getattr(truth, name))
    assert again.masks == truth.masks
    coco = COCO()
    coco.dataset = truth.to_coco()
    coco.createIndex()
    original = COCO()
    original.dataset = instances()
    original.createIndex()
    assert coco.getAnnIds() == original.getAnnIds()
    for annotation in original.dataset["annotations"]:
        ours = coco.anns[annotation["id"]]
        assert ours == {"iscrowd": 0, **annotation}


def test_some_detections_are_chosen_by_a_mask_or_by_indices() -> None:
    truth = ground_truth_of(instances())
    found = detections_of(results(), truth)
    assert found.subset(found.scores > 0.5).to_coco(truth) == results()[:2]
    assert found.subset(np.array([2, 0])).to_coco(truth) == [results()[2], results()[0]]
    with_masks = detections_of(masks(), truth)
    assert with_masks.subset(np.array([1])).masks == (encoded(),)
    assert found.subset(np.array([], np.int64)).num == 0


def test_images_are_taken_in_the_order_of_their_ids_and_strings_as_strings() -> None:
    truth = ground_truth_of(instances())
    assert truth.image_order.tolist() == [1, 0]
    assert truth.image_ranks.tolist() == [1, 0]
    named = instances()
    for row, id_ in zip(named["images"], ("9", "10"), strict=True):
        row["id"] = id_
    named["annotations"] = []
    assert ground_truth_of(named).image_order.tolist() == [1, 0], "'10' is before '9'"


def test_what_coco_does_not_ask_for_may_be_missing() -> None:
    content = instances()
    for row in content["images"]:
        del row["file_name"], row["height"], row["width"]
    for row in content["annotations"]:
        del row["id"]
    del content["annotations"][0]["segmentation"], content["categories"][0]["name"]
    truth = ground_truth_of(content)
    assert truth.file_names == ("", "")
    assert truth.heights.tolist() == [0, 0]
    assert truth.ids.tolist() == [1, 2, 3]
    assert truth.masks is None, "one annotation has none"
    assert truth.category_names == ("cat", "3")
    assert detections_of(masks(), truth).num == 2, "no size is known to compare with"


def test_no_detections_are_no_boxes_and_no_masks() -> None:
    truth = ground_truth_of(instances())
    found = detections_of([], truth)
    assert found.num == 0
    assert found.boxes is not None
    assert found.boxes.shape == (0, 4)
    assert found.masks == ()


def test_an_empty_mask_beside_a_box_is_none_and_so_is_an_empty_box_beside_a_mask() -> None:
    truth = ground_truth_of(instances())
    boxes = detections_of([{**row, "segmentation": []} for row in results()], truth)
    assert (boxes.num, boxes.masks) == (3, None)
    found = detections_of([{**row, "bbox": []} for row in masks()], truth)
    assert found.num == 2
    assert found.areas is not None


def test_ids_that_are_whole_floats_are_the_integers() -> None:
    truth = ground_truth_of(instances())
    found = detections_of([{**results()[0], "image_id": 25.0, "category_id": 3.0}], truth)
    assert found.images.tolist() == [1]
    assert found.categories.tolist() == [1]


def test_what_is_read_is_left_as_it_was() -> None:
    content, found = instances(), masks()
    before = copy.deepcopy((content, found))
    detections_of(found, ground_truth_of(content))
    assert (content, found) == before


# --- files ---


def written(folder: Path, content: object, name: str = "file.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_files_are_read_plain_or_gzipped_whatever_their_name(tmp_path: Path) -> None:
    truth = read_ground_truth(written(tmp_path, instances()))
    packed = tmp_path / "results.json"
    packed.write_bytes(gzip.compress(json.dumps(results()).encode()))
    assert read_detections(packed, truth).to_coco(truth) == results()
    with_mark = tmp_path / "marked.json"
    with_mark.write_bytes(b"\xef\xbb\xbf" + json.dumps(results()).encode())
    assert read_detections(with_mark, truth).num == 3


@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.77, 0.9, 0.99])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_file_that_ends_in_the_middle_is_said_to_be_cut_short(
    tmp_path: Path, share: float, indent: int | None
) -> None:
    text = json.dumps(results(), indent=indent)
    path = tmp_path / "cut.json"
    path.write_text(text[: int(share * len(text))])
    with pytest.raises(DataError, match=r"cut\.json:\d+:\d+: the JSON is cut short") as error:
        read_detections(path, ground_truth_of(instances()))
    assert "copy or write it again" in str(error.value)


def test_every_place_where_a_file_may_end_is_a_cut(tmp_path: Path) -> None:
    text = json.dumps([{"score": -1.5e-3, "ok": True, "name": "a\\u00e9\n", "box": [1, None]}])
    truth = ground_truth_of(instances())
    path = tmp_path / "cut.json"
    for end in range(1, len(text)):
        path.write_text(text[:end])
        with pytest.raises(DataError, match="the JSON is cut short"):
            read_detections(path, truth)


def test_a_text_that_is_no_json_is_not_said_to_be_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "text.json"
    path.write_text("hello")
    with pytest.raises(DataError, match="this is no JSON"):
        read_ground_truth(path)


def test_a_gzip_file_that_ends_in_the_middle_is_said_to_be_cut_short(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(instances()).encode())
    path = tmp_path / "cut.json.gz"
    path.write_bytes(packed[:-20])
    with pytest.raises(DataError, match="gzip file is cut short after"):
        read_ground_truth(path)
    path.write_bytes(packed[:30] + b"\xff" * 20 + packed[50:])
    with pytest.raises(DataError, match="gzip file is damaged"):
        read_ground_truth(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b'[{"score": 0.5,}]', r"file\.json:1:16: this is no JSON"),
        (b'[\n{"a": 1}\n{"a": 2}]', r"file\.json:3:1: this is no JSON"),
        (b'{"image_id": 1}\n{"image_id": 2}\n', r"file\.json:2:1: .*more than one JSON value"),
        (b'[{"name": "caf\xe9"}]', "no UTF-8 text .byte 14 is 0xe9"),
        ("[]".encode("utf-16"), "begins as UTF-16 does"),
        (b"PK\x03\x04\x14\x00\x00\x00\x08\x00\xe5", "no UTF-8 text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        (b"[" * 100_000, "nested too deeply|cut short"),
    ],
)
def test_a_file_that_is_no_json_is_refused_with_the_place(
    tmp_path: Path, data: bytes, message: str
) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(data)
    for read in (read_ground_truth, lambda p: read_detections(p, ground_truth_of(instances()))):
        with pytest.raises(DataError, match=message):
            read(path)


def test_a_file_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    written(tmp_path, instances(), "instances_val2017.json")
    with pytest.raises(DataError, match=r"did you mean '.*instances_val2017\.json'"):
        read_ground_truth(tmp_path / "instance_val2017.json")
    with pytest.raises(DataError, match="this is a folder"):
        read_ground_truth(tmp_path)


# --- detections that are refused ---


def detections_with(**fields: Any) -> list[Json]:
    return [*results(), {**results()[0], **fields}]


def without(rows: list[Json], name: str) -> list[Json]:
    return [{k: v for k, v in row.items() if k != name} for row in rows]


KEYPOINTS = [{"image_id": 25, "category_id": 1, "keypoints": [1, 2, 2] * 17, "score": 0.5}]
PANOPTIC = {"annotations": [{"image_id": 25, "file_name": "a.png", "segments_info": []}]}

BAD_RESULTS: dict[str, tuple[Any, str]] = {
    "ground truth instead of results": (instances(), "ground truth file.*--ground_truth"),
    "a panoptic file": (PANOPTIC, "panoptic file"),
    "a list of panoptic results": (PANOPTIC["annotations"], "panoptic results"),
    "keypoint results": (KEYPOINTS, "keypoint results"),
    "caption results": ([{"image_id": 25, "caption": "a dog"}], "caption results"),
    "an empty object": ({}, r"empty object.*empty list \[\]"),
    "one detection without a list": (results()[0], "one object.*write a list"),
    "results in an object": ({"annotations": results()}, "wrapped in an object.*by itself"),
    "a text": ("results", "this is a text"),
    "a number": (7, "this is a number"),
    "null": (None, "this is null"),
    "a list of lists": ([[25, 3, 0.5]], "a list instead of an object in 1 of 1 detections"),
    "a list with a hole": ([*results(), None], "null instead of an object.*index 3"),
    "neither boxes nor masks": (without(results(), "bbox"), "neither 'bbox' nor 'segmentation'"),
    "an image that is not there": (
        detections_with(image_id=4),
        r"1 image is not in the ground truth \('image_id' 4\), in 1 of 4 detections, first at "
        r"index 3.*its 2 images, such as 139, 25.*ground truth of the images that were evaluated",
    ),
    "many images that are not there": (
        [{**row, "image_id": n} for n, row in enumerate(results() * 3)],
        r"9 images are not .*'image_id' 0, 1, 2, \.\.\.\), in 9 of 9 detections",
    ),
    "ids that are strings of integers": (
        detections_with(image_id="139"),
        "strings of the ground truth's integers: write 139",
    ),
    "ids that are padded strings": (
        detections_with(image_id="000000000139"),
        "strings of the ground truth's integers: write 139",
    ),
    "ids that are file names": (
        detections_with(image_id="val2017/000000000139.jpg"),
        "these are file names",
    ),
    "an id that is a list": (detections_with(image_id=[25]), r"'image_id' \[25\]"),
    "a class that is not there": (
        detections_with(category_id=7),
        r"1 class is not .*'category_id' 7\), in 1 of 4.*its 2 classes, 1 to 3.*label map",
    ),
    "classes counted from 0": (
        [{**row, "category_id": n % 2} for n, row in enumerate(results())],
        "counted from 0 to 1: write the 'id' of each, 1 for 0 and 3 for 1",
    ),
    "a class by its name": (detections_with(category_id="dog"), "3 for 'dog'"),
    "a class as a string": (detections_with(category_id="3"), "write 3"),
    "a score that is NaN": (detections_with(score=math.nan), "'score' is nan in 1 of 4.*index 3"),
    "a score that is infinite": (detections_with(score=-math.inf), "'score' is -inf"),
    "a score beyond all floats": (detections_with(score=10**400), "'score' is inf"),
    "a score that is a string": (detections_with(score="0.5"), "'score' is '0.5'.*a number"),
    "a score that is null": (detections_with(score=None), "'score' is None"),
    "a score that is a list": (detections_with(score=[0.5]), r"'score' is \[0.5\]"),
    "a score that is a truth value": ([{**results()[0], "score": True}], "'score' is True"),
    "no score": (
        [*results(), *without(results()[:1], "score")],
        "'score' is missing in 1 of 4 detections, first at index 3",
    ),
    "annotations instead of results": (
        instances()["annotations"],
        "'score' is missing in 3 of 3 .*a ground truth's annotations",
    ),
    "no image": (without(results(), "image_id"), "'image_id' is missing in 3 of 3"),
    "no class": (without(results(), "category_id"), "'category_id' is missing"),
    "a box of negative width": (
        detections_with(bbox=[1, 1, -2, 5]),
        r"negative size, \[1.0, 1.0, -2.0, 5.0\].*index 3.*no corners",
    ),
    "a box of negative height": (detections_with(bbox=[1, 1, 2, -0.1]), "negative size"),
    "a box with NaN": (detections_with(bbox=[1, math.nan, 2, 1]), "'bbox' is not finite"),
    "a box of three numbers": (detections_with(bbox=[1, 1, 2]), r"'bbox' is \[1, 1, 2\].*x, y"),
    "a box of five numbers": (detections_with(bbox=[1, 1, 2, 3, 4]), r"'bbox' is \[1, 1"),
    "a box of strings": (detections_with(bbox=["1", 1, 2, 3]), r"'bbox' is \['1'"),
    "a box that is a string": (detections_with(bbox="1234"), "'bbox' is '1234'"),
    "a box that is an object": (
        detections_with(bbox={"x": 1, "y": 2, "w": 3, "h": 4}),
        "'bbox' is {'x': 1",
    ),
    "a box that is null": (detections_with(bbox=None), "'bbox' is None"),
    "boxes in some only": ([*results(), *masks()], "'bbox' is missing in 2 of 5"),
    "no mask in the first": (
        [results()[0], {**results()[0], "segmentation": encoded()}],
        "'segmentation' is missing in 1 of 2",
    ),
    "masks in some only": ([*masks(), *results()], "'segmentation' is missing in 3 of 5"),
    "a mask of another size": (
        [{**masks()[0], "segmentation": encoded(30, 40)}],
        r"mask of size \[30, 40\] .height, width. on image 25.*\[60, 80\].*resize",
    ),
    "a mask turned round": (
        [{**masks()[0], "segmentation": encoded(80, 60)}],
        "turn height and width round",
    ),
    "polygons": ([{**masks()[0], "segmentation": POLYGON}], "a list, as polygons are"),
    "uncompressed run lengths": (
        [{**masks()[0], "segmentation": {"size": [60, 80], "counts": [4800]}}],
        "uncompressed run lengths",
    ),
    "a mask without a size": (
        [{**masks()[0], "segmentation": {"counts": "abc"}}],
        "an object of counts",
    ),
    "a mask that is null": ([{**masks()[0], "segmentation": None}], "'segmentation' is null"),
    "run lengths that do not fill the mask": (
        [{**masks()[0], "segmentation": {"size": [60, 80], "counts": encoded()["counts"][:-3]}}],
        r"cover \d+ of the 4800 pixels",
    ),
    "run lengths of letters that are none": (
        [{**masks()[0], "segmentation": {"size": [60, 80], "counts": "\x01 é"}}],
        "no such text",
    ),
}  # fmt: skip


def says(message: str) -> re.Pattern[str]:
    return re.compile(message, re.DOTALL)


@pytest.mark.parametrize("name", BAD_RESULTS)
def test_results_are_refused_in_one_message_for(name: str, tmp_path: Path) -> None:
    content, message = BAD_RESULTS[name]
    truth = ground_truth_of(instances())
    with pytest.raises(DataError, match=says(message)):
        detections_of(content, truth)
    path = written(tmp_path, content, "results.json")
    with pytest.raises(DataError) as error:
        read_detections(path, truth)
    assert str(error.value).startswith(f"{path}: ")
    assert error.value.expected


def test_integers_where_the_ground_truth_has_strings_are_told_so() -> None:
    content = instances()
    for row in content["images"]:
        row["id"] = str(row["id"])
    for row in content["annotations"]:
        row["image_id"] = str(row["image_id"])
    with pytest.raises(DataError, match=says("integers, the ground truth's are strings.*'25'")):
        detections_of(results(), ground_truth_of(content))


# --- ground truth that is refused ---


def changed(change: Callable[[Json], object]) -> Json:
    content = instances()
    change(content)
    return content


def row_with(kind: str, index: int, **fields: Any) -> Json:
    return changed(lambda content: content[kind][index].update(fields))


def row_without(kind: str, index: int, name: str) -> Json:
    return changed(lambda content: content[kind][index].pop(name))


BAD_TRUTH: dict[str, tuple[Any, str]] = {
    "results instead of ground truth": (
        results(),
        "results file: a list of 3 detections.*--detections",
    ),
    "a list": ([], "JSON of another kind: a list"),
    "an empty object": (
        {},
        r"no 'images' and no 'annotations' and no 'categories' \(it has nothing\)",
    ),
    "no annotations": (
        changed(lambda c: c.pop("annotations")),
        r"no 'annotations' \(it has 'images', 'categories'\).*list of test images",
    ),
    "no images": (changed(lambda c: c.pop("images")), "no 'images'"),
    "no categories": (changed(lambda c: c.pop("categories")), "no 'categories'"),
    "an empty list of images": (changed(lambda c: c["images"].clear()), "images is empty"),
    "an empty list of categories": (
        changed(lambda c: c["categories"].clear()),
        "categories is empty",
    ),
    "annotations that are no list": (
        changed(lambda c: c.update(annotations={"8": {}})),
        "the annotations are an object",
    ),
    "an image that is no object": (
        changed(lambda c: c["images"].append(7)),
        "a number instead of an object in 1 of 3 images",
    ),
    "a panoptic file": (
        {**instances(), **PANOPTIC},
        "panoptic file: its annotations are 'segments_info'",
    ),
    "a captions file": (
        changed(lambda c: c.update(annotations=[{"id": 1, "image_id": 25, "caption": "dog"}])),
        "a captions file",
    ),
    "an image twice": (
        changed(lambda c: c["images"].append(c["images"][0])),
        r"ids are given more than once \(139\) in 2 of 3 images",
    ),
    "an annotation twice": (
        changed(lambda c: c["annotations"].append(c["annotations"][0])),
        r"more than once \(8\) in 2 of 4 annotations, first at index 0 \(id 8\)",
    ),
    "a category twice": (
        changed(lambda c: c["categories"].append(c["categories"][0])),
        r"more than once \(3\) in 2 of 3 categories",
    ),
    "an annotation of an unknown image": (
        row_with("annotations", 1, image_id=7),
        r"'image_id' is not among the images \(7\) in 1 of 3 annotations, first at index 1 .id 5",
    ),
    "an annotation of an unknown category": (
        row_with("annotations", 1, category_id=2),
        r"'category_id' is not among the categories \(2\) in 1 of 3",
    ),
    "image ids of two kinds": (row_with("images", 1, id="25"), "'id' is '25' in 1 of 2 images"),
    "an image id that is no id": (row_with("images", 1, id=2.5), "'id' is 2.5 in 1 of 2 images"),
    "no image id": (row_without("images", 1, "id"), "'id' is missing in 1 of 2 images"),
    "a category id that is a string": (row_with("categories", 0, id="3"), "'id' is '3'"),
    "an annotation id that is a string": (row_with("annotations", 0, id="8"), "'id' is '8'"),
    "an annotation without an id": (row_without("annotations", 2, "id"), "'id' is missing in 1"),
    "no area": (
        row_without("annotations", 2, "area"),
        "'area' is missing in 1 of 3 annotations.*width . height.*small, medium and large",
    ),
    "a crowd flag that is none": (
        row_with("annotations", 2, iscrowd="1"),
        "'iscrowd' is '1' in 1 of 3 annotations.*0 or 1",
    ),
    "an area that is negative": (row_with("annotations", 2, area=-1), "'area' is -1"),
    "an area that is NaN": (row_with("annotations", 2, area=math.nan), "'area' is nan"),
    "no box": (row_without("annotations", 2, "bbox"), "'bbox' is missing"),
    "a box of negative size": (
        row_with("annotations", 2, bbox=[5, 5, -1, 2]),
        r"negative size, \[5.0, 5.0, -1.0, 2.0\], in 1 of 3 annotations, first at index 2 .id 6",
    ),
    "a height that is negative": (row_with("images", 0, height=-60), "'height' is -60"),
    "a width that is a text": (row_with("images", 0, width="80"), "'width' is '80'"),
    "a width that is not whole": (row_with("images", 0, width=80.5), "'width' is 80.5"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TRUTH)
def test_ground_truth_is_refused_in_one_message_for(name: str, tmp_path: Path) -> None:
    content, message = BAD_TRUTH[name]
    with pytest.raises(DataError, match=says(message)):
        ground_truth_of(content)
    path = written(tmp_path, content, "instances.json")
    with pytest.raises(DataError) as error:
        read_ground_truth(path)
    assert str(error.value).startswith(f"{path}: ")
    assert error.value.expected


def test_a_file_without_a_single_annotation_is_refused_and_a_set_in_memory_is_not(
    tmp_path: Path,
) -> None:
    content = {**instances(), "annotations": []}
    assert ground_truth_of(content).num_annotations == 0
    with pytest.raises(DataError, match=r"holds no annotations \(2 images"):
        read_ground_truth(written(tmp_path, content))


# --- masks ---


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_run_lengths_are_read_as_pycocotools_reads_them(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.choice([0.0, 0.02, 0.5, 1.0], 5)
    pixels = [np.asfortranarray(rng.random((height, width)) < share, np.uint8) for share in shares]
    texts = [mask.encode(one)["counts"] for one in pixels]
    texts.insert(int(rng.integers(5)), b"")  # no runs at all
    covered, areas = run_length_sums(texts)
    expected = [int(mask.area({"size": [height, width], "counts": text})) for text in texts]
    assert areas.tolist() == expected
    assert sorted(covered.tolist()) == [0] + [height * width] * 5


def test_large_masks_are_read_as_pycocotools_reads_them() -> None:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(300):
        pixels = np.zeros((500, 700), np.uint8, order="F")
        y, x = rng.integers(0, 400, 2)
        pixels[y : y + 90, x : x + int(rng.integers(1, 300))] = 1
        made.append(mask.encode(pixels))
    assert mask_areas(made).tolist() == [int(mask.area(one)) for one in made]
    assert set(run_length_sums([one["counts"] for one in made])[0].tolist()) == {500 * 700}


@pytest.mark.parametrize("text", ["P", "\x2f0", "0p", "é", "n" * 9 + "0", "\ud800"])
def test_a_text_that_is_no_run_lengths_is_found_out_beside_others(text: str) -> None:
    sound = encoded()["counts"]
    covered, areas = run_length_sums([sound, text, sound])
    assert covered.tolist() == [4800, -1, 4800]
    assert areas.tolist() == [600, -1, 600]


def test_masks_of_ground_truth_are_drawn_as_pycocotools_draws_them() -> None:
    content = instances()
    runs = [10, 30, 4760]
    content["annotations"][1]["segmentation"] = {"size": [60, 80], "counts": runs}
    content["annotations"][2]["segmentation"] = encoded()
    coco = COCO()
    coco.dataset = copy.deepcopy(content)
    coco.createIndex()
    ours = compressed_masks(ground_truth_of(content))
    for one, annotation in zip(ours, coco.dataset["annotations"], strict=True):
        np.testing.assert_array_equal(mask.decode(dict(one)), coco.annToMask(annotation))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1.0, 2.0]], "no list of at least four numbers"),
        ([1.0, 2.0, 3.0, 4.0], "no list of at least four numbers"),
        ([[1.0, 2.0, "3", 4.0, 5.0, 6.0]], "something else than numbers"),
        ([[1.0, math.inf, 3.0, 4.0, 5.0, 6.0]], "not finite"),
        (encoded(80, 60), r"of size \[80, 60\], its image of \[60, 80\]"),
        ({"size": [60, 80], "counts": [7]}, "do not fill its size"),
        ({"size": [60, 80]}, "has no run lengths"),
        ({"size": [60, 80], "counts": "11"}, "do not cover the 4800 pixels"),
    ],
)
def test_masks_of_ground_truth_are_refused_only_where_masks_are_needed(
    segmentation: Any, message: str
) -> None:
    truth = ground_truth_of(row_with("annotations", 1, segmentation=segmentation))
    with pytest.raises(DataError, match=f"the mask.* of annotation 5 .*{message}"):
        compressed_masks(truth)
