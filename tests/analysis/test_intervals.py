"""Intervals and tests agree with scipy's, with Cohen's table and with Holm's procedure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from odapi_repro.analysis.effect import holm
from odapi_repro.analysis.intervals import (
    bartlett_p,
    equivalence_p,
    linear_contrast,
    minimum_detectable_effect,
    pool_variance,
)

A, B = (26.1, 27.9, 26.8, 27.2), (18.2, 17.1, 19.9)


def test_two_cells_with_their_own_variances_are_welchs_t_test() -> None:
    ours = linear_contrast([-1, 1], [A, B])
    theirs = stats.ttest_ind(B, A, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert ours.df == pytest.approx(theirs.df)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_two_cells_with_a_pooled_variance_are_students_t_test() -> None:
    pooled = pool_variance([A, B])
    assert pooled is not None
    ours = linear_contrast([-1, 1], [A, B], pooled=pooled)
    theirs = stats.ttest_ind(B, A)
    interval = theirs.confidence_interval(0.95)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_the_pooling_test_is_bartletts() -> None:
    samples = [A, B, (1.0, 4.0, 2.0)]
    assert bartlett_p(samples) == pytest.approx(stats.bartlett(*samples).pvalue)


def test_cells_of_different_spread_are_not_pooled() -> None:
    assert pool_variance([(1, 2, 3, 2), (0, 40, 90, 20)]) is None


def test_a_cell_in_which_all_replicates_are_equal_is_not_alike() -> None:
    assert pool_variance([A, B, (0.0, 0.0, 0.0)]) is None


def test_equivalence_is_the_larger_of_two_one_sided_tests() -> None:
    a, b, margin = np.array([20.1, 20.4, 19.9, 20.2]), np.array([20.3, 20.0, 20.2, 20.5]), 0.5
    ours = equivalence_p(linear_contrast([-1, 1], [tuple(a), tuple(b)]), margin)
    below = stats.ttest_ind(b + margin, a, equal_var=False, alternative="greater").pvalue
    above = stats.ttest_ind(b - margin, a, equal_var=False, alternative="less").pvalue
    assert ours == pytest.approx(max(below, above))
    assert ours < 0.05


def test_one_replicate_has_a_difference_and_no_interval() -> None:
    ours = linear_contrast([-1, 1], [A, (20.0,)])
    assert ours.delta == pytest.approx(-7.0)
    assert ours.method == "single_run"
    assert math.isnan(ours.low)
    assert math.isnan(ours.p_value)


def test_replicates_without_spread_give_no_interval() -> None:
    ours = linear_contrast([-1, 1], [(0.0, 0.0), (0.0, 0.0)])
    assert ours.method == "no_spread"
    assert math.isnan(ours.high)
    assert math.isnan(equivalence_p(ours, 0.5))


@pytest.mark.parametrize("sds", [(1, 1, 1, 1), (1, 2.5)])
def test_intervals_cover_the_true_difference(sds: tuple[float, ...]) -> None:
    rng = np.random.default_rng(7)
    covered, runs = 0, 600
    for _ in range(runs):
        samples = [tuple(rng.normal(0, sd, 3)) for sd in sds]
        ours = linear_contrast([-1, 1], [samples[0], samples[-1]], pooled=pool_variance(samples))
        covered += ours.low <= 0 <= ours.high
    assert 0.92 <= covered / runs <= 0.98  # 3 standard errors of 600 runs


def test_holm_on_a_worked_example() -> None:
    # By hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, then 0.04 raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_does_not_count_what_was_not_tested() -> None:
    adjusted = holm([0.02, math.nan, 0.04])
    assert adjusted[0] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_p_value_and_bonferronis(p_values: list[float]) -> None:
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(p_values)) + 1e-12


@pytest.mark.parametrize(("n", "d"), [(26, 0.80), (64, 0.50), (17, 1.00)])
def test_detectable_effects_are_those_of_cohens_table(n: int, d: float) -> None:
    # Cohen 1988, table 2.4.1: two-sided alpha 0.05, power 0.80.
    assert minimum_detectable_effect(1.0, n) == pytest.approx(d, abs=0.012)


def test_one_replicate_detects_nothing() -> None:
    assert math.isinf(minimum_detectable_effect(1.0, 1))
