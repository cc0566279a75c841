"""Which records to train and to evaluate on, from what the user named on the command line."""

from __future__ import annotations

import collections
import difflib
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.embedded import EmbeddedDataset, embedded_dataset
from odapi_repro.datasets.label_map import read_label_map
from odapi_repro.datasets.record_names import SHARD, record_names, split_of
from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import DataError

EMBEDDED = "embedded"
"""The name of the embedded data set on the command line."""

_MASK_PEEK = 20  # images to look at before deciding that records hold no masks
_FLAGS = {"train": "--train_records", "val": "--eval_records"}
_BOTH = ("train", "val")


@dataclass(frozen=True)
class EvalSource:
    """Records to evaluate on and their label map.

    Attributes:
        name: `embedded` or the folder's name.
        eval_patterns: globs of the evaluation records.
        label_map_path: the label map, not yet read.
    """

    name: str
    eval_patterns: tuple[str, ...]
    label_map_path: Path


@dataclass(frozen=True)
class SplitsSource:
    """Records of one split or both and their label map.

    Attributes:
        name: `embedded` or the folder's name.
        patterns: globs of the records, by split.
        label_map_path: the label map, not yet read.
    """

    name: str
    patterns: Mapping[str, tuple[str, ...]]
    label_map_path: Path


@dataclass(frozen=True)
class DataSource:
    """Records and label map of one data set.

    Attributes:
        name: `embedded`, the folder's name, or the first training file's.
        train_patterns: globs of the training records.
        eval_patterns: globs of the evaluation records.
        label_map_path: the label map, known to parse.
        has_masks: whether the first training images with boxes hold PNG masks.
    """

    name: str
    train_patterns: tuple[str, ...]
    eval_patterns: tuple[str, ...]
    label_map_path: Path
    has_masks: bool


def resolve_data_source(
    data: str = "",
    train_records: str | Sequence[str] | None = None,
    eval_records: str | Sequence[str] | None = None,
    label_map: str | os.PathLike[str] | None = None,
) -> DataSource:
    """Gives the data source that the flags name.

    `train_records` and `eval_records` (globs, given together) go before `data`, which then only
    serves to find the label map. `data` is `embedded` or a folder that holds record files with
    `train` and `val` (or `eval`) in their names and one `*label_map*.pbtxt`.

    Raises:
        DataError: anything missing, ambiguous, unreadable or incomplete.
    """
    train, evaluation = _patterns(train_records), _patterns(eval_records)
    if train or evaluation:
        return _explicit(data, train, evaluation, label_map)
    found = resolve_splits(data, _BOTH, label_map)
    train, evaluation = (found.patterns[split] for split in _BOTH)
    if data == EMBEDDED:
        return DataSource(EMBEDDED, train, evaluation, found.label_map_path, has_masks=True)
    return _checked(found.name, train, evaluation, found.label_map_path)


def resolve_eval_source(data: str, label_map: str | os.PathLike[str] | None = None) -> EvalSource:
    """Gives what to evaluate on, where nothing is to be trained.

    `data` is `embedded` or a folder that holds record files with `val` (or `eval`) in their names;
    training records may lie beside them, whole or not.

    Raises:
        DataError: anything missing or ambiguous.
    """
    found = resolve_splits(data, ("val",), label_map)
    return EvalSource(found.name, found.patterns["val"], found.label_map_path)


def resolve_splits(
    data: str, splits: Sequence[str], label_map: str | os.PathLike[str] | None = None
) -> SplitsSource:
    """Gives the records of some splits, `train` and `val`, and their label map, not yet read.

    `data` is `embedded` or a folder that holds record files with the splits in their names; those
    of a split that is not asked for may lie beside them, whole or not.

    Raises:
        DataError: anything missing or ambiguous.
    """
    if data == EMBEDDED:
        made = _embedded(label_map)
        both = {"train": (made.train_pattern,), "val": (made.val_pattern,)}
        return SplitsSource(EMBEDDED, {one: both[one] for one in splits}, made.label_map_path)
    folder = _folder(data, splits)
    by_split = _record_files(folder, splits)
    label_map_path = _label_map(label_map, folder)
    patterns = {one: _collapsed(folder, by_split[one], splits) for one in splits}
    return SplitsSource(folder.resolve().name, patterns, label_map_path)


def _embedded(label_map: str | os.PathLike[str] | None) -> EmbeddedDataset:
    if label_map:
        raise DataError(
            "--label_map is given with --data embedded",
            expected="no label map: the embedded data set has its own",
            mend="leave --label_map out, or name your records",
        )
    return embedded_dataset()


def _explicit(
    data: str,
    train: tuple[str, ...],
    evaluation: tuple[str, ...],
    label_map: str | os.PathLike[str] | None,
) -> DataSource:
    if not train or not evaluation:
        missing = "--eval_records" if train else "--train_records"
        raise DataError(
            f"{'--train_records' if train else '--eval_records'} is given without {missing}",
            expected="both, as globs of record files",
            mend=f"add {missing}",
        )
    folder = Path(data).expanduser() if data and data != EMBEDDED else None
    if folder is not None:
        folder = _folder(data, _BOTH)
    name = Path(resolve_patterns(train)[0]).name.split(".")[0]
    return _checked(name, train, evaluation, _label_map(label_map, folder))


