"""Where the brackets of a JSON text are and how deep: vectorised, one window of bytes at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
