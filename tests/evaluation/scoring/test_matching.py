"""Matching held against `COCOeval.evaluateImg`, detection by detection."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import detections_of, ground_truth_of
from odapi_repro.evaluation.scoring import detection_matching as near_pairs
from odapi_repro.evaluation.scoring.detection_matching import Matches, match


def random_set(
    seed: int, *, num_images: int = 6, num_classes: int = 3, crowded: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A data set full of corners: crowds, ties of score and of overlap, every size of area."""
    rng = np.random.default_rng(seed)
    image_ids = rng.permutation(100)[:num_images].tolist()
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in image_ids:
        for category in range(1, num_classes + 1):
            places = rng.integers(0, 6, (rng.integers(0, 5), 2)) * 30.0
            sides = rng.choice([8.0, 30.0, 60.0, 96.0, 130.0], (len(places), 2))
            for place, side in zip(places, sides, strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": [*place.tolist(), *side.tolist()],
                        "area": float(side.prod() * rng.choice([0.5, 1.0])),
                        "iscrowd": int(rng.random() < 0.2),
                    }
                )
                for _ in range(rng.integers(0, 60 if crowded else 4)):
                    shift = rng.choice([0.0, 0.0, 2.0, 6.0], 2)
                    results.append(
                        {
                            "image_id": image_id,
                            "category_id": category,
                            "bbox": [*(place + shift).tolist(), *side.tolist()],
                            "score": float(rng.integers(0, 8)) / 8,
                        }
                    )
            for _ in range(rng.integers(0, 3)):
                results.append(
                    {
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": [*rng.integers(0, 150, 4).astype(float).tolist()],
                        "score": float(rng.random()),
                    }
                )
    rng.shuffle(results)
    data = {
        "images": [{"id": id_, "height": 320, "width": 320} for id_ in image_ids],
        "categories": [{"id": id_ + 1, "name": f"class {id_}"} for id_ in range(num_classes)],
        "annotations": annotations,
    }
    return data, results


def with_masks(
    data: dict[str, Any], results: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The boxes' ellipses as masks: polygons, plain and compressed run lengths in turn."""
    rows, columns = np.mgrid[:320, :320]
    as_coco = []
    for number, item in enumerate([*data["annotations"], *results]):
        x, y, width, height = item["bbox"]
        inside = ((columns - x - width / 2) / max(width / 2, 1)) ** 2 + (
            (rows - y - height / 2) / max(height / 2, 1)
        ) ** 2 <= 1
        packed = mask_api.encode(np.asfortranarray(inside.astype(np.uint8)))
        masked = {**item, "segmentation": {**packed, "counts": packed["counts"].decode()}}
        if "id" in item:
            masked["area"] = float(mask_api.area(packed))
            if number % 3 == 0:
                corners = [x, y, x + width, y, x + width, y + height, x, y + height]
                masked["segmentation"] = [corners]
            elif number % 3 == 1:
                flat = inside.ravel(order="F")
                edges = np.flatnonzero(np.diff(flat, prepend=False, append=False))
                counts = np.diff([0, *edges.tolist(), flat.size]).tolist()
                masked["segmentation"] = {"size": [320, 320], "counts": counts}
        else:
            del masked["bbox"]
        as_coco.append(masked)
    count = len(data["annotations"])
    return {**data, "annotations": as_coco[:count]}, as_coco[count:]


def coco_eval(data: dict[str, Any], results: list[dict[str, Any]], iou_type: str) -> COCOeval:
    """pycocotools' evaluation, up to where every image has been looked at."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {**data, "annotations": [dict(item) for item in data["annotations"]]}
        truth.createIndex()
        if results:
            found = truth.loadRes([dict(item) for item in results])
        else:
            found = COCO()
            found.dataset = {**data, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, iou_type)
        evaluation.evaluate()
    return evaluation


def assert_like_coco(data: dict[str, Any], results: list[dict[str, Any]], iou_type: str) -> Matches:
    evaluation = coco_eval(data, results, iou_type)
    truth = ground_truth_of(data)
    matches = match(truth, detections_of(results, truth), iou_type)
    images = sorted(truth.image_ids)
    seen = np.zeros(matches.num, bool)
    truths_seen = 0
    for number, coco in enumerate(evaluation.evalImgs):
        if coco is None:
            continue
        image = truth.image_ids.index(coco["image_id"])
        category = truth.category_ids.index(coco["category_id"])
        area = number // len(images) % 4
        here = (matches.images == image) & (matches.categories == category)
        seen |= here
        assert (matches.rows[here] + 1).tolist() == coco["dtIds"]
        assert matches.scores[here].tolist() == coco["dtScores"]
        assert matches.ranks[here].tolist() == list(range(here.sum()))
        np.testing.assert_array_equal(matches.matched[area][:, here], coco["dtMatches"] > 0)
        np.testing.assert_array_equal(matches.ignored[area][:, here], coco["dtIgnore"])
        if area == 0:
            ids = np.append(truth.ids, 0)
            np.testing.assert_array_equal(ids[matches.ground_truth[:, here]], coco["dtMatches"])
        there = (matches.truth_images == image) & (matches.truth_categories == category)
        ignored = dict(zip(coco["gtIds"], coco["gtIgnore"], strict=True))
        assert matches.truth_ignored[area][there].tolist() == [
            bool(ignored[id_]) for id_ in truth.ids[there]
        ]
        truths_seen += int(there.sum())
    assert seen.all()
    assert truths_seen == 4 * truth.num_annotations
    return matches


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_boxes_are_matched_as_coco_matches_them(seed: int) -> None:
    assert_like_coco(*random_set(seed), "bbox")


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_masks_are_matched_as_coco_matches_them(seed: int) -> None:
    assert_like_coco(*with_masks(*random_set(seed, num_images=2)), "segm")


def test_no_more_than_100_detections_of_an_image_and_class_are_kept() -> None:
    data, results = random_set(3, num_images=4, crowded=True)
    matches = assert_like_coco(data, results, "bbox")
    assert matches.num < len(results)
    assert matches.ranks.max() == 99


def test_a_set_cut_into_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_pairs, "_PAIRS_AT_ONCE", 7)
    assert_like_coco(*random_set(11), "bbox")
    assert_like_coco(*with_masks(*random_set(12, num_images=2)), "segm")


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_no_detections_at_all(iou_type: str) -> None:
    data, _ = with_masks(*random_set(5, num_images=2))
    truth = ground_truth_of(data)
    matches = match(truth, detections_of([], truth), iou_type)
    assert matches.num == 0
    assert matches.matched.shape == (4, 10, 0)
    assert matches.truth_ignored.shape == (4, truth.num_annotations)


def test_detections_where_nothing_is_to_be_found() -> None:
    data, results = random_set(7)
    assert_like_coco({**data, "annotations": []}, results, "bbox")


def test_an_annotation_of_id_0_is_never_found() -> None:
    data, results = random_set(8)
    for item in data["annotations"]:
        item["id"] -= 1
    assert_like_coco(data, results, "bbox")


def test_ids_that_are_text_go_in_the_order_of_text() -> None:
    data, results = random_set(9, num_images=5)
    for item in data["images"]:
        item["id"] = f"image{item['id']}"
    for item in [*data["annotations"], *results]:
        item["image_id"] = f"image{item['image_id']}"
    assert_like_coco(data, results, "bbox")


def test_masks_are_asked_for_where_there_are_none() -> None:
    data, results = random_set(1)
    truth = ground_truth_of(data)
    with pytest.raises(DataError, match="masks are asked for"):
        match(truth, detections_of(results, truth), "segm")
