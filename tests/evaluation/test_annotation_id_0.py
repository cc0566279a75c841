"""COCO never counts the annotation with the id 0 as found, and so does all that is made of it.

`COCOeval.evaluateImg` notes a match by the annotation's id, and `accumulate` reads 0 as none.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from small_sets import Json, data_set, random_set, results

from odapi_repro.evaluation.breakdown import Breakdown, Resampling, break_down
from odapi_repro.evaluation.coco_data import detections_of, ground_truth_of
from odapi_repro.evaluation.scoring.metrics import ENGINES, METRIC_NAMES

CocoSet = tuple[Json, list[Json]]


def numbered_from(first: int, coco_set: CocoSet) -> CocoSet:
    data, found = coco_set
    annotations = [{**one, "id": id_} for id_, one in enumerate(data["annotations"], start=first)]
    return {**data, "annotations": annotations}, found


def by_pycocotools(coco_set: CocoSet) -> Any:
    data, found = coco_set
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(one) for one in found]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def broken_down(coco_set: CocoSet, engine: str) -> Breakdown:
    data, found = coco_set
    truth = ground_truth_of(data)
    resampling = Resampling(resamples=2)
    return break_down(
        truth, detections_of(found, truth), "bbox", engine=engine, resampling=resampling
    )


@pytest.fixture(scope="module")
def coco_set() -> CocoSet:
    """The object of id 0 is the only one of its class that is found, and by one detection alone."""
    data, found = random_set(4)
    first = data["annotations"][0]
    perfect = {name: first[name] for name in ("image_id", "category_id", "bbox")}
    of_others = [one for one in found if one["category_id"] != first["category_id"]]
    return data, [*of_others, {**perfect, "score": 0.99}]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("first", [0, 1])
def test_scores_intervals_errors_and_recall_are_those_of_pycocotools(
    coco_set: CocoSet, first: int, engine: str
) -> None:
    numbered = numbered_from(first, coco_set)
    theirs = by_pycocotools(numbered)
    expected = np.where(theirs.stats == -1, np.nan, 100 * theirs.stats)
    ours = broken_down(numbered, engine)
    assert ours.intervals is not None
    for values in (
        [ours.scores.metrics[name] for name in METRIC_NAMES],
        [ours.intervals[name].value for name in METRIC_NAMES],
    ):
        np.testing.assert_allclose(np.array(values, float), expected, rtol=0, atol=1e-9)
    assert ours.errors.ap == pytest.approx(expected[0], abs=1e-9)
    assert ours.errors.ap50 == pytest.approx(expected[1], abs=1e-9)
    assert ours.recall.sizes[0].average == pytest.approx(expected[8], abs=1e-9)
    # What COCO counts as found at IoU 0.5: matches that are noted and not ignored.
    every_size = [
        one
        for one in theirs.evalImgs
        if one is not None and one["aRng"] == theirs.params.areaRng[0]
    ]
    right = sum(int((~one["dtIgnore"][0] & (one["dtMatches"][0] > 0)).sum()) for one in every_size)
    assert ours.errors.found == right


def test_it_is_an_object_that_is_missed_and_its_detection_is_wrong(coco_set: CocoSet) -> None:
    seldom, always = (
        broken_down(numbered_from(first, coco_set), ENGINES[0]).errors for first in (0, 1)
    )
    assert seldom.objects == always.objects
    assert seldom.found == always.found - 1
    assert seldom.ap is not None
    assert always.ap is not None
    assert seldom.ap < always.ap
    wrong, right = (
        {one.kind: one.count for one in (*errors.types, *errors.special)}
        for errors in (seldom, always)
    )
    changed = {kind: wrong[kind] - right[kind] for kind in wrong if wrong[kind] != right[kind]}
    assert changed == {"missed": 1, "duplicate": 1, "false_positive": 1, "false_negative": 1}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crowd_of_id_0_is_ignored_at_the_overlaps_at_which_it_is_taken(engine: str) -> None:
    box = [33.0, 32.0, 97.0, 8.0]
    data = data_set([(2, 1, box)], crowds=[(1, 1, [31.0, 4.0, 60.0, 16.0])], images=2)
    data["annotations"].reverse()  # the crowd first, so that it gets the id 0
    # The better one overlaps the crowd by half of its own area: it is wrong above that.
    found = results([(2, 1, box, 0.1), (1, 1, [16.0, 8.0, 31.0, 4.0], 0.5)])
    numbered = numbered_from(0, (data, found))
    theirs = 100 * by_pycocotools(numbered).stats
    ours = broken_down(numbered, engine)
    assert ours.intervals is not None
    assert 0 < theirs[0] < theirs[1]
    for name, expected in zip(METRIC_NAMES[:3], theirs, strict=False):
        assert ours.scores.metrics[name] == pytest.approx(expected, abs=1e-9)
        assert ours.intervals[name].value == pytest.approx(expected, abs=1e-9)
