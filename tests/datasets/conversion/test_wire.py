"""Examples written by hand against those that protobuf writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from odapi_repro.datasets.conversion.shard import serialised
from odapi_repro.datasets.example import make_example

VALUES = (
    st.binary(max_size=300)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.integers(-(2**63), 2**63 - 1)
    | st.lists(st.binary(max_size=200), max_size=4).map(tuple)
    | arrays(np.int64, st.integers(0, 40))
    | arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text("abc/", min_size=3, max_size=3), VALUES, min_size=1, max_size=6))
def test_the_bytes_are_those_of_protobuf(features: dict[str, Any]) -> None:
    assert serialised(features) == make_example(features)


def test_a_value_of_no_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="fits no list"):
        serialised({"a": object()})
