"""Verdicts on differences whose uncertainty is the images' alone."""

from __future__ import annotations

import dataclasses
import math

import pytest

from odapi_repro.analysis.effect import effects_frame
from odapi_repro.analysis.level_effects import (
    EFFECTS_COLUMNS,
    IMAGE_EFFECTS_COLUMNS,
    ImageEffect,
    judge_image_effects,
)


def effect(delta: float, se: float, *, level: str = "b", metric: str = "AP") -> ImageEffect:
    half = 1.96 * se
    return ImageEffect("nms_iou", "a", level, metric, delta, se, delta - half, delta + half, 160)


def verdict_of(delta: float, se: float, margin: float = 0.5) -> str:
    (row,) = judge_image_effects([effect(delta, se)], margin=margin)
    return row.verdict


@pytest.mark.parametrize(
    ("delta", "se", "verdict"),
    [
        (1.0, 0.4, "gain"),
        (-1.0, 0.4, "loss"),
        (0.1, 0.1, "equivalent"),
        (0.6, 0.4, "unresolved"),
        # The whole effect within the margin and resolved: it is a gain, however small.
        (0.2, 0.05, "gain"),
        (0.0, 0.0, "equivalent"),
        (math.nan, math.nan, "unresolved"),
    ],
)
def test_verdicts(delta: float, se: float, verdict: str) -> None:
    assert verdict_of(delta, se) == verdict


def test_the_quantile_is_the_normal_ones() -> None:
    assert verdict_of(1.9601, 1.0) == "gain"
    assert verdict_of(1.9599, 1.0) == "unresolved"
    # Two one-sided tests at 5 %: 0.5 - 1.645 se.
    assert verdict_of(0.0, 0.5 / 1.645) == "equivalent"
    assert verdict_of(0.0, 0.5 / 1.644) == "unresolved"


def test_with_few_degrees_of_freedom_the_quantile_is_students() -> None:
    few = dataclasses.replace(effect(2.5, 1.0), df=4.0)
    many = dataclasses.replace(effect(2.5, 1.0), df=400.0)
    # The 97.5 % quantile is 2.776 with 4 degrees of freedom and 1.966 with 400.
    verdicts = [judge_image_effects([row], margin=0.5)[0].verdict for row in (few, many)]
    assert verdicts == ["unresolved", "gain"]


def test_several_contrasts_of_a_metric_are_judged_together_and_metrics_apart() -> None:
    alone = judge_image_effects([effect(2.1, 1.0)], margin=0.5)
    many = [effect(2.1, 1.0), *(effect(0.1, 1.0, level=str(i)) for i in range(9))]
    assert alone[0].verdict == "gain"
    assert judge_image_effects(many, margin=0.5)[0].verdict == "unresolved"
    apart = [
        effect(2.1, 1.0),
        *(effect(0.1, 1.0, level=str(i), metric="AP50") for i in range(9)),
    ]
    assert judge_image_effects(apart, margin=0.5)[0].verdict == "gain"


def test_what_cannot_be_scored_does_not_make_the_others_harder() -> None:
    rows = [effect(2.1, 1.0), *(effect(math.nan, math.nan, level=str(i)) for i in range(9))]
    judged = judge_image_effects(rows, margin=0.5)
    assert [row.verdict for row in judged] == ["gain", *["unresolved"] * 9]
    assert [row.method for row in judged] == ["image_bootstrap", *["no_data"] * 9]


def test_the_first_columns_are_those_of_every_effects_csv() -> None:
    assert IMAGE_EFFECTS_COLUMNS[:10] == EFFECTS_COLUMNS[:10]
    table = effects_frame(
        judge_image_effects([effect(1.0, 0.4)], margin=0.5), IMAGE_EFFECTS_COLUMNS
    )
    assert tuple(table.columns) == IMAGE_EFFECTS_COLUMNS
    assert table.loc[0, "verdict"] == "gain"
