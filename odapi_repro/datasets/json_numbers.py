"""Numbers and texts as JSON may hold them: of any size, not finite, or no number at all.

JSON has no bounds. Python reads `NaN`, `Infinity` and whole numbers of up to 4,300 digits, all of
which NumPy, protobuf or pycocotools refuse in their own ways. Readers of COCO json ask here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from odapi_repro.errors import shortened

LARGEST_SIDE = 2**31 - 1
"""Pixels that a side of an image may have: a PNG's header holds no more (RFC 2083, IHDR)."""

_WHOLE_TEXT = re.compile(r"\s*[+-]?[0-9]{1,30}(?:\.0*)?\s*\Z")
_DIGITS = "integer string conversion"  # of int's refusal to read more than 4,300 digits


def is_number(value: Any) -> bool:
    """Whether it is a JSON number; true and false are none."""
    return type(value) in (int, float)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number that 64 bits hold, written without a fraction."""
    return type(value) is int and -(2**63) <= value < 2**63


def is_text(value: Any) -> bool:
    """Whether it is a text that UTF-8 can hold: JSON can name half of a surrogate pair."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def writable(text: str) -> str:
    """Gives a text with halves of surrogate pairs as JSON writes them: `\\ud800`."""
    return text if is_text(text) else text.encode(errors="backslashreplace").decode()


def given_as(value: Any) -> str:
    """Gives a value as Python writes it, its beginning where it is long."""
    return shortened(repr(value))


def float_of(value: Any) -> float:
    """Gives a JSON number as a float: infinity for one beyond all floats, NaN for no number."""
    if not is_number(value):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def side_of(value: Any) -> int | None:
    """Gives a side of an image in pixels, 1 to LARGEST_SIDE; None for anything else."""
    if not is_number(value) or not 1 <= value <= LARGEST_SIDE or value != int(value):
        return None
    return int(value)


def whole_of(value: Any) -> int | None:
    """Gives the whole number that an id means: 7 for 7, 7.0, "7", "007" and "7.0"; None for none.

    Programs write ids as pandas has them, with a fraction, or as texts.
    """
    if type(value) is int:
        return value
    if type(value) is float:
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and _WHOLE_TEXT.match(value):
        return int(value.partition(".")[0])
    return None


def are_within(values: Sequence[Any], limit: float) -> bool:
    """Whether all are numbers from -limit to limit; NaN is not."""
    if not set(map(type, values)) <= {int, float}:
        return False
    if values and not (-limit <= min(values) and max(values) <= limit):
        return False
    # min and max pass over a NaN that is not the first; a sum does not.
    return not math.isnan(sum(values))


def json_value(data: bytes) -> Any:
    """Gives what `json.loads` gives of UTF-8 bytes, in a third to half of its time.

    msgspec reads the same numbers, texts and objects to the bit, and refuses some of what `json`
    takes (NaN, Infinity, floats out of range, half of a surrogate pair); that is left to `json`,
    as are the words for what is wrong.

    Raises:
        ValueError, RecursionError: as of `json.loads` of the text.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return json.loads(data.decode())


def json_fault(error: Exception) -> str:
    """Gives in words why `json.loads` refused a text."""
    if _DIGITS in str(error):
        return "a whole number of more than 4,300 digits"
    if isinstance(error, RecursionError):
        return "brackets nested too deeply to be read"
    return str(getattr(error, "msg", error))
