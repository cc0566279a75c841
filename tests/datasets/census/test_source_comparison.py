"""Records against their json: every difference is counted, none is invented."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from odapi_repro.datasets.census import SplitCensus, take_census
from odapi_repro.datasets.census.manifest_check import Choice
from odapi_repro.datasets.census.source_annotations import read_source_annotations
from odapi_repro.datasets.census.source_comparison import SourceComparison, compare_with_source
from odapi_repro.datasets.label_map import read_label_map
from odapi_repro.datasets.record_files import folder_inventories
from odapi_repro.errors import DataError


@pytest.fixture(scope="module")
def split(small) -> SplitCensus:
    return take_census("train", folder_inventories(small.folder)[0]["train"])


@pytest.fixture
def content(small) -> dict:
    return json.loads(small.instances_train.read_text())


def compared(split, content, small, tmp_path: Path) -> SourceComparison:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return compare_with_source(
        split, read_source_annotations(path), read_label_map(small.label_map_path)
    )


def counts(told: SourceComparison) -> dict[str, int]:
    kinds = ("moved", "missing", "added", "class_changed", "crowd_changed", "area_changed")
    kinds += ("images_missing", "images_unknown")
    return {kind: getattr(told, kind).count for kind in kinds if getattr(told, kind).count}


def test_the_json_that_records_were_made_from_agrees(split, content, small, tmp_path):
    told = compared(split, content, small, tmp_path)
    assert counts(told) == {}
    assert told.equal == told.boxes == len(content["annotations"])


def test_each_difference_is_counted_by_its_kind(split, content, small, tmp_path):
    one, two, three, four, five, *_ = content["annotations"]
    one["bbox"][0] += 30
    two["category_id"] = two["category_id"] % 6 + 1
    three["iscrowd"] = 1 - three["iscrowd"]
    four["area"] *= 1.5
    content["annotations"].remove(five)
    told = compared(split, content, small, tmp_path)
    wanted = ("moved", "class_changed", "crowd_changed", "area_changed", "added")
    assert counts(told) == dict.fromkeys(wanted, 1)
    assert sum(told.how_moved.values()) == 1


def test_an_object_that_no_record_has_is_missing_and_why_is_said(split, content, small, tmp_path):
    size = {one["id"]: one for one in content["images"]}
    image = size[content["annotations"][0]["image_id"]]
    first = {**content["annotations"][0], "id": 9001, "bbox": [0, 0, image["width"] + 0.5, 9]}
    flat = {**content["annotations"][0], "id": 9002, "bbox": [5, 5, 0, 9]}
    outside = {**content["annotations"][0], "id": 9003, "bbox": [-20, 5, 10, 9]}
    flat_outside = {**content["annotations"][0], "id": 9004, "bbox": [-20, 5, 0, 9]}
    inside = {**content["annotations"][0], "id": 9005, "bbox": [1, 1, 7, 7]}
    vanishing = {**content["annotations"][0], "id": 9006, "bbox": [50, 50, 1e-7, 10]}
    content["annotations"] += [first, flat, outside, flat_outside, inside, vanishing]
    told = compared(split, content, small, tmp_path)
    assert counts(told) == {"missing": 6}
    # Each is told of once; one has no such reason.
    assert (told.missing_overrun, told.missing_flat, told.missing_outside) == (1, 3, 1)


def test_what_was_not_chosen_is_counted_apart(split, content, small, tmp_path):
    first = content["annotations"][0]
    content["categories"].append({"id": 77, "name": "hexagon"})
    content["annotations"].append({**first, "id": 9001, "category_id": 77})
    content["images"] += [{**content["images"][0], "id": 9000 + i} for i in range(3)]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    chosen = frozenset(one["name"] for one in content["categories"]) - {"hexagon"}
    told = compare_with_source(
        split,
        read_source_annotations(path),
        read_label_map(small.label_map_path),
        Choice(images_left_out=2, classes=chosen),
    )
    assert counts(told) == {"images_missing": 1}
    assert (told.images_not_chosen, told.objects_not_chosen) == (2, 1)


def test_the_area_of_a_clipped_box_may_be_that_of_the_box(split, content, small, tmp_path):
    first = content["annotations"][0]
    (image,) = (one for one in content["images"] if one["id"] == first["image_id"])
    (number,) = np.flatnonzero(split.images.source_id == str(image["id"]))
    row = int(np.searchsorted(split.boxes.image, number))
    height, width = image["height"], image["width"]
    boxes = replace(split.boxes, corners=split.boxes.corners.copy(), area=split.boxes.area.copy())
    boxes.corners[row], boxes.area[row] = [0, 0, 0.5, 1], height / 2 * width
    first["bbox"] = [0, 0, width + 50, height / 2]
    first["area"] = height / 2 * (width + 50)
    clipped = replace(split, boxes=boxes)
    assert counts(compared(clipped, content, small, tmp_path)) == {}
    first["area"] = height / 4 * width
    assert counts(compared(clipped, content, small, tmp_path)) == {"area_changed": 1}


def test_images_are_matched_by_file_name_where_ids_differ(split, content, small, tmp_path):
    renumbered = {one["id"]: one["id"] + 10**6 for one in content["images"]}
    for one in content["images"]:
        one["id"] = renumbered[one["id"]]
    for one in content["annotations"]:
        one["image_id"] = renumbered[one["image_id"]]
    assert counts(compared(split, content, small, tmp_path)) == {}


def test_categories_are_matched_by_name(split, content, small, tmp_path):
    for one in [*content["categories"]]:
        one["id"] += 100
    for one in content["annotations"]:
        one["category_id"] += 100
    assert counts(compared(split, content, small, tmp_path)) == {}


def test_two_objects_in_one_place_keep_their_classes_whatever_their_order(
    split, content, small, tmp_path
):
    content["annotations"].reverse()
    assert counts(compared(split, content, small, tmp_path)) == {}


def test_images_that_one_side_lacks_are_counted(split, content, small, tmp_path):
    gone, kept = content["images"][0], content["images"][1:]
    content["images"] = [*kept, {**gone, "id": 777, "file_name": "other.jpg"}]
    told = compared(split, content, small, tmp_path)
    assert told.images_missing.examples == ("777",)
    assert (told.images_missing.count, told.images_unknown.count) == (1, 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the file is empty"),
        ("{", "the JSON is cut short: the file ends at byte 1"),
        ("[1]", "the JSON is a list, not an object"),
        ('{"images": []}', r"this is not COCO: the json has no 'annotations' \(it has: images\)"),
        ('{"images": 1, "annotations": 2, "categories": 3}', "the json has no 'images'"),
    ],
)
def test_what_is_no_coco_json_is_refused(tmp_path, text, found):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=found):
        read_source_annotations(path)


def test_the_json_is_read_as_data_convert_reads_it(content, tmp_path):
    """Ids written otherwise are matched; boxes, areas and crowds are the same to the bit."""
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text(json.dumps(content))
    for one in content["annotations"]:
        one["image_id"], one["category_id"] = str(one["image_id"]), float(one["category_id"])
    other.write_text(json.dumps(content))
    first, second = read_source_annotations(path), read_source_annotations(other)
    assert {name: rows.tolist() for name, rows in first.rows.items()} == {
        name: rows.tolist() for name, rows in second.rows.items()
    }
    for name in ("corners", "category", "crowd", "area", "flat", "outside", "overruns"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    boxes = np.array([one["bbox"] for one in content["annotations"]])
    assert len(first.corners) == len(boxes)
    assert (first.corners >= 0).all()
