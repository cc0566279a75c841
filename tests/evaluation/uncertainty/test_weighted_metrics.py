"""Weighted samples held against pycocotools on data sets in which images really are repeated."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odapi_repro.evaluation.coco_data import detections_of, ground_truth_of
from odapi_repro.evaluation.scoring.detection_matching import RECALL_THRESHOLDS, match
from odapi_repro.evaluation.scoring.metrics import score
from odapi_repro.evaluation.uncertainty import weighted_metrics as module
from odapi_repro.evaluation.uncertainty import weighted_metrics as weighted_precision
from odapi_repro.evaluation.uncertainty.weighted_metrics import images_with_truth, weighted_metrics

_IDS = (30, 4, 21, 17, 8)
_SIDES = (12.0, 40.0, 120.0)


def random_set(seed: int, *, levels: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Few score levels, so that right and wrong ones tie within and across images; crowds."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in _IDS:
        for category in (1, 2):
            for place in range(rng.integers(0, 4)):
                side = float(rng.choice(_SIDES))
                box = [150.0 * place, 150.0 * category, side, side]
                where = {"image_id": image_id, "category_id": category}
                annotations.append(
                    {
                        **where,
                        "id": len(annotations) + 1,
                        "bbox": box,
                        "area": side * side,
                        "iscrowd": int(rng.random() < 0.1),
                    }
                )
                for _ in range(rng.integers(0, 4)):
                    shift = side * float(rng.choice([0.0, 0.05, 0.15, 2.0]))
                    results.append(
                        {
                            **where,
                            "bbox": [box[0] + shift, *box[1:]],
                            "score": float(rng.integers(1, levels)) / levels,
                        }
                    )
    data = {
        "images": [{"id": id_, "height": 600, "width": 600} for id_ in _IDS],
        "categories": [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}],
        "annotations": annotations,
    }
    return data, results


def repeated(
    data: dict[str, Any], results: Sequence[dict[str, Any]], weights: Sequence[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The data set with image i in it weights[i] times, copies next to each other in id."""
    copies = {
        id_: [100 * id_ + copy for copy in range(weight)]
        for id_, weight in zip(_IDS, weights, strict=True)
    }
    annotations = [
        {**item, "image_id": id_}
        for item in data["annotations"]
        for id_ in copies[item["image_id"]]
    ]
    for number, item in enumerate(annotations, start=1):
        item["id"] = number
    images = [{**item, "id": id_} for item in data["images"] for id_ in copies[item["id"]]]
    return (
        {**data, "images": images, "annotations": annotations},
        [{**item, "image_id": id_} for item in results for id_ in copies[item["image_id"]]],
    )


def coco_stats(data: dict[str, Any], results: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        found = COCO()
        found.dataset = {**data, "annotations": []}
        found.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results) if results else found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.where(evaluation.stats == -1, np.nan, 100 * evaluation.stats)