def _checked(
    name: str, train: tuple[str, ...], evaluation: tuple[str, ...], label_map_path: Path
) -> DataSource:
    files = resolve_patterns(train)
    resolve_patterns(evaluation)
    read_label_map(label_map_path)
    return DataSource(name, train, evaluation, label_map_path, _has_masks(files))


def _patterns(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if not given:
        return ()
    texts = [given] if isinstance(given, str) else given
    patterns = (pattern.strip() for text in texts for pattern in text.split(","))
    return tuple(pattern for pattern in patterns if pattern)


def _named(splits: Sequence[str], records: str | Mapping[str, str]) -> str:
    """The flags that name the records of `splits`, and their label map.

    `records` is what all of them are named by, or one name by split; `GLOB` for those it lacks.
    """
    by_split = dict.fromkeys(splits, records) if isinstance(records, str) else records
    flags = [f"{_FLAGS[split]} '{by_split.get(split, 'GLOB')}'" for split in splits]
    return " ".join([*flags, "--label_map FILE"])


def _folder(data: str, wanted: Sequence[str]) -> Path:
    folder = Path(data).expanduser()
    if data and folder.is_dir():
        return folder
    near = difflib.get_close_matches(data.lower(), [EMBEDDED], n=1, cutoff=0.6)
    if not data:
        found = "no data is named"
    elif folder.exists():
        found = f"--data {data} is a file"
    else:
        found = f"--data {data} does not exist"
    raise DataError(
        found,
        expected=f"--data {EMBEDDED}, --data FOLDER, or {_named(wanted, 'GLOB')}",
        mend=f"did you mean '{EMBEDDED}'?" if near else "name a folder that holds the records",
    )


def _record_files(folder: Path, wanted: Sequence[str]) -> dict[str, list[str]]:
    """Gives the names of the record files in `folder` by split; those wanted have some."""
    records = record_names(folder)
    by_split: dict[str, list[str]] = {"train": [], "val": []}
    for name in records:
        if split := split_of(name):
            by_split[split].append(name)
    if not records:
        raise DataError(
            "the folder holds no record file",
            expected="files such as train.record or val-00000-of-00010.tfrecord",
            mend=f"name the files: {_named(wanted, 'GLOB')}",
            where=str(folder),
        )
    missing = [split for split in wanted if not by_split[split]]
    if missing:
        listed = ", ".join(records[:3]) + (", ..." if len(records) > 3 else "")
        there = {one: str(folder / _set_of(names[0])) for one, names in by_split.items() if names}
        unnamed = [name for name in records if not any(name in one for one in by_split.values())]
        if unnamed and len(wanted) == 1:
            there[wanted[0]] = str(folder / _set_of(unnamed[0]))
        raise DataError(
            f"no record file is named {' or '.join(f'{split}*' for split in missing)} "
            f"(there: {listed})",
            expected=f"{' and '.join(f'{split}*' for split in wanted)} record files",
            mend=f"name the files: {_named(wanted, there)} (or others)",
            where=str(folder),
        )
    return by_split


def _set_of(name: str) -> str:
    """Gives a glob of the shards of which a record file is one, or its own name."""
    match = SHARD.fullmatch(name)
    return f"{match['stem']}-*-of-{match['total']}{match['suffix']}" if match else name


def _collapsed(folder: Path, names: Iterable[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Gives globs for `names`: one for each whole set of shards, one for each single file.

    Raises:
        DataError: a set lacks shards; doing with what is left must be the user's own wish.
    """
    patterns: list[str] = []
    shards: dict[tuple[str, str, str], list[int]] = collections.defaultdict(list)
    for name in names:
        match = SHARD.fullmatch(name)
        if match:
            shards[match["stem"], match["total"], match["suffix"]].append(int(match["index"]))
        else:
            patterns.append(str(folder / name))
    for (stem, total, suffix), indices in shards.items():
        wild = "?" * len(total)
        pattern = str(folder / f"{stem}-{wild}-of-{total}{suffix}")
        absent = sorted(set(range(int(total))) - set(indices))
        if absent:
            raise DataError(
                f"{len(indices)} of {int(total)} shards of {Path(pattern).name} are there; the "
                f"first that is missing is number {absent[0]}",
                expected="all shards",
                mend=f"copy the others, or name what is there: {_named(wanted, pattern)}",
                where=str(folder),
            )
        patterns.append(pattern)
    return tuple(sorted(patterns))


def _label_map(named: str | os.PathLike[str] | None, folder: Path | None) -> Path:
    if named:
        return Path(named).expanduser()
    found: list[Path] = []
    if folder is not None:
        found = sorted({*folder.glob("*label_map*.pbtxt"), *folder.glob("*label_map*.txt")})
    if len(found) == 1:
        return found[0]
    listed = ", ".join(path.name for path in found)
    raise DataError(
        f"several label maps are there: {listed}" if found else "no label map is named or found",
        expected="one label map (*label_map*.pbtxt)",
        mend="name it with --label_map FILE",
        where=str(folder) if folder is not None else "",
    )


def _has_masks(files: Sequence[Path]) -> bool:
    records = itertools.chain.from_iterable(read_records(file) for file in files)
    for data in itertools.islice(records, _MASK_PEEK):
        image = AnnotatedImage.from_example(data)
        if len(image.boxes):
            return bool(image.masks_png)
    return False
