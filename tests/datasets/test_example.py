"""tf.train.Example without TensorFlow: the wire format and round trips."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odapi_repro.datasets.example import make_example, parse_example
from odapi_repro.errors import DataError

_KEYS = st.text(min_size=1, max_size=12)


def _field(number: int, payload: bytes) -> bytes:
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def test_bytes_are_those_of_the_published_protos() -> None:
    # Written by hand from example.proto and feature.proto: features=1, map key=1 value=2,
    # bytes_list=1 float_list=2 int64_list=3, value=1 (packed for numbers).
    expected = b"".join(
        _field(1, _field(1, key) + _field(2, feature))
        for key, feature in (
            (b"b", _field(1, _field(1, b"xyz"))),
            (b"f", _field(2, _field(1, struct.pack("<2f", 0.5, -1.0)))),
            (b"i", _field(3, _field(1, bytes([5, 0xAC, 0x02])))),
        )
    )
    features = {"i": [5, 300], "b": b"xyz", "f": np.array([0.5, -1.0], np.float32)}
    assert make_example(features) == _field(1, expected)


@given(
    st.dictionaries(
        _KEYS,
        st.one_of(
            st.lists(st.binary(max_size=20), min_size=1, max_size=4),
            st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
            st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
        ),
        max_size=5,
    )
)
def test_features_survive(features: dict[str, list[object]]) -> None:
    parsed = parse_example(make_example(features))  # type: ignore[arg-type]
    assert list(parsed) == sorted(features)
    for key, values in features.items():
        if isinstance(values[0], bytes):
            assert list(parsed.bytes_list(key)) == values
        elif isinstance(values[0], int):
            assert parsed.ints(key).tolist() == values
        else:
            assert parsed.floats(key).tolist() == values


def test_absent_and_empty_keys_read_as_empty() -> None:
    parsed = parse_example(make_example({"empty": [], "none": np.zeros(0, np.float32)}))
    assert "empty" in parsed
    assert "none" in parsed
    assert "absent" not in parsed
    assert parsed.floats("absent").shape == parsed.floats("none").shape == (0,)
    assert parsed.bytes_list("empty") == ()
    assert parsed.text("absent", "jpeg") == "jpeg"


def test_another_kind_is_a_data_error() -> None:
    parsed = parse_example(make_example({"image/height": [1.5]}))
    with pytest.raises(DataError, match="'image/height' is a float_list"):
        parsed.ints("image/height")


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_parse_or_are_a_data_error(data: bytes) -> None:
    # Which bytes happen to parse is protobuf's business; another exception would fail here.
    with contextlib.suppress(DataError):
        assert list(parse_example(data)) == sorted(parse_example(data))


@pytest.mark.tensorflow
def test_tensorflow_parses_our_bytes_and_we_parse_its() -> None:
    tf = pytest.importorskip("tensorflow")
    theirs = tf.train.Example()
    theirs.features.feature["a"].int64_list.value.extend([1, -2])
    theirs.features.feature["t"].bytes_list.value.append(b"text")
    ours = make_example({"a": [1, -2], "t": b"text"})
    assert tf.train.Example.FromString(ours) == theirs
    assert parse_example(theirs.SerializeToString()).ints("a").tolist() == [1, -2]
