"""Numbers and texts of a JSON, however large or odd."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from odapi_repro.datasets.json_numbers import (
    LARGEST_SIDE,
    are_within,
    float_of,
    is_text,
    is_whole,
    json_fault,
    side_of,
    writable,
)


@pytest.mark.parametrize(
    ("value", "side"),
    [
        (1, 1), (480.0, 480), (LARGEST_SIDE, LARGEST_SIDE), (LARGEST_SIDE + 1, None), (0, None),
        (-3, None), (0.5, None), (480.5, None), (math.nan, None), (math.inf, None), (1e308, None),
        (10**400, None), (True, None), ("480", None), (None, None), ([480], None),
    ],
)  # fmt: skip
def test_a_side_is_a_whole_number_of_pixels(value: Any, side: int | None) -> None:
    assert side_of(value) == side


def test_a_number_beyond_all_floats_is_infinite() -> None:
    assert float_of(10**400) == math.inf
    assert float_of(-(10**400)) == -math.inf
    assert float_of(7) == 7
    assert math.isnan(float_of(True))
    assert math.isnan(float_of("7"))


def test_ids_are_of_64_bits() -> None:
    assert is_whole(-(2**63))
    assert is_whole(2**63 - 1)
    assert not any(map(is_whole, (2**63, -(2**63) - 1, 7.0, True, "7", None)))


def test_a_nan_among_numbers_is_found_wherever_it_stands() -> None:
    for place in range(4):
        values: list[Any] = [1.0, 2, -3.0, 4]
        assert are_within(values, 4)
        values[place] = math.nan
        assert not are_within(values, 4)
    assert not are_within([1, 10**400, 0.5], 1e9)
    assert not are_within([1, True], 4)
    assert not are_within([1, [2]], 4)


def test_half_of_a_surrogate_pair_is_no_text() -> None:
    assert is_text("café\x1b")
    assert not is_text("\ud800")
    assert not is_text(7)
    assert writable("café") == "café"
    assert writable("a\ud800b") == "a\\ud800b"


def test_what_json_does_not_read_is_said_without_python_s_advice() -> None:
    for text, words in (("9" * 5000, "more than 4,300 digits"), ("[" * 99999, "nested too deeply")):
        with pytest.raises((ValueError, RecursionError)) as caught:
            json.loads(text)
        assert words in json_fault(caught.value)
        assert "sys." not in json_fault(caught.value)
