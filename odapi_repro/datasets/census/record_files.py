"""Record files as people name them: which files are records, and which split each is of."""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from odapi_repro.datasets.record_names import is_record_name, record_names, split_of
from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.datasets.tfrecord import FRAME_BYTES, begins_record

_TEST = re.compile(r"(?<![a-z])test", re.IGNORECASE)
_FOLDER = re.compile(r"train(ing)?|val(id(ation)?)?|eval(uation)?|test(ing)?", re.IGNORECASE)
_TEXTS = (".config", ".pbtxt", ".txt", ".json", ".csv", ".xml")
_LABEL_MAP = re.compile(r".*label.*map.*\.(pbtxt|txt)", re.IGNORECASE)
_MOST_FILES = 10_000


def is_label_map_name(name: str) -> bool:
    """Whether a file is named as label maps are: pets_label_map.pbtxt, labelmap.txt."""
    return _LABEL_MAP.fullmatch(os.path.basename(name)) is not None


def is_record_file(path: Path) -> bool:
    """Whether a file is one of records: by its first length and its checksum, else by its name."""
    try:
        with open(path, "rb") as file:
            head = file.read(FRAME_BYTES)
    except OSError:
        head = b""
    is_named_so = is_record_name(path.name) and not path.name.lower().endswith(_TEXTS)
    return begins_record(head) or is_named_so


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


def files_of_folder(folder: Path) -> tuple[Path, ...]:
    """Gives the record files in a folder, else those in its folders (train/, valid/).

    Raises:
        DataError: the folder cannot be listed.
    """
    if found := _records_in(folder):
        return found
    folders = sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")
    return tuple(file for one in folders[:_MOST_FILES] for file in _records_in(one))


def _records_in(folder: Path) -> tuple[Path, ...]:
    named = record_names(folder)
    if not named:
        files = (one for one in sorted(folder.iterdir()) if one.is_file() and one.name[0] != ".")
        return tuple(filter(is_record_file, islice(files, _MOST_FILES)))
    return tuple(folder / name for name in named)


def sorted_by_split(files: Sequence[Path]) -> tuple[dict[str, tuple[Path, ...]], tuple[str, ...]]:
    """Gives the files of `train` and of `eval`, and what is to be told of the others, in words.

    The name of a file tells its split, or else that of its folder. Records named test are the
    evaluation's where none are named val; those that say nothing are the training's where none
    are named train.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        found[_split(file.name) or _split_of_folder(file.parent.name) or "other"].append(file)
    told = []
    if found["test"] and not found["eval"]:
        found["eval"] = found.pop("test")
        told.append(
            f"records named val: there are none; taken in their place: {_names(found['eval'])}"
        )
    elif found["test"]:
        told.append(f"records named test: {_names(found['test'])}")
    if found["other"] and not found["train"]:
        found["train"] = found.pop("other")
        told.append(
            "which split these are of, without train, val or test in their names; taken for "
            f"training: {_names(found['train'])}"
        )
    elif found["other"]:
        told.append(f"records without train, val or test in their names: {_names(found['other'])}")
    return {one: tuple(found[one]) for one in ("train", "eval") if found[one]}, tuple(told)


def _split(name: str) -> str:
    split = split_of(name) or ("test" if _TEST.search(name) else "")
    return "eval" if split == "val" else split


def _split_of_folder(name: str) -> str:
    return _split(name) if _FOLDER.fullmatch(name) else ""


def _names(files: Sequence[Path]) -> str:
    more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
    return f"{files[0].name}{more}"
