"""Detections under another label map: which permutation fits, and no word of it elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from small_sets import NAMES, Json, columns, data_set, results, scene

from odapi_repro.evaluation.error_analysis.match_outcomes import outcomes_at, overlaps_of
from odapi_repro.evaluation.error_analysis.permuted_classes import (
    OneClass,
    PermutedClasses,
    one_class,
    permuted_classes,
)
from odapi_repro.evaluation.scoring.detection_matching import match

BY_NAME = [sorted(NAMES).index(name) + 1 for name in NAMES]
PERMUTATIONS: dict[str, list[int]] = {
    "every id is 1 too high": [2, 3, 4, 5, 6, 7],
    "every id is 2 too low": [1, 2, 1, 2, 3, 4],
    "the classes are shifted by 1 place, round the end of the list": [2, 3, 4, 5, 6, 1],
    "the classes are shifted by 2 places, round the end of the list": [5, 6, 1, 2, 3, 4],
    "the detections' ids number the classes by the alphabet": BY_NAME,
    "the detections' ids number the classes from the end": [6, 5, 4, 3, 2, 1],
    "classes are exchanged in pairs": [2, 1, 4, 3, 6, 5],
    "": [4, 6, 1, 5, 3, 2],
}


def found_in(data: Json, rows: list[Json], kind: str = "bbox") -> PermutedClasses | None:
    truth, detections = columns(data, rows)
    matches = match(truth, detections, kind)
    outcomes = outcomes_at(matches, overlaps_of(truth, detections, matches, kind))
    return permuted_classes(truth, detections, outcomes, kind)


def called(rows: list[Json], ids: list[int]) -> list[Json]:
    """The detections with the id at place k - 1 for the class k."""
    return [{**row, "category_id": ids[row["category_id"] - 1]} for row in rows]


def objects_found(data: Json, rows: list[Json]) -> int:
    truth, detections = columns(data, rows)
    matches = match(truth, detections)
    return int((matches.matched[0, 0] & ~matches.ignored[0, 0]).sum())


@pytest.mark.parametrize("pattern", PERMUTATIONS)
def test_the_permutation_is_named_with_what_would_be_found(pattern: str) -> None:
    data, rows = scene(1, images=12)
    ids = PERMUTATIONS[pattern]
    if max(ids) > 6:
        data["categories"].append({"id": 7, "name": "seventh"})
    if ids == [1, 2, 1, 2, 3, 4]:  # no object is of the first two classes
        data["annotations"] = [one for one in data["annotations"] if one["category_id"] > 2]
        rows = [one for one in rows if one["category_id"] > 2]
    permuted = found_in(data, called(rows, ids))
    assert permuted is not None
    assert permuted.pattern == pattern
    assert permuted.found == objects_found(data, called(rows, ids))
    assert permuted.found_then == objects_found(data, rows)
    assert permuted.objects == len(data["annotations"])
    names = [one["name"] for one in data["categories"]]
    moved = {one.truth: one.detected for one in permuted.moved}
    assert moved.items() <= {names[k]: names[id_ - 1] for k, id_ in enumerate(ids)}.items()
    counts = [one.count for one in permuted.moved]
    assert counts == sorted(counts, reverse=True)


def many(of: int = 8) -> tuple[Json, list[Json]]:
    """Six classes with 8 objects each, all found."""
    places = [[100.0 * k, 100.0 * n % 400, 50.0, 50.0] for n in range(of) for k in range(6)]
    objects = [(1 + at // 6, 1 + at % 6, place) for at, place in enumerate(places)]
    return (
        data_set(objects, images=of, classes=6),
        results([(*one, 0.9 - 0.01 * at) for at, one in enumerate(objects)]),
    )


def test_two_classes_that_are_exchanged_are_told_among_others_that_are_right() -> None:
    data, rows = many()
    permuted = found_in(data, called(rows, [1, 2, 4, 3, 5, 6]))
    assert permuted is not None
    assert permuted.pattern == "two classes are exchanged"
    assert {(one.truth, one.detected, one.count) for one in permuted.moved} == {
        ("c", "d", 8), ("d", "c", 8),
    }  # fmt: skip
    assert (permuted.found, permuted.found_then, permuted.objects) == (32, 48, 48)


def test_masks_are_judged_by_masks() -> None:
    data, rows = many()
    for one in (*data["annotations"], *rows):
        x, y, width, height = one["bbox"]
        one["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    permuted = found_in(data, called(rows, [2, 3, 4, 5, 6, 1]), "segm")
    assert permuted is not None
    assert permuted.found_then > permuted.found == 0


@pytest.mark.parametrize(
    "ids",
    [
        [1, 2, 3, 4, 5, 6],  # right
        [1, 1, 1, 1, 1, 1],  # all are taken for one class
        [1, 2, 4, 4, 5, 6],  # one class is taken for another, which keeps its own
        [1, 2, 4, 5, 5, 6],
        [2, 2, 4, 4, 6, 6],  # classes are merged in pairs
    ],
)
def test_classes_that_are_merged_are_no_permutation(ids: list[int]) -> None:
    data, rows = many()
    assert found_in(data, called(rows, ids)) is None


@pytest.mark.parametrize("seed", range(20))
def test_classes_at_random_and_few_objects_are_no_permutation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for classes in (2, 6):
        data, rows = scene(seed, images=6, names=NAMES[:classes])
        assert found_in(data, rows) is None
        drawn = [{**one, "category_id": int(rng.integers(1, classes + 1))} for one in rows]
        assert found_in(data, drawn) is None
        wrong = [{**one, "category_id": 1 + one["category_id"] % classes} for one in rows]
        few = {**data, "annotations": data["annotations"][:4]}
        assert found_in(few, wrong) is None
    assert found_in(data, []) is None


def test_a_detector_that_mistakes_a_class_half_of_the_time_is_confused_and_not_permuted() -> None:
    data, rows = many(20)
    for number, one in enumerate(rows):
        if number % 2:
            one["category_id"] = 1 + one["category_id"] % 6
    assert found_in(data, rows) is None


def only_class_in(data: Json, rows: list[Json]) -> OneClass | None:
    truth, detections = columns(data, rows)
    matches = match(truth, detections, "bbox")
    return one_class(
        truth, detections, outcomes_at(matches, overlaps_of(truth, detections, matches, "bbox"))
    )


def test_detections_of_one_class_on_objects_of_several_are_told() -> None:
    data, rows = many()
    assert only_class_in(data, called(rows, [2] * 6)) == OneClass("b", 48, 40)


def test_a_detector_of_one_class_that_is_right_and_few_objects_are_let_be() -> None:
    data, rows = many()
    assert only_class_in(data, rows) is None
    assert only_class_in(data, [one for one in rows if one["category_id"] == 2]) is None
    assert only_class_in(data, called(rows, [2] * 6)[:5]) is None
    others = [one for one in rows if one["category_id"] == 1]
    assert only_class_in(data, called(others, [2] * 6)) is None, "permuted, perhaps"
    assert only_class_in(data, []) is None
