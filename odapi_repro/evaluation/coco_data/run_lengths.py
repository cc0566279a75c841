"""What compressed run lengths add up to, for many masks at once.

COCO's text form of a mask (pycocotools `maskApi.c`, `rleFrString`): runs of 0 and 1 in turn, down
the columns, a run in groups of five bits from the low end, a group a character from `0` on, the
sixth bit saying that another group follows; the last group's fifth bit is the sign. From the
fourth run on, it is the difference to the run before the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 10_000  # masks; about 100 MB of intermediate arrays
_MOST_GROUPS = 7  # 32 bits

_Ints = NDArray[np.int64]


def run_length_sums(counts: Sequence[str | bytes]) -> tuple[_Ints, _Ints]:
    """Gives the pixels that the runs cover and those of them that are 1, int64 [N] each.

    Both are -1 where the text is no run lengths. The first is height * width in a sound mask;
    pycocotools does not check it, and reads beyond its memory where it is not.
    """
    parts = [_sums(counts[i : i + _AT_ONCE]) for i in range(0, len(counts), _AT_ONCE)]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _sums(counts: Sequence[str | bytes]) -> tuple[_Ints, _Ints]:
    texts = [c.encode("utf-8", "surrogatepass") if isinstance(c, str) else c for c in counts]
    num = len(texts)
    lengths = np.fromiter(map(len, texts), np.int64, num)
    letters = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    sound = np.ones(num, np.bool_)
    if not len(letters):
        return np.zeros(num, np.int64), np.zeros(num, np.int64)
    owner = np.repeat(np.arange(num), lengths)
    sound[owner[(letters < 0) | (letters > 63)]] = False
    is_last = (letters & 32) == 0
    text_ends = np.cumsum(lengths)[lengths > 0] - 1
    sound[owner[text_ends[~is_last[text_ends]]]] = False
    is_last[text_ends] = True  # keeps the masks after a broken one apart from it

    ends = np.flatnonzero(is_last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    groups = ends - starts + 1
    value_owner = owner[starts]
    sound[value_owner[groups > _MOST_GROUPS]] = False
    place = np.minimum(np.arange(len(letters)) - np.repeat(starts, groups), _MOST_GROUPS)
    values = np.add.reduceat((letters & 31) << (5 * place), starts)
    negative = (letters[ends] & 16) != 0
    values = values - np.where(negative, np.int64(1) << (5 * np.minimum(groups, _MOST_GROUPS)), 0)

    is_first = np.concatenate(([True], value_owner[1:] != value_owner[:-1]))
    first = np.flatnonzero(is_first)
    index = np.arange(len(values)) - np.repeat(first, np.diff(np.append(first, len(values))))
    for chosen in (index % 2 == 1, (index % 2 == 0) & (index > 0)):
        values[chosen] = _sums_within(values[chosen], value_owner[chosen])
    sound[value_owner[values < 0]] = False
    covered = _total(values, value_owner, num)
    area = _total(np.where(index % 2 == 1, values, 0), value_owner, num)
    return np.where(sound, covered, -1), np.where(sound, area, -1)


def _sums_within(values: _Ints, owner: _Ints) -> _Ints:
    """Gives running sums that begin anew with every owner."""
    sums = np.cumsum(values)
    if not len(sums):
        return sums
    first = np.flatnonzero(np.concatenate(([True], owner[1:] != owner[:-1])))
    before = np.where(first > 0, sums[first - 1], 0)
    result: _Ints = sums - np.repeat(before, np.diff(np.append(first, len(sums))))
    return result


def _total(values: _Ints, owner: _Ints, num: int) -> NDArray[Any]:
    totals = np.zeros(num, np.int64)
    np.add.at(totals, owner, values)
    return totals
