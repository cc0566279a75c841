"""Precision against recall on COCO's points, and the score at which F1 is best."""

from __future__ import annotations

import numpy as np
import pytest
from small_sets import columns, data_set, random_set, results

from odapi_repro.evaluation.error_analysis.curves import best_f1, precision_recall
from odapi_repro.evaluation.scoring.detection_matching import match
from odapi_repro.evaluation.scoring.metrics import score

A, B = 1, 2
BOXES = [[50.0 * i, 100.0, 40.0, 40.0] for i in range(6)]
NOWHERE = [300.0, 300.0, 20.0, 20.0]


def test_a_curve_holds_the_best_precision_at_each_recall_or_a_higher_one() -> None:
    """Right, wrong, right of two objects: precision 1 up to recall 1/2, then 2/3."""
    truth, detections = columns(
        data_set([(1, A, BOXES[0]), (1, A, BOXES[1])]),
        results([(1, A, BOXES[0], 0.9), (1, A, NOWHERE, 0.8), (1, A, BOXES[1], 0.7)]),
    )
    mean, of_a = precision_recall(score(truth, detections), truth.category_names)
    assert (mean.name, of_a.name) == ("", "a")
    expected = np.where(np.arange(101) <= 50, 1.0, 2 / 3)
    assert of_a.at_50 == pytest.approx(expected)
    assert mean.at_50 == pytest.approx(expected)


def test_the_mean_of_each_curve_is_the_metric_of_its_name() -> None:
    truth, detections = columns(*random_set(1, crowds=0.1))
    scores = score(truth, detections)
    mean, *classes = precision_recall(scores, truth.category_names)
    for curve, metric in ((mean.mean, "AP"), (mean.at_50, "AP50"), (mean.at_75, "AP75")):
        assert 100 * curve.mean() == pytest.approx(scores.metrics[metric], abs=1e-9)
    for k, curve in enumerate(classes):
        assert 100 * curve.mean.mean() == pytest.approx(scores.per_class[k]["AP"], abs=1e-9)


def test_a_class_without_objects_has_no_curve_and_is_not_in_the_mean() -> None:
    truth, detections = columns(
        data_set([(1, A, BOXES[0])]), results([(1, A, BOXES[0], 0.9), (1, B, NOWHERE, 0.9)])
    )
    curves = precision_recall(score(truth, detections), truth.category_names)
    assert [curve.name for curve in curves] == ["", "a"]
    assert curves[0].mean == pytest.approx(np.ones(101))


def test_nothing_to_find_gives_no_curves() -> None:
    truth, detections = columns(data_set([], crowds=[(1, A, NOWHERE)]), [])
    assert precision_recall(score(truth, detections), truth.category_names) == []


def test_best_f1_is_the_cut_at_which_precision_and_recall_balance_best() -> None:
    """Four objects; right right wrong wrong right: F1 2*2/(2+4), at the second, beats 2*3/(5+4)."""
    found = [(BOXES[0], 0.9), (BOXES[1], 0.8), (NOWHERE, 0.7), (NOWHERE, 0.6), (BOXES[2], 0.5)]
    truth, detections = columns(
        data_set([(1, A, box) for box in BOXES[:4]]),
        results([(1, A, box, value) for box, value in found]),
    )
    of_a, of_b = best_f1(match(truth, detections), truth.category_names)
    assert (of_a.score, of_a.f1) == (0.8, pytest.approx(2 / 3))
    assert (of_a.precision, of_a.recall) == (1.0, 0.5)
    assert (of_b.name, of_b.score, of_b.f1) == ("b", None, None)


def test_a_cut_cannot_part_detections_of_equal_score() -> None:
    found = [(BOXES[0], 0.9), (BOXES[1], 0.5), (NOWHERE, 0.5), (NOWHERE, 0.5), (NOWHERE, 0.5)]
    truth, detections = columns(
        data_set([(1, A, box) for box in BOXES[:2]]),
        results([(1, A, box, value) for box, value in found]),
    )
    best = best_f1(match(truth, detections), truth.category_names)[0]
    # With the ties F1 is 2*2/(5+2); without them 2*1/(1+2).
    assert (best.score, best.f1) == (0.9, pytest.approx(2 / 3))


def test_detections_in_crowds_neither_help_nor_harm_f1() -> None:
    truth, detections = columns(
        data_set([(1, A, BOXES[0])], crowds=[(1, A, NOWHERE)]),
        results([(1, A, BOXES[0], 0.5), (1, A, NOWHERE, 0.9)]),
    )
    assert best_f1(match(truth, detections), truth.category_names)[0].f1 == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_best_f1_is_the_best_of_all_cuts(seed: int) -> None:
    """Against every cut tried one by one."""
    truth, detections = columns(*random_set(seed))
    matches = match(truth, detections)
    right = matches.matched[0, 0] & ~matches.ignored[0, 0]
    for k, best in enumerate(best_f1(matches, truth.category_names)):
        of_class = matches.categories == k
        objects = int((truth.categories == k).sum())
        tried = [
            2 * (right & kept).sum() / (kept.sum() + objects)
            for cut in np.unique(matches.scores[of_class])
            for kept in [of_class & (matches.scores >= cut)]
        ]
        assert best.f1 == pytest.approx(max(tried))
