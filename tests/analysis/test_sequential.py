"""Looks and power: against published tables and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from odapi_repro.analysis.intervals import minimum_detectable_effect, smallest_effect
from odapi_repro.features.explain.designs.racing import look_levels


@pytest.mark.parametrize(
    ("shape", "criticals"),
    [
        # Jennison and Turnbull 2000, tables 2.3 (O'Brien and Fleming), 2.9 (Wang and Tsiatis,
        # shape 1/4) and 2.1 (Pocock), two-sided 0.05: the critical value at the last look.
        (0.0, {1: 1.960, 2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040}),
        (0.25, {1: 1.960, 2: 2.038, 3: 2.083, 4: 2.113, 5: 2.136}),
        (0.5, {1: 1.960, 2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413}),
    ],
)
def test_levels_are_those_of_the_published_tables(
    shape: float, criticals: dict[int, float]
) -> None:
    for looks, critical in criticals.items():
        levels = look_levels(range(1, looks + 1), shape=shape)
        for look, level in enumerate(levels, start=1):
            expected = critical * (look / looks) ** (shape - 0.5)
            assert stats.norm.isf(level / 2) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("shape", [0.0, 0.5])
def test_looks_that_are_not_evenly_spaced_hold_the_level_too(shape: float) -> None:
    levels = np.array(look_levels((3, 5, 8), shape=shape))
    sums = np.cumsum(np.random.default_rng(5).standard_normal((100_000, 8)), axis=1)
    z = sums[:, [2, 4, 7]] / np.sqrt([3, 5, 8])
    crossed = (np.abs(z) > stats.norm.isf(levels / 2)).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 100_000))


def test_looks_have_to_increase() -> None:
    for wrong in ((), (3, 3), (5, 3), (0, 2)):
        with pytest.raises(ValueError, match="must increase"):
            look_levels(wrong)


def test_a_main_effect_of_a_factorial_is_seen_as_a_difference_of_its_halves() -> None:
    # Eight cells of two replicates are two groups of eight, but for the degrees of freedom.
    factorial = smallest_effect([0.25, -0.25] * 4, sd=1.0, n=2)
    critical = stats.t.ppf(0.975, 8)
    se = math.sqrt(8 * 0.25**2 / 2)
    power = 1 - stats.nct.cdf(critical, 8, factorial / se)
    assert power == pytest.approx(0.8, abs=1e-3)
    halves = minimum_detectable_effect(1.0, 8)
    assert halves < factorial < 1.1 * halves


def test_more_comparisons_and_more_noise_see_less() -> None:
    one = smallest_effect([-1, 1], sd=1.0, n=3)
    assert smallest_effect([-1, 1], sd=1.0, n=3, comparisons=4) > one
    assert smallest_effect([-1, 1], sd=2.0, n=3) == pytest.approx(2 * one)
    assert math.isinf(smallest_effect([-1, 1], sd=1.0, n=1))
