"""Takes one field of many JSON objects as a column; the first one that is wrong is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain, islice, repeat
from numbers import Real
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError

_MOST_LISTED = 1 << 24  # COCO's own ids go up to 900,000


class Rows:
    """JSON objects of one kind, such as the annotations of a file.

    Args:
        rows: the parsed list.
        noun, nouns: what one is called, and several, such as `annotation`, `annotations`.
        where: the file, for the messages.

    Raises:
        DataError: not a list, or a member that is no object.
    """

    def __init__(self, rows: Any, noun: str, nouns: str, where: str = "") -> None:
        self.noun = noun
        self.nouns = nouns
        self.where = where
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise self.error(f"the {nouns} are {kind_of(rows)}", expected="a list of objects")
        self.rows: Sequence[Any] = rows
        if set(map(type, rows)) <= {dict}:
            return
        bad = [i for i, row in enumerate(rows) if not isinstance(row, Mapping)]
        if bad:
            raise self.error(
                f"{kind_of(rows[bad[0]])} instead of an object", bad, expected="only objects"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def error(
        self, problem: str, bad: Sequence[int] = (), *, expected: str = "", mend: str = ""
    ) -> DataError:
        """Gives an error that says where, and with `bad` how many rows and the first."""
        if len(bad):
            row = self.rows[bad[0]]
            given = row.get("id") if isinstance(row, Mapping) else None
            named = "" if given is None else f" (id {shown(given)})"
            problem += f" in {len(bad)} of {len(self)} {self.nouns}, first at index {bad[0]}{named}"
        return DataError(problem, expected=expected, mend=mend, where=self.where)

    def values(self, name: str, *, mend: str = "") -> list[Any]:
        """Gives field `name` of every object.

        Raises:
            DataError: an object does not have it.
        """
        try:
            return list(map(itemgetter(name), self.rows))
        except KeyError as error:
            bad = [i for i, row in enumerate(self.rows) if name not in row]
            raise self.error(
                f"'{name}' is missing",
                bad,
                expected=f"'{name}' in every {self.noun}",
                mend=mend,
            ) from error

    def positions(self, name: str, ids: Sequence[int | str]) -> NDArray[np.int32]:
        """Gives where a field's values stand among `ids`, int32 [N]; -1 where they do not.

        Raises:
            DataError: an object does not have the field.
        """
        return positions_of(self.values(name), ids)

    def numbers(self, name: str, values: Sequence[Any]) -> NDArray[np.float64]:
        """Gives a column of finite numbers, float64 [N].

        Raises:
            DataError: one is no number, or it is NaN or infinite.
        """
        column = _column(values)
        if column is None:
            self._refuse(name, values, lambda value: not _is_number(value), "a number")
            column = np.array([_float(value) for value in values])
        wrong = np.flatnonzero(~np.isfinite(column)).tolist()
        if wrong:
            raise self.error(
                f"'{name}' is {column[wrong[0]]}",
                wrong,
                expected="finite numbers",
                mend="look for a division by zero or an overflow in what wrote them",
            )
        return column

    def boxes(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Gives boxes, float64 [N, 4]: x y width height.

        Raises:
            DataError: one is not four finite numbers, or of negative width or height.
        """
        expected = "[x, y, width, height] in pixels of the image"
        column = None
        if not set(map(type, values)) - {list, tuple} and set(map(len, values)) <= {4}:
            column = _column(list(chain.from_iterable(values)))
        if column is None:
            self._refuse("bbox", values, lambda value: not _is_box(value), expected)
            column = np.array([_float(number) for box in values for number in box])
        boxes = column.reshape(-1, 4)
        for wrong, mend in (
            (~np.isfinite(boxes).all(axis=1), "look for NaN or overflow in what wrote them"),
            ((boxes[:, 2:] < 0).any(axis=1), "COCO's boxes are x, y, width, height: no corners"),
        ):
            bad = np.flatnonzero(wrong).tolist()
            if bad:
                kind = "of negative size" if np.isfinite(boxes).all() else "not finite"
                raise self.error(
                    f"'bbox' is {kind}, {boxes[bad[0]].tolist()},",
                    bad,
                    expected=expected,
                    mend=mend,
                )
        return boxes

    def _refuse(
        self, name: str, values: Sequence[Any], is_wrong: Callable[[Any], bool], expected: str
    ) -> None:
        bad = [i for i, value in enumerate(values) if is_wrong(value)]
        if bad:
            raise self.error(f"'{name}' is {shown(values[bad[0]])}", bad, expected=expected)


def positions_of(
    values: Sequence[Any] | NDArray[Any], ids: Sequence[int | str]
) -> NDArray[np.int32]:
    """Gives where values stand among `ids`, int32 [N]; -1 where they do not."""
    if isinstance(values, np.ndarray):
        numbers = [id_ for id_ in ids if type(id_) is int and 0 <= id_ < _MOST_LISTED]
        if values.dtype == np.int64 and len(numbers) == len(ids):
            return _places_among(values, numbers)
        values = values.tolist()
    found: dict[Any, int] = {id_: position for position, id_ in enumerate(ids)}
    if (0 in found or 1 in found) and bool in set(map(type, values)):  # true is no 1
        values = [None if isinstance(value, bool) else value for value in values]
    try:
        return np.fromiter(map(found.get, values, repeat(-1)), np.int32, len(values))
    except TypeError:  # a list or an object, which no id is
        return np.array(
            [found.get(v, -1) if isinstance(v, Hashable) else -1 for v in values], np.int32
        )


def _places_among(values: NDArray[np.int64], ids: Sequence[int]) -> NDArray[np.int32]:
    """Does so for whole numbers, by a table of all numbers up to the largest id."""
    table = np.full(max(ids) + 2, -1, np.int32)
    table[np.array(ids)] = np.arange(len(ids))
    return table[np.where((values >= 0) & (values < len(table)), values, len(table) - 1)]


def listed(values: Iterable[Any], most: int = 3) -> str:
    """Gives the first few as text: `'a', 'b', 'c', ...`."""
    first = list(islice(values, most + 1))
    return ", ".join(map(shown, first[:most])) + (", ..." if len(first) > most else "")


def shown(value: Any) -> str:
    """Gives a JSON value as it would be typed, at most 40 letters of it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def kind_of(value: Any) -> str:
    """Gives what JSON calls a value of this kind."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, bool):
        return "a truth value"
    return "a number" if isinstance(value, Real) else "a list"


def _column(values: Sequence[Any]) -> NDArray[np.float64] | None:
    """Gives numbers as float64 [N]; None where they are not all plain numbers."""
    if not len(values):
        return np.empty(0)
    try:
        column = np.asarray(values)
    except (ValueError, OverflowError):  # lists among them; an integer beyond all types
        return None
    if column.ndim != 1 or column.dtype.kind not in "iuf" or bool in set(map(type, values)):
        return None
    return column.astype(np.float64, copy=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) == 4
        and all(map(_is_number, value))
    )


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
