"""What becomes of boxes at the border and beyond; every annotation is accounted for."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from coco_sets import CocoSet

from odapi_repro.datasets.conversion.converted_objects import REASONS

KEPT = [
    # x y width height in an image of 60 x 40, and the corners it is to have, ymin xmin ymax xmax
    ([0, 0, 60, 40], [0, 0, 1, 1]),
    ([50, 30, 10.0000001, 10], [0.75, 50 / 60, 1, 1]),
    ([-0.4, 2, 10, 4], [0.05, 0, 0.15, 9.6 / 60]),
    ([55, 35, 100, 100], [0.875, 55 / 60, 1, 1]),
    ([3, 3, 0.25, 0.25], [0.075, 0.05, 0.08125, 3.25 / 60]),
]
DROPPED = [
    ([60, 10, 5, 5], "outside_image"),
    ([10, -8, 5, 8], "outside_image"),
    ([10, 10, 0, 5], "no_area"),
    ([10, 10, 5, -2], "no_area"),
    ([10, 10, 1e-9, 5], "no_area"),
    ([math.nan, 10, 5, 5], "not_finite"),
    ([10, 10, math.inf, 5], "not_finite"),
]


def test_boxes_beyond_the_border_are_clipped_and_the_rest_is_counted(coco_set: CocoSet) -> None:
    coco_set.image(7)
    for box, _ in (*KEPT, *DROPPED):
        coco_set.annotation(7, box)
    split = coco_set.convert(shards=1).manifest.splits["train"]
    boxes = coco_set.records()["7"].boxes
    assert boxes == pytest.approx(np.array([corners for _, corners in KEPT]), abs=1e-7)
    counts = split.annotations
    assert counts["kept"] == len(KEPT)
    assert counts["clipped"] == 3
    assert counts["clipped_by_more_than_a_pixel"] == 1
    for reason in ("outside_image", "no_area", "not_finite"):
        assert counts[reason] == sum(one == reason for _, one in DROPPED)
    assert sum(counts[reason] for reason in REASONS) == counts["in_json"] == 12


def test_annotations_of_unknown_images_and_categories_are_dropped_and_counted_when_asked(
    ten_images: CocoSet,
) -> None:
    ten_images.annotation(99, [1, 1, 5, 5])
    ten_images.annotation(1, [1, 1, 5, 5], 77)
    split = ten_images.convert(bad_annotations="drop").manifest.splits["train"]
    assert split.annotations["unknown_image"] == split.annotations["unknown_category"] == 1
    assert split.annotations["kept"] == 20


def test_areas_that_the_json_lacks_are_taken_from_mask_or_box(coco_set: CocoSet) -> None:
    coco_set.image(1)
    square = [[10, 10, 20, 10, 20, 20, 10, 20]]
    coco_set.annotation(1, [10, 10, 20, 20], area=None, segmentation=square)
    coco_set.annotation(1, [10, 10, 20, 20], area=0)
    coco_set.annotation(1, [10, 10, 20, 20], area=7.5)
    split = coco_set.convert(shards=1).manifest.splits["train"]
    assert coco_set.records()["1"].areas.tolist() == [100, 400, 7.5]
    assert split.objects["no_area"] == 2


def test_an_object_without_an_outline_has_an_empty_mask_of_no_weight(coco_set: CocoSet) -> None:
    coco_set.image(1)
    coco_set.annotation(1, [1, 1, 5, 5], segmentation=[[1, 1, 6, 1, 6, 6]])
    coco_set.annotation(1, [1, 1, 5, 5], segmentation=[])
    coco_set.annotation(1, [1, 1, 5, 5], segmentation=[["a"] * 6])
    split = coco_set.convert(shards=1).manifest.splits["train"]
    image = coco_set.records()["1"]
    assert len(image.masks_png) == 3
    assert image.mask_weights.tolist() == [1, 0, 0]
    assert (split.objects["no_mask"], split.objects["damaged_mask"]) == (1, 1)


def test_no_masks_are_written_where_nothing_has_an_outline(coco_set: CocoSet) -> None:
    coco_set.image(1)
    coco_set.annotation(1, [1, 1, 5, 5], segmentation=[])
    assert not coco_set.convert(shards=1).manifest.splits["train"].has_masks
    assert coco_set.records()["1"].masks_png == ()


def test_sizes_and_classes_are_counted_as_written(coco_set: CocoSet) -> None:
    coco_set.image(1, height=300, width=300)
    for side, category in ((31, 1), (32, 1), (95, 18), (96, 18), (97, 18)):
        coco_set.annotation(1, [0, 0, side, side], category)
    split = coco_set.convert(shards=1).manifest.splits["train"]
    assert split.per_size == {"small": 1, "medium": 2, "large": 2}
    assert split.per_class == {1: 2, 18: 3, 90: 0}


def test_keypoints_stand_in_the_places_of_their_names(coco_set: CocoSet) -> None:
    coco_set.image(1, height=40, width=60)
    coco_set.content["categories"] = [
        {"id": 1, "name": "person", "keypoints": ["nose", "foot"]},
        {"id": 2, "name": "dog", "keypoints": ["tail", "nose"]},
        {"id": 3, "name": "cup"},
    ]
    coco_set.annotation(1, [0, 0, 9, 9], 1, keypoints=[30, 20, 2, 0, 0, 0], num_keypoints=1)
    coco_set.annotation(1, [0, 0, 9, 9], 2, keypoints=[15, 10, 1, 60, 40, 2])
    coco_set.annotation(1, [0, 0, 9, 9], 3)
    coco_set.annotation(1, [0, 0, 9, 9], 2, keypoints=[1, 2])
    split = coco_set.convert(shards=1).manifest.splits["train"]
    image = coco_set.records()["1"]
    assert image.keypoint_names == split.keypoints == ("nose", "foot", "tail")
    assert image.keypoint_visibility.tolist() == [[2, 0, 0], [2, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert image.keypoints[0].tolist() == [[0.5, 0.5], [0, 0], [0, 0]]
    assert image.keypoints[1].tolist() == [[1, 1], [0, 0], [0.25, 0.25]]
    assert image.keypoint_counts.tolist() == [1, 2, 0, 0]
    assert (split.objects["with_keypoints"], split.objects["damaged_keypoints"]) == (2, 1)


def test_keypoints_of_another_json_are_joined_by_annotation_id(coco_set: CocoSet) -> None:
    coco_set.image(1, height=40, width=60)
    coco_set.annotation(1, [0, 0, 9, 9], 1)
    coco_set.annotation(1, [0, 0, 9, 9], 1)
    coco_set.write()
    other = dict(coco_set.content)
    other["categories"] = [{"id": 1, "name": "person", "keypoints": ["nose"]}]
    extra = {"keypoints": [6, 8, 2], "num_keypoints": 1}
    other["annotations"] = [{**coco_set.content["annotations"][1], **extra}]
    path = coco_set.folder / "person_keypoints.json"
    path.write_text(json.dumps(other))
    coco_set.convert(shards=1, keypoint_annotations=path)
    image = coco_set.records()["1"]
    assert image.keypoint_counts.tolist() == [0, 1]
    assert image.keypoints.tolist() == [[[0, 0]], [[np.float32(0.2), np.float32(0.1)]]]
