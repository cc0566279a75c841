"""Record files as people name them: by globs, or a folder; their splits, shards and label maps."""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.datasets.tfrecord import FRAME_BYTES, begins_record
from odapi_repro.errors import DataError

SPLIT_WORDS = {"train": "training records", "eval": "evaluation records"}
"""What each split is called in sentences; `--train_records` and `--eval_records` name its files."""
SPLITS = tuple(SPLIT_WORDS)

_SHARD = re.compile(r"(?P<stem>.*)-(?P<index>\d+)-of-(?P<total>\d+)(?P<suffix>.*)")
_RECORD = re.compile(r"\.tf_?records?\b|\.records?\b|-\d+-of-\d+", re.IGNORECASE)
_SPLITS = {
    "train": re.compile(r"(?<![a-z])train", re.IGNORECASE),
    "eval": re.compile(r"(?<![a-z])e?val", re.IGNORECASE),
    "test": re.compile(r"(?<![a-z])test", re.IGNORECASE),
}
_FOLDER = re.compile(r"train(ing)?|val(id(ation)?)?|eval(uation)?|test(ing)?", re.IGNORECASE)
_TEXTS = (".config", ".pbtxt", ".txt", ".json", ".csv", ".xml")
_LABEL_MAP = re.compile(r".*label.*map.*\.(pbtxt|txt)", re.IGNORECASE)
_MOST_FILES = 10_000


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
    return Inventory(tuple(sorted(files)), shard_sets(files), tuple(unmatched))


def folder_inventories(folder: Path) -> tuple[dict[str, Inventory], tuple[str, ...]]:
    """Gives what a folder holds of `train` and `eval`, and what is to be told of other records.

    Raises:
        DataError: as `files_of_folder`.
    """
    return file_inventories(files_of_folder(folder))


def file_inventories(files: Sequence[Path]) -> tuple[dict[str, Inventory], tuple[str, ...]]:
    """Gives record files by split, `train` and `eval`, and what is to be told of the others.

    Records named test are the evaluation's where none are named val; those that say nothing are
    the training's where none are named train.
    """
    found = by_split(files)
    told = []
    if "test" in found and "eval" not in found:
        found["eval"] = found.pop("test")
        told.append(
            f"records named val: there are none; taken in their place: {_names(found['eval'])}"
        )
    elif "test" in found:
        told.append(f"records named test: {_names(found['test'])}")
    if "" in found and "train" not in found:
        found["train"] = found.pop("")
        told.append(
            "which split these are of, without train, val or test in their names; taken for "
            f"training: {_names(found['train'])}"
        )
    elif "" in found:
        told.append(f"records without train, val or test in their names: {_names(found[''])}")
    inventories = {
        split: Inventory(found[split], shard_sets(found[split]))
        for split in SPLITS
        if split in found
    }
    return inventories, tuple(told)


def by_split(files: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Gives the files of `train`, `eval` and `test`, those that say nothing under an empty text.

    The name of a file tells its split, or else that of its folder.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        folder = file.parent.name
        of_folder = _split(folder) if _FOLDER.fullmatch(folder) else ""
        found[_split(file.name) or of_folder].append(file)
    return {split: tuple(those) for split, those in found.items()}


def _split(name: str) -> str:
    return next((split for split, pattern in _SPLITS.items() if pattern.search(name)), "")


def _names(files: Sequence[Path]) -> str:
    more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
    return f"{files[0].name}{more}"


def shard_sets(files: Iterable[Path]) -> tuple[ShardSet, ...]:
    """Gives the sets of which files are shards, by name."""
    indices: dict[tuple[Path, str, str, str], list[int]] = defaultdict(list)
    for file in files:
        match = _SHARD.fullmatch(file.name)
        if match:
            key = (file.parent, match["stem"], match["total"], match["suffix"])
            indices[key].append(int(match["index"]))
    return tuple(
        ShardSet(f"{stem}-{'?' * len(total)}-of-{total}{suffix}", int(total), tuple(sorted(found)))
        for (_, stem, total, suffix), found in sorted(indices.items())
    )


def set_name(file: Path) -> str:
    """What the data of a file are called: folder/stem, `coco/train` for train-00000-of-00010."""
    stem = re.sub(r"\.tf_?records?$|\.records?$", "", re.sub(r"-\d+-of-\d+", "", file.name))
    return f"{file.parent.name}/{stem}" if file.parent.name else stem


def files_of_folder(folder: Path) -> tuple[Path, ...]:
    """Gives the record files in a folder, else those in its folders (train/, valid/); some.

    Raises:
        DataError: the folder cannot be listed, or there are none.
    """
    try:
        found = _records_in(folder)
        if not found:
            folders = sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")
            found = tuple(file for one in folders[:_MOST_FILES] for file in _records_in(one))
    except OSError as error:
        raise DataError(
            f"cannot list the folder: {error.strerror or error}",
            expected="a folder of record files",
            mend="name a folder that can be read",
            where=str(error.filename or folder),
        ) from error
    if not found:
        raise DataError(
            "the folder holds no record file",
            expected="files such as train.record or val-00000-of-00010.tfrecord",
            mend="name the record files themselves, and --label_map FILE",
            where=str(folder),
        )
    return found


def _records_in(folder: Path) -> tuple[Path, ...]:
    files = [one for one in sorted(folder.iterdir()) if one.is_file() and one.name[0] != "."]
    named = tuple(one for one in files if is_record_name(one.name))
    return named or tuple(filter(is_record_file, islice(files, _MOST_FILES)))


def is_record_name(name: str) -> bool:
    """Whether a name is one that record files have."""
    return _RECORD.search(name) is not None


def is_record_file(path: Path) -> bool:
    """Whether a file is one of records: by its first length and its checksum, else by its name."""
    try:
        with open(path, "rb") as file:
            head = file.read(FRAME_BYTES)
    except OSError:
        head = b""
    is_named_so = is_record_name(path.name) and not path.name.lower().endswith(_TEXTS)
    return begins_record(head) or is_named_so


def is_label_map_name(name: str) -> bool:
    """Whether a file is named as label maps are: pets_label_map.pbtxt, labelmap.txt."""
    return _LABEL_MAP.fullmatch(os.path.basename(name)) is not None


def label_maps_in(folders: Iterable[Path]) -> Mapping[bytes, Path]:
    """Gives the label maps that lie in folders, by content; of equal ones the first."""
    found = sorted({one for folder in folders for one in folder.glob("*.*")}, reverse=True)
    named = [one for one in found if is_label_map_name(one.name) and one.is_file()]
    usual = [one for one in named if "label_map" in one.name] or named
    return {one.read_bytes(): one for one in usual}


def matched_files(given: str) -> tuple[Path, ...]:
    """Gives the files that a name or a glob stands for.

    None for a text that is not here, and for a pipe or a device, which is no file of records.

    Raises:
        DataError: what is neither here nor named like a text; names what lies beside it.
    """
    path = os.path.expanduser(given)
    if os.path.isfile(path):
        return (Path(path),)
    is_text = path.lower().endswith(_TEXTS) and not glob.has_magic(path)
    return () if is_text or os.path.exists(path) else resolve_patterns([given])
