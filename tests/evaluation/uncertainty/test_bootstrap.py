"""Intervals held against standard errors that are known in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from odapi_repro.errors import UserError
from odapi_repro.evaluation.coco_data import Detections, GroundTruth
from odapi_repro.evaluation.scoring.detection_matching import Matches, match
from odapi_repro.evaluation.scoring.metrics import METRIC_NAMES, score
from odapi_repro.evaluation.uncertainty.bootstrap import (
    difference,
    interval,
    intervals_of,
    resample,
)

_SIDE = 50.0
Found = Sequence[tuple[int, int, int, float]]


def truth_of(objects: Sequence[tuple[int, int]], num_images: int, num_classes: int) -> GroundTruth:
    """One object for each (image, class), side by side where an image has several."""
    images, classes = (np.array(column, np.int32) for column in zip(*objects, strict=True))
    places = np.array([list(images[:i]).count(image) for i, image in enumerate(images)])
    boxes = np.zeros((len(objects), 4))
    boxes[:, 0] = 2 * _SIDE * places
    boxes[:, 2:] = _SIDE
    return GroundTruth(
        image_ids=tuple(range(1, num_images + 1)),
        file_names=("",) * num_images,
        heights=np.full(num_images, 1000),
        widths=np.full(num_images, 1000),
        category_ids=tuple(range(1, num_classes + 1)),
        category_names=tuple(f"class {k}" for k in range(num_classes)),
        ids=np.arange(1, len(objects) + 1),
        images=images,
        categories=classes,
        boxes=boxes,
        areas=boxes[:, 2] * boxes[:, 3],
        is_crowd=np.zeros(len(objects), np.bool_),
    )


def matched(truth: GroundTruth, right: Sequence[int], wrong: Found = ()) -> Matches:
    """Finds the objects named, with scores above 1; `wrong`: image, class, place, score."""
    images = [*truth.images[list(right)], *(image for image, *_ in wrong)]
    classes = [*truth.categories[list(right)], *(category for _, category, *_ in wrong)]
    elsewhere = [[2 * _SIDE * place, 500.0, _SIDE, _SIDE] for *_, place, _ in wrong]
    return match(
        truth,
        Detections(
            images=np.array(images, np.int32),
            categories=np.array(classes, np.int32),
            boxes=np.array([*truth.boxes[list(right)], *elsewhere]).reshape(-1, 4),
            scores=np.array([*(2.0 + 0.001 * i for i in right), *(score for *_, score in wrong)]),
        ),
    )


def test_recall_of_one_object_an_image_has_the_error_of_a_proportion() -> None:
    """Drawing without counting repeats would give 0.76 of it: it keeps 63 % of the images."""
    truth = truth_of([(image, 0) for image in range(200)], 200, 1)
    recall = interval(matched(truth, range(140)), resamples=3000)["AR100"]
    p = 140 / 200
    assert recall.value == pytest.approx(100 * p)
    assert recall.se == pytest.approx(100 * np.sqrt(p * (1 - p) / 199), rel=0.05)
    assert recall.excess is None
    assert recall.low == pytest.approx(100 * p - 1.972 * recall.se, abs=0.01)


def test_precision_of_1_makes_ap_a_proportion_too() -> None:
    truth = truth_of([(image, 0) for image in range(150)], 150, 1)
    ap = interval(matched(truth, range(75)), resamples=3000)["AP50"]
    assert ap.value == pytest.approx(100 * 51 / 101)
    assert ap.se == pytest.approx(100 * np.sqrt(0.25 / 149), rel=0.05)


def test_recall_of_images_with_several_objects_has_the_error_of_a_ratio() -> None:
    """Images are drawn, not objects: Cochran, Sampling Techniques, 1977, eq. 6.4."""
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 9, 120)
    objects = [(image, 0) for image, count in enumerate(counts) for _ in range(count)]
    truth = truth_of(objects, 120, 1)
    chance = rng.beta(1, 1, 120)
    right = np.flatnonzero(rng.random(len(objects)) < chance[truth.images])
    hits = np.bincount(truth.images[right], minlength=120)
    ratio = hits.sum() / counts.sum()
    residuals = hits - ratio * counts
    expected = np.sqrt((residuals**2).sum() / (120 * 119)) / counts.mean()
    of_objects = np.sqrt(ratio * (1 - ratio) / counts.sum())
    recall = interval(matched(truth, right), resamples=3000)["AR100"]
    assert recall.se == pytest.approx(100 * expected, rel=0.05)
    assert recall.se > 1.5 * 100 * of_objects


def test_a_difference_on_the_same_images_has_the_error_of_the_paired_difference() -> None:
    truth = truth_of([(image, 0) for image in range(200)], 200, 1)
    first, second = matched(truth, range(150)), matched(truth, range(10, 140))
    per_image = np.zeros(200)
    per_image[:10] = per_image[140:150] = 1
    paired = difference(first, second, resamples=3000)["AR100"]
    assert paired.value == pytest.approx(10.0)
    assert paired.se == pytest.approx(100 * per_image.std(ddof=1) / np.sqrt(200), rel=0.05)
    alone = [interval(one, resamples=500)["AR100"].se for one in (first, second)]
    assert paired.se < 0.6 * np.hypot(*alone)


def test_a_model_less_itself_is_0_without_doubt() -> None:
    truth = truth_of([(image, image % 3) for image in range(60)], 60, 3)
    own = matched(truth, range(0, 60, 2), [(image, 0, 0, 0.5) for image in range(9)])
    again = matched(truth, range(0, 60, 2), [(image, 0, 0, 0.5) for image in range(9)])
    for result in (difference(own, own), difference(own, again)):
        for name in ("AP", "AP50", "AR100"):
            assert (result[name].value, result[name].low, result[name].high) == (0.0, 0.0, 0.0)
            assert result.per_class[1][name].se == 0.0


def test_the_values_are_coco_s() -> None:
    truth = truth_of([(image, image % 3) for image in range(60)], 60, 3)
    wrong = [(image, image % 3, 0, 2.05) for image in range(40)]
    found = matched(truth, range(45), wrong)
    detections = Detections(
        images=found.images,
        categories=found.categories,
        boxes=np.array(
            [
                truth.boxes[took] if took >= 0 else [0.0, 500.0, _SIDE, _SIDE]
                for took in found.ground_truth[0]
            ]
        ),
        scores=found.scores,
    )
    scores = score(truth, detections, engine="pycocotools")
    result = interval(found, resamples=20)
    for name in METRIC_NAMES:
        assert result[name].metric == name
        assert result[name].value == (
            None if scores.metrics[name] is None else pytest.approx(scores.metrics[name], abs=1e-9)
        )
        for category, metrics in scores.per_class.items():
            assert result.per_class[category][name].value == (
                None if metrics[name] is None else pytest.approx(metrics[name], abs=1e-9)
            )


def test_a_class_that_vanishes_from_a_resample_stays_in_the_mean() -> None:
    """Class 0 always scores 0, class 1, on three of 40 images, always 100: AP is always 50."""
    truth = truth_of(
        [*((image, 0) for image in range(40)), *((image, 1) for image in (3, 9, 27))], 40, 2
    )
    matches = matched(truth, [40, 41, 42])
    drawn = resample(matches, 400)
    assert 0.02 < drawn.vanished[0, 1].mean() < 0.10  # (1 - 3/40)^40 = 0.044
    np.testing.assert_array_equal(drawn.replicates[0].mean(axis=0), 50.0)
    ap = interval(matches, resamples=400)["AP"]
    assert (ap.low, ap.value, ap.high) == (50.0, 50.0, 50.0)
    assert ap.note == "the same in every resample"


def test_a_rare_class_gets_the_error_of_so_many_images() -> None:
    """Of m numbers, one of them 1 and the others 0: s^2 / m with s^2 = 1 / m."""
    for m in (2, 3, 4, 8):
        objects = [*((image, 0) for image in range(100)), *((image, 1) for image in range(m))]
        matches = matched(truth_of(objects, 100, 2), [*range(50), 100])
        recall = interval(matches, resamples=4000).per_class[1]["AR100"]
        assert recall.se == pytest.approx(100 / m, rel=0.05)
        assert recall.df == pytest.approx(m - 1)


def test_a_class_on_one_image_takes_its_spread_from_the_others() -> None:
    objects = [*((image, 0) for image in range(100)), (0, 1)]
    truth = truth_of(objects, 100, 2)
    result = interval(matched(truth, [*range(50), 100]), resamples=3000)
    alone = result.per_class[1]["AR100"]
    assert (alone.value, alone.se, alone.low, alone.high) == (100.0, None, None, None)
    assert "two images" in alone.note
    # Of class 0: s^2 / 100; of class 1: s^2 of an image of class 0, of which there is one.
    variance = 0.25 * 100 / 99
    assert result["AR100"].se == pytest.approx(
        100 * np.sqrt(variance / 100 + variance) / 2, rel=0.05
    )
    assert result["AR100"].note.startswith("1 of 2 classes")


def test_what_ap_exceeds_its_limit_by_is_told() -> None:
    """Scores that say nothing: precision is 1/2 up to recall 1/2, so AP tends to 25.

    Of 80 images it is 29.0, of 40 images 30.6 (means of 2,000 simulated sets).
    """
    excesses = []
    truth = truth_of([(image, 0) for image in range(80)], 80, 1)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        right = rng.random(80) < 0.5
        detections = Detections(
            images=np.arange(80, dtype=np.int32),
            categories=np.zeros(80, np.int32),
            boxes=truth.boxes + np.array([0.0, 500.0, 0.0, 0.0]) * ~right[:, None],
            scores=rng.random(80),
        )
        ap = interval(match(truth, detections), resamples=20)["AP"]
        excesses.append(ap.excess)
        assert ap.value - ap.excess == pytest.approx((ap.limit_low + ap.limit_high) / 2)
        # What halves show is known less well than what the set shows.
        assert ap.limit_high - ap.limit_low > ap.high - ap.low
    assert np.mean(excesses) == pytest.approx(2 * (30.6 - 29.0), abs=1.2)


def test_the_same_seed_gives_the_same_intervals_and_another_one_others() -> None:
    truth = truth_of([(image, 0) for image in range(50)], 50, 1)
    matches = matched(truth, range(25))
    first, again, other = (interval(matches, resamples=50, seed=seed)["AP"] for seed in (1, 1, 2))
    assert first == again
    assert first.se != other.se


def test_a_wider_confidence_is_a_wider_interval_from_the_same_resamples() -> None:
    truth = truth_of([(image, 0) for image in range(50)], 50, 1)
    drawn = resample(matched(truth, range(25)), 200)
    narrow, wide = (
        intervals_of(drawn, confidence=confidence)["AR100"] for confidence in (0.5, 0.99)
    )
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    assert wide.se == narrow.se


def test_where_there_is_nothing_to_score_there_is_no_interval() -> None:
    truth = truth_of([(image, 0) for image in range(20)], 20, 2)
    result = interval(matched(truth, range(10)), resamples=20)
    for nothing in (result["APl"], result.per_class[1]["AP"]):
        assert (nothing.value, nothing.se, nothing.low, nothing.high) == (None,) * 4
        assert nothing.note == "nothing to score"


def test_one_image_says_nothing_of_its_spread() -> None:
    result = interval(matched(truth_of([(0, 0), (0, 0)], 1, 1), [0]), resamples=20)["AR100"]
    assert (result.value, result.se, result.low) == (50.0, None, None)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [({"resamples": 1}, "1 resamples"), ({"confidence": 95.0}, "a confidence of 95")],
)
def test_arguments_that_give_no_interval_are_refused(
    arguments: dict[str, float], found: str
) -> None:
    matches = matched(truth_of([(0, 0), (1, 0)], 2, 1), [0])
    with pytest.raises(UserError, match=found):
        interval(matches, **arguments)  # type: ignore[arg-type]


def test_models_on_different_ground_truth_are_not_compared() -> None:
    first = matched(truth_of([(0, 0), (1, 0)], 2, 1), [0])
    second = matched(truth_of([(0, 0), (1, 0), (1, 0)], 2, 1), [0])
    with pytest.raises(UserError, match="different ground truth"):
        difference(first, second)
