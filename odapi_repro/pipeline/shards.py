"""How many shards of a sharded data set the patterns of an input reader read.

A name like `train-00003-of-00100` says how many shards there are; tf.io.gfile.glob reads what
matches, and the OD API only complains when nothing at all does (builders/dataset_builder.py).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate

# In a pattern the index may be digits or any mix of ?, * and [0-9] that stands for digits.
_SHARDED = re.compile(
    r"^(?P<prefix>.*?)-(?P<index>(?:[0-9?*]|\[!?[0-9\-]+\])+)-of-(?P<total>[0-9]+)(?P<suffix>.*)$",
    re.DOTALL,
)
_MOST_SHARDS = 100_000


@dataclass(frozen=True)
class ShardCount:
    """Shards that patterns read.

    Attributes:
        read: shards whose names match a pattern; None when the names tell no total.
        named: shards that exist according to `-of-NNNNN`; None when no name says so.
        files: files on this disk that match; None where no folder of a pattern is here.
        on_disk: shards of the same data sets on this disk, matched or not; None likewise.
    """

    read: int | None
    named: int | None
    files: int | None
    on_disk: int | None

    @property
    def share(self) -> float | None:
        """The share of the named shards that is read, 0 to 1."""
        if self.read is None or not self.named:
            return None
        return self.read / self.named


def count_shards(patterns: Sequence[str], *, look_at_disk: bool = True) -> ShardCount:
    """Gives what `patterns` (the reader's `input_path`) read, by their names and on this disk.

    Where one pattern tells no total, what the others read is no share of anything, and the names
    count as telling nothing.
    """
    read: dict[str, set[int]] = {}
    named: dict[str, int] = {}
    untold = False
    for pattern in patterns:
        match = _SHARDED.match(pattern)
        if match is None or len(match["total"]) > 9 or int(match["total"]) > _MOST_SHARDS:
            untold = True
            continue
        key = f"{match['prefix']}-of-{match['total']}{match['suffix']}"
        named[key] = int(match["total"])
        read.setdefault(key, set()).update(_indices(match["index"], match["total"]))
    files, on_disk = _on_disk(patterns) if look_at_disk else (None, None)
    if untold or not named:
        return ShardCount(None, None, files, on_disk)
    return ShardCount(sum(map(len, read.values())), sum(named.values()), files, on_disk)


def _indices(index: str, total: str) -> Iterable[int]:
    """The shards that an index pattern matches; names have as many digits as the total has."""
    count, width = int(total), len(total)
    if index.isdigit():
        # No wildcard: one file, whose name may be written with fewer zeros.
        return (int(index),) if int(index) < count else ()
    if index == "*" or index == "?" * width:
        return range(count)
    matches = re.compile(translate(index)).match
    return (number for number in range(count) if matches(f"{number:0{width}d}"))


def _on_disk(patterns: Sequence[str]) -> tuple[int | None, int | None]:
    matched: set[str] = set()
    beside: set[str] = set()
    looked = False
    for pattern in patterns:
        path = os.path.expanduser(pattern)
        folder = os.path.dirname(path) or "."
        if "://" in pattern or not os.path.isdir(folder):
            continue
        looked = True
        matched |= {found for found in glob.glob(path) if os.path.isfile(found)}
        sharded = _SHARDED.match(path)
        if sharded is not None:
            family = glob.escape(sharded["prefix"]) + "-*-of-*" + glob.escape(sharded["suffix"])
            beside |= {found for found in glob.glob(family) if os.path.isfile(found)}
    if not looked:
        return None, None
    return len(matched), len(matched | beside)
