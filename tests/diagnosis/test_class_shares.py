"""Classes that are frequent in one split and rare in the other; small samples are not accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from columns_of_boxes import split_of

from odapi_repro.datasets.census import Census, SplitCensus
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.record_rule import RecordSubject
from odapi_repro.diagnosis.rules.records.record_classes import ClassBalance, ClassShares

NAMES = {1: "car", 2: "bus", 3: "bicycle"}


def drawn(split: str, images: int, shares: tuple[float, ...], *, seed: int = 0) -> SplitCensus:
    """Four objects an image, of classes drawn by their shares."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), 4)
    label = rng.choice(len(shares), len(image), p=shares) + 1
    boxes = np.tile(np.array([0.1, 0.1, 0.5, 0.5]), (len(image), 1))
    made = split_of(np.array([(480, 640)] * images), image, boxes)
    return replace(made, split=split, boxes=replace(made.boxes, label=label))


def told(*splits: SplitCensus, rule: type = ClassShares) -> list[Finding]:
    return list(rule().check(RecordSubject(Census(splits, LabelMap(NAMES)))))


@pytest.mark.parametrize(
    ("train", "evaluation", "severity"),
    [
        ((0.6, 0.3, 0.1), (0.6, 0.3, 0.1), None),
        ((0.6, 0.3, 0.1), (0.5, 0.3, 0.2), None),
        ((0.6, 0.35, 0.05), (0.4, 0.35, 0.25), "info"),
        ((0.6, 0.39, 0.01), (0.4, 0.3, 0.3), "warning"),
        ((0.4, 0.3, 0.3), (0.6, 0.39, 0.01), "warning"),
        ((0.6, 0.4, 0.0), (0.4, 0.4, 0.2), "warning"),
        ((0.4, 0.4, 0.2), (0.6, 0.4, 0.0), "warning"),
    ],
)
def test_a_share_that_is_much_larger_in_one_split_is_told(train, evaluation, severity) -> None:
    found = told(drawn("train", 400, train), drawn("eval", 100, evaluation, seed=1))
    assert [one.severity.word for one in found] == ([severity] if severity else [])
    assert all("bicycle" in one.found and one.count == 1 for one in found)


def test_the_numbers_are_those_of_the_records() -> None:
    (one,) = told(drawn("train", 400, (0.6, 0.4, 0.0)), drawn("eval", 100, (0.5, 0.0, 0.5)))
    assert one.count == 2
    assert "bicycle none of training" in one.found
    assert "bus 6" in one.found
    assert "none of evaluation" in one.found
    assert "AP 0" in one.why


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("images", [3, 10, 40])
def test_splits_drawn_alike_are_not_accused_however_small(images: int, seed: int) -> None:
    shares = (0.9, 0.08, 0.02)
    splits = drawn("train", 500, shares, seed=seed), drawn("eval", images, shares, seed=99 - seed)
    assert told(*splits) == []


def test_a_class_in_few_images_of_a_small_sample_is_not_told() -> None:
    assert told(drawn("train", 10, (0.5, 0.5, 0.0)), drawn("eval", 3, (0.4, 0.4, 0.2))) == []


def test_a_class_that_is_absent_is_told_once() -> None:
    splits = drawn("train", 400, (0.6, 0.4, 0.0)), drawn("eval", 100, (0.4, 0.4, 0.2))
    assert len(told(*splits)) == 1
    assert told(*splits, rule=ClassBalance) == []
    alone = told(splits[0], rule=ClassBalance)
    assert [one.cause for one in alone] == ["classes_without_objects"]


def test_ids_that_the_label_map_does_not_hold_are_left_to_other_rules() -> None:
    train = drawn("train", 400, (0.6, 0.4, 0.0))
    shifted = replace(train, boxes=replace(train.boxes, label=train.boxes.label - 1))
    assert told(shifted, drawn("eval", 100, (0.6, 0.4, 0.0))) == []
    assert told(train) == []
