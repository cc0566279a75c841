"""Which record files there are of those that are named, shards that are missing among them."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from odapi_repro.datasets.census.record_files import files_of_folder, sorted_by_split
from odapi_repro.datasets.record_names import SHARD
from odapi_repro.errors import DataError


@dataclass(frozen=True)
class ShardSet:
    """Files of one set of shards, `stem-00000-of-00010suffix`.

    Attributes:
        name: the pattern of all of them, without the folder.
        total: shards that the names promise.
        present: numbers of those that are there, sorted.
    """

    name: str
    total: int
    present: tuple[int, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the shards that are not there."""
        return tuple(sorted(set(range(self.total)) - set(self.present)))


@dataclass(frozen=True)
class Inventory:
    """The record files of one split.

    Attributes:
        files: sorted, each once.
        shard_sets: by name; files that are no shards belong to none.
        unmatched: patterns that match no file.
    """

    files: tuple[Path, ...]
    shard_sets: tuple[ShardSet, ...] = ()
    unmatched: tuple[str, ...] = ()


def inventory_of(patterns: Sequence[str]) -> Inventory:
    """Gives the files that globs match; a pattern that matches none is noted, and no error."""
    files: set[Path] = set()
    unmatched = []
    for pattern in patterns:
        expanded = os.path.expanduser(pattern)
        found = {Path(name) for name in glob.glob(expanded) if os.path.isfile(name)}
        if not found:
            unmatched.append(pattern)
        files |= found
    return Inventory(tuple(sorted(files)), _shard_sets(files), tuple(unmatched))


def folder_inventories(folder: Path) -> tuple[dict[str, Inventory], tuple[str, ...]]:
    """Gives what a folder holds of `train` and `eval`, and what is to be told of other records.

    Raises:
        DataError: the folder cannot be listed, or holds no record file, nor does a folder in it.
    """
    files = files_of_folder(folder)
    if not files:
        raise DataError(
            "the folder holds no record file",
            expected="files such as train.record or val-00000-of-00010.tfrecord",
            mend="name the files: --train_records GLOB, --eval_records GLOB, --label_map FILE",
            where=str(folder),
        )
    return file_inventories(files)


def file_inventories(files: Sequence[Path]) -> tuple[dict[str, Inventory], tuple[str, ...]]:
    """Gives record files by split, `train` and `eval`, and what is to be told of the others."""
    by_split, told = sorted_by_split(files)
    found = {split: Inventory(one, _shard_sets(one)) for split, one in by_split.items()}
    return found, told


def _shard_sets(files: Iterable[Path]) -> tuple[ShardSet, ...]:
    indices: dict[tuple[Path, str, str, str], list[int]] = defaultdict(list)
    for file in files:
        match = SHARD.fullmatch(file.name)
        if match:
            key = (file.parent, match["stem"], match["total"], match["suffix"])
            indices[key].append(int(match["index"]))
    return tuple(
        ShardSet(f"{stem}-{'?' * len(total)}-of-{total}{suffix}", int(total), tuple(sorted(found)))
        for (_, stem, total, suffix), found in sorted(indices.items())
    )
