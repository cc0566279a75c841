"""Error types: what a wrong detection is, and what mending brings, by hand and against others."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from small_sets import Box, Json, columns, data_set, random_set, results

from odapi_repro.evaluation.error_analysis.error_types import ErrorTypes, error_types
from odapi_repro.evaluation.error_analysis.match_outcomes import (
    Outcome,
    Outcomes,
    outcomes_at,
    overlaps_of,
)
from odapi_repro.evaluation.scoring.detection_matching import match

A, B = 1, 2
HERE: Box = [100, 100, 100, 100]
HALF_OFF: Box = [150, 100, 100, 100]  # IoU 1/3 with HERE
NEARLY: Box = [100, 100, 100, 90]  # IoU 0.9 with HERE
ELSEWHERE: Box = [300, 300, 50, 50]


def broken_down(data: Json, found: list[Json]) -> ErrorTypes:
    truth, detections = columns(data, found)
    matches = match(truth, detections)
    overlaps = overlaps_of(truth, detections, matches, "bbox")
    return error_types(matches, overlaps, truth.category_names)


def outcomes(data: Json, found: list[Json], threshold: float = 0.5) -> Outcomes:
    truth, detections = columns(data, found)
    matches = match(truth, detections)
    return outcomes_at(matches, overlaps_of(truth, detections, matches, "bbox"), threshold)


def kinds(data: Json, found: list[Json]) -> list[Outcome]:
    """In the order of `found`."""
    of = outcomes(data, found)
    return [Outcome(of.kinds[i]) for i in np.argsort(of.matches.rows)]


def gains(errors: ErrorTypes) -> dict[str, float]:
    return {one.kind: one.gain_ap50 for one in (*errors.types, *errors.special)}


def counts(errors: ErrorTypes) -> dict[str, int]:
    return {one.kind: one.count for one in (*errors.types, *errors.special)}


# --- What a detection is ---


@pytest.mark.parametrize(
    ("category", "box", "kind"),
    [
        (A, NEARLY, Outcome.FOUND),
        (A, HALF_OFF, Outcome.LOCALISATION),
        (B, NEARLY, Outcome.CLASSIFICATION),
        (B, HALF_OFF, Outcome.BOTH),
        (A, ELSEWHERE, Outcome.BACKGROUND),
        (B, ELSEWHERE, Outcome.BACKGROUND),
    ],
)
def test_a_detection_is_of_the_kind_of_its_class_and_overlap(
    category: int, box: Box, kind: Outcome
) -> None:
    data = data_set([(1, A, HERE), (1, B, [0, 0, 20, 20])])
    assert kinds(data, results([(1, category, box, 0.5)])) == [kind]


def test_the_second_detection_of_an_object_is_a_duplicate_however_good_it_is() -> None:
    found = results([(1, A, HERE, 0.5), (1, A, NEARLY, 0.9)])
    assert kinds(data_set([(1, A, HERE)]), found) == [Outcome.DUPLICATE, Outcome.FOUND]


def test_a_detection_between_two_kinds_is_of_the_first_in_the_order_of_tide() -> None:
    """Localisation before classification, classification before duplicate (tidecv)."""
    data = data_set([(1, A, HERE), (1, B, HALF_OFF)])
    assert kinds(data, results([(1, A, HALF_OFF, 0.5)])) == [Outcome.LOCALISATION]
    data = data_set([(1, A, HERE), (1, B, NEARLY)])
    found = results([(1, A, HERE, 0.9), (1, A, NEARLY, 0.5)])
    assert kinds(data, found) == [Outcome.FOUND, Outcome.CLASSIFICATION]


def test_an_overlap_of_exactly_the_threshold_is_enough_as_in_coco() -> None:
    half: Box = [100, 100, 100, 50]
    data = data_set([(1, A, HERE)])
    assert kinds(data, results([(1, A, half, 0.5)])) == [Outcome.FOUND]
    found = results([(1, A, HERE, 0.9), (1, A, half, 0.5)])
    assert kinds(data, found) == [Outcome.FOUND, Outcome.DUPLICATE]


def test_a_detection_in_a_crowd_region_is_no_error_and_a_crowd_is_no_object() -> None:
    data = data_set([(1, A, [0, 0, 20, 20])], crowds=[(1, A, HERE)])
    inside: Box = [110, 110, 30, 30]
    a_bit_inside: Box = [190, 100, 50, 50]  # a fifth of it
    found = results([(1, A, inside, 0.9), (1, A, a_bit_inside, 0.8), (1, B, inside, 0.7)])
    assert kinds(data, found) == [Outcome.IGNORED, Outcome.BACKGROUND, Outcome.BACKGROUND]
    assert counts(broken_down(data, found))["false_positive"] == 2


def test_a_stricter_threshold_turns_what_was_found_into_a_localisation_error() -> None:
    data, found = data_set([(1, A, HERE)]), results([(1, A, [100, 100, 100, 70], 0.5)])
    of = [outcomes(data, found, threshold) for threshold in (0.7, 0.75)]
    assert [Outcome(one.kinds[0]) for one in of] == [Outcome.FOUND, Outcome.LOCALISATION]
    with pytest.raises(ValueError, match="IoU thresholds"):
        outcomes(data, found, 0.33)


def test_an_object_counts_as_missed_only_if_no_near_detection_could_be_mended() -> None:
    data = data_set([(1, A, HERE), (1, A, ELSEWHERE)])
    errors = broken_down(data, results([(1, B, NEARLY, 0.5)]))
    assert counts(errors)["missed"] == 1
    assert counts(errors)["false_negative"] == 2
    assert (errors.objects, errors.found) == (2, 0)


# --- What mending brings, worked out by hand on COCO's 101 recalls ---


def test_a_false_alarm_above_the_right_detection_costs_half_the_precision() -> None:
    """One of two objects is found, at rank 2: precision 1/2 up to recall 1/2, 51 of 101 points."""
    data = data_set([(1, A, HERE), (1, A, [0, 0, 50, 50])])
    errors = broken_down(data, results([(1, A, NEARLY, 0.8), (1, A, ELSEWHERE, 0.9)]))
    assert errors.ap50 == pytest.approx(100 * 51 / 101 / 2)
    gained = gains(errors)
    assert gained["background"] == pytest.approx(100 * 51 / 101 / 2)
    assert gained["false_positive"] == pytest.approx(100 * 51 / 101 / 2)
    # The object that is missed no longer counts: precision 1/2 up to recall 1.
    assert gained["missed"] == pytest.approx(50 - 100 * 51 / 101 / 2)
    assert gained["false_negative"] == pytest.approx(50 - 100 * 51 / 101 / 2)
    assert [gained[k] for k in ("classification", "localisation", "both", "duplicate")] == [0] * 4


def test_of_several_boxes_too_far_off_the_most_confident_is_mended_and_the_others_go() -> None:
    data = data_set([(1, A, HERE)])
    further: Box = [160, 100, 100, 100]
    errors = broken_down(data, results([(1, A, HALF_OFF, 0.4), (1, A, further, 0.9)]))
    assert (errors.ap50, gains(errors)["localisation"]) == (0.0, pytest.approx(100))


def test_a_mended_class_counts_for_the_class_of_the_object() -> None:
    data = data_set([(1, A, HERE), (1, B, ELSEWHERE)])
    errors = broken_down(data, results([(1, B, NEARLY, 0.9), (1, B, ELSEWHERE, 0.8)]))
    # B: its object is at rank 2 behind the wrong one; A: nothing.
    assert errors.ap50 == pytest.approx(25)
    assert gains(errors)["classification"] == pytest.approx(75)


def test_a_wrong_class_on_an_object_that_is_found_anyway_only_goes_away() -> None:
    data = data_set([(1, A, HERE), (1, B, ELSEWHERE)])
    found = results([(1, A, HERE, 0.9), (1, B, NEARLY, 0.8), (1, B, ELSEWHERE, 0.7)])
    errors = broken_down(data, found)
    assert errors.ap50 == pytest.approx(75)
    assert gains(errors)["classification"] == pytest.approx(25)


def test_a_class_of_which_nothing_is_right_gains_nothing_from_its_missed_objects() -> None:
    errors = broken_down(data_set([(1, A, HERE)]), [])
    assert (errors.ap50, gains(errors)["missed"], counts(errors)["missed"]) == (0.0, 0.0, 1)


def test_the_gain_in_ap_is_the_mean_over_thresholds_each_with_its_own_errors() -> None:
    """IoU 0.7: found at five of ten thresholds (0.5 to 0.7), off at the others."""
    errors = broken_down(data_set([(1, A, HERE)]), results([(1, A, [100, 100, 100, 70], 0.5)]))
    (localisation,) = (one for one in errors.types if one.kind == "localisation")
    assert (errors.ap, errors.ap50) == (pytest.approx(50), pytest.approx(100))
    assert (localisation.gain_ap, localisation.gain_ap50) == (pytest.approx(50), 0.0)


def test_without_objects_there_is_no_score_and_nothing_to_gain() -> None:
    errors = broken_down(data_set([], crowds=[(1, A, HERE)]), results([(1, A, ELSEWHERE, 0.5)]))
    assert (errors.ap50, errors.ap, errors.objects) == (None, None, 0)
    assert set(gains(errors).values()) == {0.0}


def test_counts_at_best_f1_leave_out_what_lies_below_each_class_s_own_cut() -> None:
    data = data_set([(1, A, HERE), (1, B, ELSEWHERE)])
    found = results(
        [
            (1, A, HERE, 0.3),
            (1, A, [0, 0, 9, 9], 0.2),
            (1, B, ELSEWHERE, 0.9),
            (1, B, [0, 0, 9, 9], 0.5),
            (1, B, HERE, 0.95),
        ]
    )
    errors = broken_down(data, found)
    background = next(one for one in errors.types if one.kind == "background")
    assert (background.count, background.count_at_best_f1) == (2, 0)
    assert (errors.found, errors.found_at_best_f1) == (2, 2)
    assert [(c.truth, c.detected, c.count) for c in errors.confusions] == [("a", "b", 1)]


# --- Against others ---


def test_a_class_that_loses_all_its_objects_stays_in_the_mean_as_the_docs_say(
    repository: Path,
) -> None:
    data = data_set([(1, A, HERE), (1, A, ELSEWHERE), (1, B, [0, 0, 50, 50])])
    gained = gains(broken_down(data, results([(1, A, HERE, 0.9)])))
    assert gained["missed"] == gained["false_negative"] == pytest.approx(50 - 25.2475, abs=1e-4)
    text = " ".join((repository / "docs" / "evaluate.md").read_text().split())
    assert f"`missed` gains {gained['missed']:.2f} points here and 74.75 there" in text


def test_detections_of_equal_score_keep_their_order_when_mended_as_the_docs_say(
    repository: Path,
) -> None:
    """Right, wrong, mended: precision 1 up to recall 1/2, 2/3 up to 1, at 101 recalls."""
    data = data_set([(1, A, HERE), (1, A, [0, 0, 50, 50])])
    found = results([(1, A, HERE, 0.5), (1, A, ELSEWHERE, 0.5), (1, A, [25, 0, 50, 50], 0.5)])
    gained = gains(broken_down(data, found))["localisation"]
    assert gained == pytest.approx(100 * (51 + 50 * 2 / 3 - 51) / 101)
    text = " ".join((repository / "docs" / "evaluate.md").read_text().split())
    assert f"`localisation` gains {gained:.1f} points here and 16.2 there" in text


@pytest.mark.parametrize("seed", range(4))
def test_the_ap_that_is_mended_is_pycocotools_ap(seed: int) -> None:
    data, found = random_set(seed, crowds=0.15)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {**data, "info": {}}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    errors = broken_down(*random_set(seed, crowds=0.15))
    assert errors.ap == pytest.approx(100 * evaluation.stats[0], abs=1e-9)
    assert errors.ap50 == pytest.approx(100 * evaluation.stats[1], abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_without_crowds_the_types_are_those_of_hotcoco(seed: int, tmp_path: Any) -> None:
    """With crowds they differ: hotcoco takes a crowd that is overlapped for an object."""
    data, found = random_set(seed)
    truth, detections = columns(data, found)
    coco = hotcoco.COCO(truth.to_coco())
    evaluation = hotcoco.COCOeval(coco, coco.load_res(detections.to_coco(truth)), "bbox")
    evaluation.evaluate()
    theirs = evaluation.tide_errors()
    errors = broken_down(data, found)
    names = {
        "Cls": "classification",
        "Loc": "localisation",
        "Both": "both",
        "Dupe": "duplicate",
        "Bkg": "background",
        "Miss": "missed",
        "FP": "false_positive",
        "FN": "false_negative",
    }
    assert {names[k]: v for k, v in theirs["counts"].items()} == {
        k: v for k, v in counts(errors).items() if not k.startswith("false")
    }
    for key, gain in theirs["delta_ap"].items():
        assert gains(errors)[names[key]] == pytest.approx(100 * gain, abs=1e-9), key