def mean_over_classes(metrics: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    counted = ~np.isnan(metrics)
    sums = np.where(counted, metrics, 0.0).sum(axis=1)
    return np.where(counted.any(axis=1), sums / np.maximum(counted.sum(axis=1), 1), np.nan)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([3, 6, 1000]),
    weights=st.lists(st.integers(0, 4), min_size=5, max_size=5).filter(any),
)
def test_a_weight_counts_as_that_many_copies(seed: int, levels: int, weights: list[int]) -> None:
    data, results = random_set(seed, levels=levels)
    truth = ground_truth_of(data)
    metrics = weighted_metrics(
        match(truth, detections_of(results, truth)), np.array([weights, [1] * 5])
    )
    ours = mean_over_classes(metrics)
    np.testing.assert_allclose(
        ours[:, 0], coco_stats(*repeated(data, results, weights)), rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(
        ours[:, 1], coco_stats(*repeated(data, results, [1] * 5)), rtol=0, atol=1e-9
    )


def test_a_right_and_a_wrong_one_that_tie_on_one_image_take_turns() -> None:
    """Two copies of (wrong, right) are wrong, right, wrong, right: precision 1/2 at both recalls.

    Taken as blocks they would be wrong, wrong, right, right: 1/3, then 1/2, raised to 1/2 by the
    envelope; of (right, wrong) the turns give 1 and 2/3, the blocks 1 and 1.
    """
    data = {
        "images": [{"id": 1, "height": 100, "width": 100}],
        "categories": [{"id": 1, "name": "one"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81}
        ],
    }
    results = [
        {"image_id": 1, "category_id": 1, "bbox": [place, 0, 9, 9], "score": 0.5}
        for place in (0, 50)
    ]
    truth = ground_truth_of(data)
    matches = match(truth, detections_of(results, truth))
    metrics = weighted_metrics(matches, np.array([[2]]))
    assert metrics[1, 0, 0] == pytest.approx(100 * (51 * 1 + 50 * 2 / 3) / 101)


def test_weights_of_one_give_the_scores_of_each_class() -> None:
    data, results = random_set(5, levels=6)
    truth = ground_truth_of(data)
    detections = detections_of(results, truth)
    scores = score(truth, detections, engine="pycocotools")
    metrics = weighted_metrics(match(truth, detections), np.ones((1, 5), int))
    for category, names in scores.per_class.items():
        expected = [np.nan if value is None else value for value in names.values()]
        np.testing.assert_allclose(metrics[:, category, 0], expected, rtol=0, atol=1e-9)


def test_a_class_without_ground_truth_in_a_sample_is_nan_there() -> None:
    data, results = random_set(5, levels=6)
    truth = ground_truth_of(data)
    matches = match(truth, detections_of(results, truth))
    without = np.ones((1, 5), int)
    without[0, truth.images[truth.categories == 0]] = 0
    metrics = weighted_metrics(matches, without)
    assert np.isnan(metrics[:, 0, 0]).all()
    assert not np.isnan(metrics[:3, 1, 0]).any()


def test_sizes_may_be_left_out() -> None:
    data, results = random_set(6, levels=6)
    truth = ground_truth_of(data)
    matches = match(truth, detections_of(results, truth))
    weights = np.array([[1, 2, 0, 1, 1]])
    whole = weighted_metrics(matches, weights)
    part = weighted_metrics(matches, weights, sizes=False)
    assert np.isnan(part[3:6]).all()
    np.testing.assert_array_equal(part[[0, 1, 2, 6, 7, 8, 9]], whole[[0, 1, 2, 6, 7, 8, 9]])


def test_samples_beyond_one_block_are_scored_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    data, results = random_set(7, levels=6)
    truth = ground_truth_of(data)
    matches = match(truth, detections_of(results, truth))
    weights = np.random.default_rng(0).integers(0, 3, (150, 5))
    whole = weighted_metrics(matches, weights)
    monkeypatch.setattr(module, "_WEIGHTS_AT_ONCE", 1)
    np.testing.assert_array_equal(weighted_metrics(matches, weights), whole)


def test_recall_reaches_the_thresholds_that_coco_says_it_reaches() -> None:
    for total in range(1, 301):
        found = np.arange(total + 1.0)
        expected = np.searchsorted(RECALL_THRESHOLDS, found / total, side="right") - 1
        reached = weighted_precision._percent_reached(
            100.0 * found[:, None], np.array([float(total)])
        )
        np.testing.assert_array_equal(reached[:, 0], expected, err_msg=f"of {total}")


def test_images_with_ground_truth_that_counts_are_counted_by_area_and_class() -> None:
    data, results = random_set(8, levels=6)
    truth = ground_truth_of(data)
    counts = images_with_truth(match(truth, detections_of(results, truth)))
    for category in (0, 1):
        chosen = (truth.categories == category) & ~truth.is_crowd
        assert counts[0, category] == len(set(truth.images[chosen].tolist()))
        small = chosen & (truth.areas < 32**2)
        assert counts[1, category] == len(set(truth.images[small].tolist()))
