"""Numbers read as a person writes them, and none says more or less than it is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odapi_repro.page.numbers import (
    between,
    count_of,
    joined,
    level_of,
    number,
    percent,
    signed,
    size_of,
)


def test_numbers_have_their_decimals_and_no_minus_before_0() -> None:
    assert [number(value) for value in (1.25, -0.04, math.nan, math.inf, None)] == [
        *("1.2", "0.0", "-", "-", "-")
    ]
    assert number(0.1234, 3) == "0.123"


def test_differences_have_a_sign_unless_they_round_to_0() -> None:
    assert [signed(value) for value in (1.0, -1.0, 0.04, -0.04, None)] == [
        *("+1.0", "-1.0", "0.0", "0.0", "-")
    ]
    assert [size_of(-9.0), size_of(0.04)] == ["9.0", "less than 0.1"]
    assert [between(-1.2, 3.4), between(math.nan, math.nan), between(None, 1.0)] == [
        *("-1.2 to +3.4", "", "")
    ]


def test_a_share_that_is_there_never_reads_as_none_and_one_short_of_all_never_as_all() -> None:
    assert [percent(share) for share in (0, 1, 0.5, 0.0002, 0.99999, math.nan)] == [
        *("0%", "100%", "50.0%", "0.02%", "99.9%", "-")
    ]
    assert [percent(share, 0) for share in (0.5, 0.001, 0.999)] == ["50%", "0.1%", "99%"]
    assert level_of(0.95) == "95 %"


@given(st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(0, 2))
def test_percents_between_none_and_all(share: float, decimals: int) -> None:
    assert 0 < float(percent(share, decimals).rstrip("%")) < 100 or share < 1e-300


@pytest.mark.parametrize(
    ("count", "noun", "plural", "told"),
    [
        (1, "trial", "", "1 trial"),
        (0, "trial", "", "0 trials"),
        (1200, "image", "", "1,200 images"),
        (2, "pass", "passes", "2 passes"),
        (1, "pass", "passes", "1 pass"),
    ],
)
def test_things_are_counted(count: int, noun: str, plural: str, told: str) -> None:
    assert count_of(count, noun, plural) == told


def test_names_in_a_row() -> None:
    assert [joined(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        *("", "a", "a and b", "a, b and c")
    ]
    assert joined("abcde", most=3) == "a, b, c and 2 more"
