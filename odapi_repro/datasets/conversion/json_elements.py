"""The elements of a large JSON file's top-level arrays, a window of the file at a time.

A COCO file is one object that holds arrays of objects. Its brackets are found by `json_scan`, the
elements are parsed by `json.loads`, and long values (the outlines of the objects) are cut out and
given as places in the file, to be read when they are needed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.json_errors import (
    no_json,
    not_an_object,
    not_objects,
    second_value,
    truncated,
    unreadable,
)
from odapi_repro.datasets.json_numbers import json_fault, json_value

_WINDOW_BYTES = 8 << 20
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:\s*\Z', re.DOTALL)
_BOM = b"\xef\xbb\xbf"
_MOST_KEY_BYTES = 4096
_ROOT, _ARRAY, _ELEMENT, _VALUE = 1, 2, 3, 4


_QUOTE, _BACKSLASH, _COLON = ord('"'), ord("\\"), ord(":")
_IS_BRACKET = np.zeros(256, np.bool_)
_IS_BRACKET[list(b"{}[]")] = True
_IS_OPEN = np.zeros(256, np.bool_)
_IS_OPEN[list(b"{[")] = True
_IS_SPACE = np.zeros(256, np.bool_)
_IS_SPACE[list(b" \t\r\n")] = True


@dataclass(frozen=True, eq=False)
class Brackets:
    """The brackets of a window that stand outside of strings.

    Attributes:
        positions: int64 [N], bytes from the window's begin, ascending.
        is_open: bool [N].
        depths: int64 [N], of what the bracket encloses: the root's own brackets have 1.
        ends_in_string: whether the window ends within a string.
        depth: at the window's end.
    """

    positions: NDArray[np.int64]
    is_open: NDArray[np.bool_]
    depths: NDArray[np.int64]
    ends_in_string: bool
    depth: int

    def pairs(
        self, depth: int, begin: int, end: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Gives the positions of the brackets of `depth` that open and close in [begin, end).

        What opens in the range and does not close in it is left out.
        """
        first, last = np.searchsorted(self.positions, [begin, end])
        here = self.depths[first:last] == depth
        positions = self.positions[first:last][here]
        is_open = self.is_open[first:last][here]
        opens, closes = positions[is_open], positions[~is_open]
        if len(closes) and len(opens) and closes[0] < opens[0]:
            closes = closes[1:]
        count = min(len(opens), len(closes))
        return opens[:count], closes[:count]


def brackets_of(window: bytes, *, depth: int, in_string: bool) -> Brackets:
    """Gives the brackets of a window that begins at `depth`, within a string or not.

    The window may not end within a run of backslashes, or begin with one that belongs to what
    was before it.
    """
    codes = np.frombuffer(window, np.uint8)
    quotes = np.flatnonzero(codes == _QUOTE)
    if b"\\" in window:
        quotes = quotes[~_escaped(codes, quotes)]
    positions = np.flatnonzero(_IS_BRACKET[codes])
    before = np.searchsorted(quotes, positions) + in_string
    positions = positions[before % 2 == 0]
    is_open = _IS_OPEN[codes[positions]]
    inside = np.cumsum(np.where(is_open, 1, -1)) + depth
    return Brackets(
        positions=positions,
        is_open=is_open,
        depths=np.where(is_open, inside, inside + 1),
        ends_in_string=bool((len(quotes) + in_string) % 2),
        depth=int(inside[-1]) if len(inside) else depth,
    )


