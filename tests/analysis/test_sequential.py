"""Looks and power: against published tables and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from odapi_repro.analysis.power import minimum_detectable_effect, smallest_effect
from odapi_repro.analysis.sequential import pocock_level


@pytest.mark.parametrize(
    ("looks", "alpha", "level"),
    [(1, 0.05, 0.05), (2, 0.05, 0.0294), (3, 0.05, 0.0221), (4, 0.05, 0.0182), (5, 0.05, 0.0158)],
)
def test_levels_are_those_of_pococks_table(looks: int, alpha: float, level: float) -> None:
    # Pocock 1977, table 1.
    assert pocock_level(range(1, looks + 1), alpha=alpha) == pytest.approx(level, abs=6e-5)


def test_looks_that_are_not_evenly_spaced_hold_the_level_too() -> None:
    level = pocock_level((3, 5, 8))
    sums = np.cumsum(np.random.default_rng(5).standard_normal((200_000, 8)), axis=1)
    z = sums[:, [2, 4, 7]] / np.sqrt([3, 5, 8])
    crossed = (np.abs(z) > stats.norm.isf(level / 2)).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 200_000))


def test_looks_have_to_increase() -> None:
    for wrong in ((), (3, 3), (5, 3), (0, 2)):
        with pytest.raises(ValueError, match="must increase"):
            pocock_level(wrong)


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
