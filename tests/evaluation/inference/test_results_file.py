"""Detections on disk: COCO's format, in the order of the images whatever order they come in."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odapi_repro.evaluation.inference.passes import ResultsFile, image_results, to_pixels

OUTPUTS: dict[str, Any] = {
    "detection_boxes": np.array([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1], [0, 0, 0, 0]], np.float32),
    "detection_scores": np.array([0.9, 0.4, 0.0], np.float32),
    "detection_classes": np.array([2, 0, 0], np.int32),
    "num_detections": np.int32(2),
}


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        results: list[dict[str, Any]] = json.load(file)
    return results


def test_boxes_become_pixels_in_float32_as_the_od_api_leaves_them() -> None:
    boxes = np.array([[0.1, 0.2, 0.5, 0.6]], np.float32)
    left, top = np.float32(300) * np.float32(0.2), np.float32(200) * np.float32(0.1)
    right, bottom = np.float32(300) * np.float32(0.6), np.float32(200) * np.float32(0.5)
    assert to_pixels(boxes, 200, 300).tolist() == [
        [float(left), float(top), float(right - left), float(bottom - top)]
    ]


def test_padding_is_left_out_and_classes_count_from_one() -> None:
    results = image_results("000042", (100, 100), OUTPUTS)
    assert [(r["image_id"], r["category_id"]) for r in results] == [("000042", 3), ("000042", 1)]
    assert results[1]["bbox"] == [0, 0, 100, 100]
    assert results[0]["score"] == pytest.approx(0.9)


def test_classes_that_the_label_map_has_not_are_dropped() -> None:
    results = image_results(7, (100, 100), OUTPUTS, category_ids=(1, 2))
    assert [r["category_id"] for r in results] == [1]


def test_masks_stay_with_their_boxes() -> None:
    masks = np.zeros((3, 5, 5), np.float32)
    masks[1] = 1.0
    results = image_results(7, (10, 10), {**OUTPUTS, "detection_masks": masks}, (1,))
    from pycocotools import mask as mask_api

    assert [mask_api.area(r["segmentation"]) for r in results] == [100]


def test_images_are_written_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "results.json.gz"
    with ResultsFile(path) as file:
        for position in (2, 0, 3, 1):
            file.add(position, [{"image_id": position}] * (position % 2 + 1))
    assert [r["image_id"] for r in read(path)] == [0, 1, 1, 2, 3, 3]


def test_images_without_detections_leave_no_hole(tmp_path: Path) -> None:
    path = tmp_path / "results.json.gz"
    with ResultsFile(path) as file:
        file.add(0, [])
        file.add(1, [{"image_id": 1}])
        file.add(2, [])
    assert read(path) == [{"image_id": 1}]


def test_nothing_found_is_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "results.json.gz"
    with ResultsFile(path) as file:
        file.add(0, [])
    assert read(path) == []


def test_the_same_results_make_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.json.gz", "b.json.gz")]
    for path, order in zip(paths, ((0, 1), (1, 0)), strict=True):
        with ResultsFile(path) as file:
            for position in order:
                file.add(position, [{"image_id": position, "score": 0.1}])
    assert paths[0].read_bytes() == paths[1].read_bytes()
