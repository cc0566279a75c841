"""Recall by size, IoU and class is COCO's, and a hand can work it out."""

from __future__ import annotations

import pytest
from small_sets import columns, data_set, random_set, results

from odapi_repro.evaluation.error_analysis.curves import RecallTable, recall_table
from odapi_repro.evaluation.scoring.detection_matching import match
from odapi_repro.evaluation.scoring.metrics import score

A, B = 1, 2
SMALL, MEDIUM, LARGE = (
    [0.0, 0.0, 20.0, 20.0],
    [100.0, 0.0, 50.0, 50.0],
    [100.0, 100.0, 200.0, 200.0],
)


def table(*args: object) -> RecallTable:
    truth, detections = columns(*args)  # type: ignore[arg-type]
    return recall_table(score(truth, detections), match(truth, detections), truth.category_names)


def test_recall_by_size_and_iou_counts_what_is_found_of_that_size() -> None:
    """The large one is found at IoU 0.72, so at five thresholds of ten; the small one is not."""
    recall = table(
        data_set([(1, A, SMALL), (1, A, MEDIUM), (1, A, LARGE)]),
        results([(1, A, MEDIUM, 0.9), (1, A, [100.0, 100.0, 200.0, 144.0], 0.8)]),
    )
    sizes = {one.size: one for one in recall.sizes}
    assert [sizes[name].objects for name in ("all", "small", "medium", "large")] == [3, 1, 1, 1]
    assert sizes["large"].by_iou == (100.0,) * 5 + (0.0,) * 5
    assert [sizes[name].average for name in ("small", "medium", "large")] == [0.0, 100.0, 50.0]
    assert sizes["all"].average == pytest.approx(50.0)
    assert sizes["all"].by_iou[4:6] == (pytest.approx(200 / 3), pytest.approx(100 / 3))
    assert recall.ious == pytest.approx([0.5 + 0.05 * i for i in range(10)])


def test_a_size_or_a_class_without_objects_has_no_recall_and_is_not_in_the_mean() -> None:
    recall = table(data_set([(1, A, LARGE)]), results([(1, A, LARGE, 0.9), (1, B, SMALL, 0.9)]))
    of_a, of_b = recall.classes
    assert (of_a.objects, of_a.at_50, of_a.average) == (1, 100.0, 100.0)
    assert of_a.by_size == (None, None, 100.0)
    assert (of_b.objects, of_b.at_50, of_b.average) == (0, None, None)
    sizes = {one.size: one for one in recall.sizes}
    assert (sizes["small"].average, sizes["small"].by_iou[0]) == (None, None)
    assert sizes["all"].average == 100.0


def test_crowd_regions_are_no_objects() -> None:
    recall = table(data_set([(1, A, LARGE)], crowds=[(1, A, SMALL)]), [])
    assert recall.sizes[0].objects == recall.classes[0].objects == 1


@pytest.mark.parametrize("seed", range(3))
def test_averages_are_coco_s_ar(seed: int) -> None:
    data, found = random_set(seed, crowds=0.1)
    truth, detections = columns(data, found)
    scores = score(truth, detections, engine="pycocotools")
    recall = recall_table(scores, match(truth, detections), truth.category_names)
    for size, metric in zip(recall.sizes, ("AR100", "ARs", "ARm", "ARl"), strict=True):
        assert size.average == pytest.approx(scores.metrics[metric], abs=1e-9)
        known = [value for value in size.by_iou if value is not None]
        assert sum(known) / len(known) == pytest.approx(size.average)
    for k, one in enumerate(recall.classes):
        assert one.average == pytest.approx(scores.per_class[k]["AR100"], abs=1e-9)
        assert one.by_size == pytest.approx(
            [scores.per_class[k][metric] for metric in ("ARs", "ARm", "ARl")], abs=1e-9
        )