def named_values(window: bytes, opens: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
    """Tells for each of the opening brackets whether it opens the value of the key `name`."""
    codes = np.frombuffer(window, np.uint8)
    at = _without_space(codes, opens - 1)
    is_value = (at >= 0) & (codes[at] == _COLON)
    at = _without_space(codes, at - 1)
    wanted = np.frombuffer(f'"{name}"'.encode(), np.uint8)
    first = at - len(wanted) + 1
    is_value &= first >= 0
    places = np.maximum(first, 0)[:, None] + np.arange(len(wanted))
    places = np.minimum(places, len(codes) - 1)
    same: NDArray[np.bool_] = (codes[places] == wanted).all(axis=1)
    same &= is_value
    return same


def _without_space(codes: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Goes back from `at` to what is no white space; below 0 where there is nothing."""
    at = at.copy()
    while True:
        more: NDArray[np.bool_] = (at >= 0) & _IS_SPACE[codes[at]]
        if not more.any():
            return at
        at -= more


def _escaped(codes: NDArray[np.uint8], quotes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tells which quotes stand behind an odd number of backslashes."""
    slashes = np.flatnonzero(codes == _BACKSLASH)
    starts_run = np.ones(len(slashes), np.bool_)
    starts_run[1:] = np.diff(slashes) > 1
    run_start = slashes[np.maximum.accumulate(np.where(starts_run, np.arange(len(slashes)), 0))]
    length = slashes - run_start + 1
    place = np.searchsorted(slashes, quotes) - 1
    follows = (place >= 0) & (slashes[np.maximum(place, 0)] == quotes - 1)
    is_odd: NDArray[np.bool_] = length[np.maximum(place, 0)] % 2 == 1
    is_odd &= follows
    return is_odd


@dataclass(frozen=True, eq=False)
class Cut:
    """Where a value that was cut out of elements lies in the file.

    Attributes:
        starts: int64 [N] bytes from the file's begin; -1 for an element that has no such value,
            or one that is no list and no object (that stays in the element).
        lengths: int64 [N] bytes; 0 where there is none.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Elements:
    """Some elements of a top-level array, in the file's order.

    Attributes:
        key: the array's name.
        first: number of the first one in the array.
        items: the elements; values that were cut out are 0.
        cuts: by name of the value.
    """

    key: str
    first: int
    items: Sequence[Any]
    cuts: Mapping[str, Cut]


@dataclass
class _Place:
    """Where the reader is: the container it is in, and what was read of it."""

    depth: int = 0
    in_string: bool = False
    key: str = ""
    is_array: bool = False
    is_wanted: bool = False
    read: int = 0
    has_root: bool = False
    is_over: bool = False


class JsonReader:
    """Reads a JSON file's top-level arrays of objects; also its digest, as all of it is read.

    Args:
        path: the file.
        wanted: names of the arrays to give, each with the names of the values to cut out.
        window_bytes: how much to look at at once; an element may be larger.
    """

    def __init__(
        self,
        path: Path,
        wanted: Mapping[str, Sequence[str]],
        *,
        window_bytes: int = _WINDOW_BYTES,
    ) -> None:
        self.path = path
        self.keys: list[str] = []
        """The arrays and objects that the root was found to hold, so far."""
        self.bytes_read = 0
        self._wanted = wanted
        self._window_bytes = window_bytes
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Gives the sha256 of the file, once all elements were given."""
        return self._hash.hexdigest()

    def elements(self) -> Iterator[Elements]:
        """Gives all elements of the wanted arrays.

        Raises:
            DataError: unreadable, cut short, not JSON, or of another structure; says where.
        """
        try:
            with open(self.path, "rb") as file:
                yield from self._elements(file)
        except OSError as error:
            raise unreadable(self.path, error) from error

    def _elements(self, file: BinaryIO) -> Iterator[Elements]:
        place = _Place()
        window, offset = b"", 0  # the window's first byte is the file's byte `offset`
        while chunk := file.read(self._window_bytes):
            self._hash.update(chunk)
            if not self.bytes_read:
                not_an_object(self.path, chunk)
                if chunk.startswith(_BOM):
                    window, offset, chunk = b"", len(_BOM), chunk[len(_BOM) :]
                    self.bytes_read += len(_BOM)
            self.bytes_read += len(chunk)
            window += chunk
            kept = b""
            if window.endswith(b"\\"):
                kept = window[len(window.rstrip(b"\\")) :]
                window = window[: -len(kept)]
            brackets = brackets_of(window, depth=place.depth, in_string=place.in_string)
            used = yield from self._window(window, offset, brackets, place)
            window, offset = window[used:] + kept, offset + used
        if not place.is_over:
            raise truncated(self.path, self.bytes_read, place.key, place.read)
        if window.strip():
            raise second_value(self.path, offset)

    def _window(
        self, window: bytes, offset: int, brackets: Brackets, place: _Place
    ) -> Generator[Elements, None, int]:
        """Gives what the window holds whole, and returns how much of it was used."""
        at = 0
        # Brackets of the root and of its direct values, in their order.
        outer = brackets.depths <= _ARRAY
        for position, is_open, depth in zip(
            brackets.positions[outer].tolist(),
            brackets.is_open[outer].tolist(),
            brackets.depths[outer].tolist(),
            strict=True,
        ):
            if place.is_over or depth < _ROOT:
                raise second_value(self.path, offset + position)
            if depth == _ROOT:
                place.is_over = not is_open
                at = position + 1
            elif is_open:
                self._enter(window, offset, position, place)
                at = position + 1
            else:
                if place.is_wanted:
                    yield from self._parsed(window, offset, at, position, brackets, place)
                place.key, place.is_wanted = "", False
                at = position + 1
        if place.is_wanted:
            _, closes = brackets.pairs(_ELEMENT, at, len(window))
            if len(closes):
                end = int(closes[-1]) + 1
                yield from self._parsed(window, offset, at, end, brackets, place)
                at = end
            place.depth, place.in_string = _ARRAY, False
        elif brackets.depth >= _ARRAY:
            # Within something that nobody asked for: only its end matters.
            at = len(window)
            place.depth, place.in_string = brackets.depth, brackets.ends_in_string
        else:
            # Between two values: the next one's key may have begun.
            place.depth, place.in_string = brackets.depth, False
        return at

    def _enter(self, window: bytes, offset: int, position: int, place: _Place) -> None:
        key = _KEY.search(window[max(0, position - _MOST_KEY_BYTES) : position])
        if key is None:
            raise no_json(self.path, offset + position, "a value has no key")
        try:
            place.key = json.loads(b'"' + key[1] + b'"')
        except ValueError as error:
            raise no_json(self.path, offset + position, str(error)) from error
        place.is_array = window[position : position + 1] == b"["
        place.is_wanted = place.key in self._wanted
        place.read = 0
        self.keys.append(place.key)
        if place.is_wanted and not place.is_array:
            raise not_objects(self.path, place.key, -1, "an object")

    def _parsed(
        self, window: bytes, offset: int, begin: int, end: int, brackets: Brackets, place: _Place
    ) -> Iterator[Elements]:
        """Gives the elements of the array's part in [begin, end) of the window."""
        opens, closes = brackets.pairs(_ELEMENT, begin, end)
        text_begin = self._after_comma(window, offset, begin, end, place)
        inner, inner_ends = brackets.pairs(_VALUE, begin, end)
        owners = np.searchsorted(opens, inner, side="right") - 1
        cuts: dict[str, Cut] = {}
        all_starts, all_ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for name in self._wanted[place.key]:
            here = named_values(window, inner, name)
            starts = np.full(len(opens), -1, np.int64)
            lengths = np.zeros(len(opens), np.int64)
            # A key that is given twice counts as json.loads has it: the last one.
            starts[owners[here]] = inner[here] + offset
            lengths[owners[here]] = inner_ends[here] + 1 - inner[here]
            cuts[name] = Cut(starts, lengths)
            all_starts.append(inner[here])
            all_ends.append(inner_ends[here] + 1)
        starts, ends = np.concatenate(all_starts), np.concatenate(all_ends)
        order = np.argsort(starts)
        text = _without(window, text_begin, end, starts[order].tolist(), ends[order].tolist())
        try:
            items = json_value(b"[" + text + b"]")
        except (ValueError, RecursionError) as error:
            raise self._broken(window, offset, opens, closes, place, text_begin, error) from error
        if len(items) != len(opens) or not all(isinstance(item, dict) for item in items):
            wrong = next((i for i, item in enumerate(items) if not isinstance(item, dict)), 0)
            raise not_objects(self.path, place.key, place.read + wrong, type(items[wrong]).__name__)
        if items:
            yield Elements(place.key, place.read, items, cuts)
        place.read += len(items)

    def _after_comma(self, window: bytes, offset: int, begin: int, end: int, place: _Place) -> int:
        """Gives where the text of the elements begins: past the comma that parts it from others."""
        if not place.read:
            return begin
        head = window[begin : begin + 256]
        rest = head.lstrip()
        if rest.startswith(b","):
            return begin + len(head) - len(rest) + 1
        if window[begin:end].strip():
            raise no_json(self.path, offset + begin, f"no comma between elements of '{place.key}'")
        return begin

    def _broken(
        self,
        window: bytes,
        offset: int,
        opens: NDArray[np.int64],
        closes: NDArray[np.int64],
        place: _Place,
        begin: int,
        error: Exception,
    ) -> Exception:
        """Gives the error of the element that does not parse, with its place in the file."""
        for number, (first, last) in enumerate(zip(opens.tolist(), closes.tolist(), strict=True)):
            try:
                json_value(window[first : last + 1])
            except (ValueError, RecursionError) as wrong:
                at = offset + first + getattr(wrong, "pos", 0)
                element = f"element {place.read + number} of '{place.key}'"
                return no_json(self.path, at, f"{json_fault(wrong)} ({element})")
        return no_json(
            self.path, offset + begin, f"{json_fault(error)} between elements of '{place.key}'"
        )


def _without(window: bytes, begin: int, end: int, starts: list[int], ends: list[int]) -> bytes:
    """Gives the window's [begin, end) with 0 in place of the spans."""
    pieces = []
    at = begin
    for start, stop in zip(starts, ends, strict=True):
        pieces.append(window[at:start])
        at = stop
    pieces.append(window[at:end])
    return b"0".join(pieces)
