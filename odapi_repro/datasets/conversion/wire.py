"""Serialised Examples written by hand: the bytes of `make_example`, with one copy of the image.

The wire format of tensorflow/core/example/example.proto: Example { Features features = 1 },
Features { map<string, Feature> feature = 1 }, Feature { one of BytesList = 1, FloatList = 2,
Int64List = 3 }, each with `value = 1`, packed for numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIELD_1, _FIELD_2, _FIELD_3 = b"\x0a", b"\x12", b"\x1a"  # of a length-delimited kind
_SMALL = 128  # a varint below it is one byte


def serialised(features: Mapping[str, Any]) -> bytes:
    """Gives what `make_example` gives for the same features (one at least), byte for byte.

    Keys are in sorted order, where one is the begin of another too: protobuf's implementations do
    not agree on which of the two comes first.

    Takes bytes or a buffer, text, a whole number, tuples of bytes or text, and arrays of whole
    numbers or float32.

    Raises:
        TypeError: another kind of value.
    """
    parts: list[Any] = []
    total = 0
    for key in sorted(features):
        tag, contents, size = _list_of(features[key])
        name = _key(key)
        list_size = _varint(size)
        feature_size = 1 + len(list_size) + size
        # entry: key, then the feature under 2, which holds its list
        head = name + _FIELD_2 + _varint(feature_size) + tag + list_size
        entry_size = len(head) + size
        prefix = _FIELD_1 + _varint(entry_size) + head
        parts.append(prefix)
        parts += contents
        total += len(prefix) + size
    return b"".join((_FIELD_1, _varint(total), *parts))


def _list_of(value: Any) -> tuple[bytes, list[Any], int]:
    """Gives the tag of the feature's list, the list's bytes in parts, and their number."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return _packed(_FIELD_2, value.astype("<f4").tobytes())
        if value.dtype.kind in "iub":
            return _packed(_FIELD_3, _varints(value))
    elif isinstance(value, str):
        return _bytes_list((value.encode(),))
    elif isinstance(value, (bytes, memoryview)):
        return _bytes_list((value,))
    elif isinstance(value, int):
        return _packed(_FIELD_3, _varint(value & (2**64 - 1)))
    elif isinstance(value, tuple):
        return _bytes_list(one.encode() if isinstance(one, str) else one for one in value)
    raise TypeError(f"{type(value).__name__} fits no list of an Example")


def _packed(tag: bytes, numbers: bytes) -> tuple[bytes, list[Any], int]:
    if not numbers:
        return tag, [], 0
    head = _FIELD_1 + _varint(len(numbers))
    return tag, [head, numbers], len(head) + len(numbers)


def _bytes_list(values: Iterable[Any]) -> tuple[bytes, list[Any], int]:
    parts: list[Any] = []
    size = 0
    for value in values:
        head = _FIELD_1 + _varint(len(value))
        parts += (head, value)
        size += len(head) + len(value)
    return _FIELD_1, parts, size


def _varints(values: NDArray[Any]) -> bytes:
    numbers = values.reshape(-1).tolist()
    if all(0 <= number < _SMALL for number in numbers):
        return bytes(numbers)
    return b"".join(_varint(int(number) & (2**64 - 1)) for number in numbers)


@functools.lru_cache(maxsize=256)
def _key(key: str) -> bytes:
    encoded = key.encode()
    return _FIELD_1 + _varint(len(encoded)) + encoded


@functools.lru_cache(maxsize=4096)
def _varint(number: int) -> bytes:
    """Gives a whole number in groups of 7 bits, lowest first."""
    groups = bytearray()
    while number >= _SMALL:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
