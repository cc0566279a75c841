"""Headlines: what a verdict allows to say, on tables of made-up verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from odapi_repro.analysis.effect import Verdict, holm, joint_interval
from odapi_repro.analysis.level_effects import ImageEffect, judge_image_effects
from odapi_repro.features.sweep.sweep_page import sweep_headline
from odapi_repro.page.claims import ends_text, finding, largest, runs_diverged, verdict_counts


@dataclass(frozen=True)
class Row:
    """An effect with a verdict made by hand."""

    delta: float
    verdict: Verdict
    se: float = 1.0
    df: float = math.nan
    low: float = math.nan
    high: float = math.nan
    margin: float = 0.5


def row(delta: float, verdict: Verdict, se: float = 1.0) -> Row:
    return Row(delta, verdict, se, low=delta - 1.96 * se, high=delta + 1.96 * se)


def single(delta: float) -> Row:
    return Row(delta, "single_run", math.nan)


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (row(9.0, "gain"), "x gains 9.0 AP [95 % interval +7.0 to +11.0, n=3]"),
        (row(-9.0, "loss"), "x costs 9.0 AP [95 % interval -11.0 to -7.0, n=3]"),
        (row(0.1, "equivalent", 0.1), "x is equivalent in AP within 0.5 points (n=3)"),
        (
            row(1.0, "unresolved"),
            "x is not resolved: AP changes by +1.0 [95 % interval -1.0 to +3.0, n=3]",
        ),
        (single(-9.0), "x scored 9.0 AP lower (1 run each: no interval)"),
        (single(9.0), "x scored 9.0 AP higher (1 run each: no interval)"),
        (Row(0.0, "unresolved", 0.0), "x: no verdict, all runs score the same"),
    ],
)
def test_each_verdict_has_its_sentence(one: Row, told: str) -> None:
    assert finding(one, "x", "n=3") == told


@pytest.mark.parametrize("contrasts", [1, 40])
@pytest.mark.parametrize(
    "one", [row(1.0, "unresolved"), row(-5.0, "unresolved"), single(4.0), row(0.1, "equivalent")]
)
def test_what_is_not_resolved_neither_gains_nor_costs_nor_has_no_effect(
    one: Row, contrasts: int
) -> None:
    told = finding(one, "x", "n=3", contrasts=contrasts)
    assert not any(word in told for word in ("gains", "costs", "no effect", "nothing"))


def test_the_largest_of_several_is_told_with_an_interval_for_all_of_them() -> None:
    one = row(5.3, "gain", 1.14)
    told = finding(one, "x", "160 images", contrasts=40)
    assert told == (
        "x gains 5.3 AP [95 % interval for all 40 contrasts together +1.6 to +9.0, 160 images]"
    )
    assert "the largest of 4 differences, 1 run each" in finding(
        single(9.0), "x", "n=1", contrasts=4
    )
    unclear = finding(row(1.0, "unresolved"), "x", "n=3", contrasts=4)
    assert unclear.startswith("no gain or loss in AP is resolved among 4 contrasts; the largest")


def test_the_largest_is_one_that_holds_among_all_that_it_was_chosen_from() -> None:
    loud, sure = row(6.0, "gain", 2.5), row(2.0, "gain", 0.2)
    assert largest([loud, sure], "gain", "loss", contrasts=2) is loud
    assert largest([loud, sure], "gain", "loss", contrasts=40) is sure
    assert largest([row(9.0, "unresolved", 0.1)], "gain", contrasts=1) is None
    assert largest([sure], "loss", contrasts=1) is None
    assert largest([], "gain", contrasts=1) is None


def test_the_joint_interval_leaves_out_0_where_holm_rejects_the_surest() -> None:
    for z in (1.9, 2.0, 2.7, 2.8, 2.9, 3.1):
        rows = [row(z, "gain"), *(row(0.3, "unresolved") for _ in range(9))]
        adjusted = holm([2 * 0.5 * math.erfc(abs(one.delta) / math.sqrt(2)) for one in rows])
        low, _ = joint_interval(rows[0], contrasts=10)
        assert (low > 0) == (adjusted[0] <= 0.05)


def test_joint_intervals_of_forty_null_effects_hold_together_at_their_level() -> None:
    """Own intervals do not: the best of forty has one without 0 most of the time."""
    rng = np.random.default_rng(7)
    own = joint = 0
    for _ in range(2000):
        best = row(float(np.abs(rng.normal(0, 1, 40)).max()), "gain")
        own += best.low > 0
        joint += joint_interval(best, contrasts=40)[0] > 0
    assert own > 1600
    assert joint < 130


def test_a_joint_interval_widens_with_the_contrasts_and_needs_an_error() -> None:
    one = row(1.0, "gain")
    assert joint_interval(one, contrasts=1) == pytest.approx((one.low, one.high), abs=1e-3)
    narrow, wide = (joint_interval(one, contrasts=count) for count in (2, 40))
    assert wide[0] < narrow[0] < one.low
    few = joint_interval(replace(one, df=2.0), contrasts=2)
    assert few[0] < narrow[0]
    assert joint_interval(replace(one, se=0.0), contrasts=4) == (1.0, 1.0)
    assert all(map(math.isnan, joint_interval(single(1.0), contrasts=4)))
    assert ends_text(single(1.0), "n=1") == ""


@pytest.mark.parametrize(
    ("diverged", "runs", "told"),
    [
        (1, 1, "its 1 run diverged"),
        (0, 1, "its 1 run did not diverge"),
        (2, 2, "all 2 runs diverged"),
        (0, 2, "none of 2 runs diverged"),
        (2, 3, "2 of 3 runs diverged"),
    ],
)
def test_runs_are_counted(diverged: int, runs: int, told: str) -> None:
    assert runs_diverged(diverged, runs) == told


def test_verdicts_are_counted_in_words() -> None:
    counted = verdict_counts(["loss", "gain", "loss", "unresolved", "single_run"])
    assert counted == "1 gain, 2 losses, 1 unresolved, 1 without an interval"
    assert verdict_counts([]) == ""


def test_a_sweep_of_chance_seldom_names_a_best_level() -> None:
    rng = np.random.default_rng(3)
    named = 0
    for _ in range(200):
        effects = [
            ImageEffect("nms_iou", "0.5", f"{index}", "AP", delta, 1.0, delta - 2, delta + 2, 160)
            for index, delta in enumerate(rng.normal(0, 1, 40))
        ]
        told = sweep_headline(judge_image_effects(effects, margin=0.5))
        if not told.startswith("No gain or loss in AP is resolved among 40 contrasts; the largest"):
            assert (
                "(the largest resolved of 40 contrasts, chosen on the images that score them: 1 "
                in told
            )
            named += 1
    assert 0 < named <= 20


# --- in every combination, a sentence that its rows allow ---


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (single(0.0), "x scored the same AP (1 run each: no interval)"),
        (single(-0.04), "x scored less than 0.1 AP lower (1 run each: no interval)"),
        (Row(3.0, "unresolved", 0.0), "x scored 3.0 AP higher (no interval)"),
        (Row(3.0, "unresolved", 0.0, low=3.0, high=3.0), "x scored 3.0 AP higher (no interval)"),
        (Row(-3.0, "unresolved", math.nan), "x scored 3.0 AP lower (no interval)"),
        (row(0.04, "gain", 0.01), "x gains less than 0.1 AP [95 % interval 0.0 to +0.1, n=3]"),
    ],
)
def test_no_difference_no_interval_and_small_ones_are_said_as_they_are(one: Row, told: str) -> None:
    assert finding(one, "x", "n=3") == told


def effect(delta: float, se: float, level: str = "1") -> ImageEffect:
    ends = (delta - 1.96 * se, delta + 1.96 * se)
    return ImageEffect("f", "0", level, "AP", delta, se, *ends, 160)


def test_a_resolved_level_is_not_called_the_largest_where_another_differs_more() -> None:
    rows = judge_image_effects([effect(5.0, 4.0), effect(1.0, 0.1, "2")], margin=0.5)
    told = sweep_headline(rows)
    assert told.startswith("f 2 instead of 0 gains 1.0 AP ")
    assert told.endswith(
        "(the largest resolved of 2 contrasts, chosen on the images that score them: 1 gain, 1"
        " unresolved)."
    )


def test_effects_without_an_error_do_not_widen_what_is_resolved_beside_them() -> None:
    rows = judge_image_effects(
        [effect(1.0, 0.49), *(effect(9.0, math.nan, str(k)) for k in range(2, 40))], margin=0.5
    )
    assert rows[0].verdict == "gain"
    assert sweep_headline(rows).startswith("f 1 instead of 0 gains 1.0 AP ")


@pytest.mark.parametrize("seed", range(200))
def test_the_headline_of_a_sweep_of_any_effects_says_no_more_than_its_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = [
        effect(
            float(rng.choice([0.0, 0.02, rng.normal(0, 3), math.nan], p=[0.2, 0.1, 0.6, 0.1])),
            float(rng.choice([0.0, math.nan, 0.01, 1.0, 5.0])),
            str(k),
        )
        for k in range(int(rng.integers(0, 6)))
    ]
    rows = judge_image_effects(drawn, margin=0.5)
    told = sweep_headline(rows)
    verdicts = {one.verdict for one in rows if not math.isnan(one.delta)}
    assert "nan" not in told
    assert " 0.0 AP" not in told
    for word, verdict in (
        (" gains ", "gain"),
        (" costs ", "loss"),
        ("equivalent in", "equivalent"),
    ):
        assert word not in told or verdict in verdicts
    if "no gain or loss in AP is resolved" in told.lower():
        assert not verdicts & {"gain", "loss"}
    if not verdicts:
        assert told.startswith("Nothing to compare yet")
