"""Our 12 numbers are pycocotools' own, in points."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odapi_repro.evaluation.coco_metrics import METRIC_NAMES, coco_metrics


def square(x: float, y: float, width: float, height: float) -> list[list[float]]:
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def random_set(seed: int, *, crowds: bool) -> tuple[dict, list[dict]]:
    """Boxes of all three sizes on four images, and detections near and far from them."""
    rng = np.random.default_rng(seed)
    images = [{"id": i, "width": 300, "height": 300} for i in range(1, 5)]
    annotations, detections = [], []
    for number in range(24):
        x, y = rng.uniform(0, 150, 2).tolist()
        width, height = (float(v) for v in rng.choice([12.0, 50.0, 120.0]) * rng.uniform(0.8, 1, 2))
        image, category = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        common = {"image_id": image, "category_id": category}
        annotations.append(
            {
                **common,
                "id": number + 1,
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": int(crowds and number % 5 == 0),
                "segmentation": square(x, y, width, height),
            }
        )
        for _ in range(int(rng.integers(0, 3))):
            dx, dy = rng.normal(0, width / 12, 2).tolist()
            box = [x + dx, y + dy, width, height]
            detections.append({**common, "bbox": box, "score": float(rng.uniform())})
    categories = [{"id": i, "name": str(i)} for i in (1, 2, 3)]
    return {"images": images, "annotations": annotations, "categories": categories}, detections


def by_pycocotools(folder: Path, truth: dict, detections: list[dict], kind: str) -> list[float]:
    """Through files, as its README does."""
    for name, content in (("truth.json", {**truth, "info": {}}), ("found.json", detections)):
        (folder / name).write_text(json.dumps(content))
    coco = COCO(str(folder / "truth.json"))
    evaluation = COCOeval(coco, coco.loadRes(str(folder / "found.json")), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [float(value) for value in evaluation.stats]


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_twelve_numbers_agree_with_pycocotools(tmp_path, seed: int, crowds: bool) -> None:
    truth, detections = random_set(seed, crowds=crowds)
    expected = by_pycocotools(tmp_path, truth, detections, "bbox")
    metrics = coco_metrics(truth, detections, "bbox")
    assert tuple(metrics) == METRIC_NAMES
    for value, stat in zip(metrics.values(), expected, strict=True):
        assert value == (None if stat == -1 else pytest.approx(100 * stat, abs=1e-10))
    assert 0 < metrics["AP"] < 100


def test_masks_agree_with_pycocotools(tmp_path) -> None:
    truth, detections = random_set(3, crowds=False)
    for detection in detections:
        (outline,) = mask.frPyObjects(square(*detection["bbox"]), 300, 300)
        detection["segmentation"] = {**outline, "counts": outline["counts"].decode()}
        del detection["bbox"]
    expected = by_pycocotools(tmp_path, copy.deepcopy(truth), copy.deepcopy(detections), "segm")
    metrics = coco_metrics(truth, detections, "segm")
    assert metrics["AP"] == pytest.approx(100 * expected[0], abs=1e-10)


def test_crowds_are_neither_found_nor_missed() -> None:
    truth, detections = random_set(0, crowds=True)
    without = {
        **truth, "annotations": [a for a in truth["annotations"] if not a["iscrowd"]]
    }  # fmt: skip
    perfect = [{**a, "score": 0.9} for a in without["annotations"]]
    assert coco_metrics(truth, perfect, "bbox")["AP"] == pytest.approx(100)
    assert coco_metrics(truth, detections, "bbox") != coco_metrics(without, detections, "bbox")


def test_no_detection_at_all_scores_0() -> None:
    truth, _ = random_set(0, crowds=False)
    metrics = coco_metrics(truth, [], "bbox")
    assert metrics["AP"] == 0
    assert metrics["AR100"] == 0


def test_where_there_is_nothing_to_score_there_is_no_number() -> None:
    truth, detections = random_set(0, crowds=False)
    small = {
        **truth, "annotations": [a for a in truth["annotations"] if a["area"] < 32**2]
    }  # fmt: skip
    metrics = coco_metrics(small, detections, "bbox")
    assert metrics["APs"] is not None
    assert metrics["APl"] is None
    assert metrics["ARm"] is None
    empty = {**truth, "annotations": []}
    assert set(coco_metrics(empty, detections, "bbox").values()) == {None}
    assert set(coco_metrics(empty, [], "bbox").values()) == {None}


def test_a_detection_on_an_image_that_is_not_there_is_an_error() -> None:
    truth, detections = random_set(0, crowds=False)
    with pytest.raises(AssertionError):
        coco_metrics(truth, [{**detections[0], "image_id": 99}], "bbox")


def test_what_is_scored_is_left_as_it_was() -> None:
    truth, detections = random_set(1, crowds=True)
    before = copy.deepcopy((truth, detections))
    coco_metrics(truth, detections, "bbox")
    assert (truth, detections) == before
