"""Which records `data check` looks at: those that flags, names or the config name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from odapi_repro.datasets.census import (
    Inventory,
    file_inventories,
    folder_inventories,
    inventory_of,
)
from odapi_repro.datasets.census.record_files import is_label_map_name
from odapi_repro.datasets.embedded import embedded_dataset
from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.datasets.source import EMBEDDED
from odapi_repro.diagnosis.named_paths import folder_of, input_patterns
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.errors import DataError, shortened
from odapi_repro.pipeline.parse import STDIN, STDIN_NAME

_SPLITS = ("train", "eval")
SPLIT_WORDS = {"train": "training records", "eval": "evaluation records"}
"""What each split is called in sentences."""


@dataclass(frozen=True)
class NamedData:
    """Records that were named, before any is read.

    Attributes:
        name: of the data set.
        inventories: `train` and `eval`, those that are there, in this order.
        label_map_path: None where none is named or found.
        not_looked_at: splits that are not here, and why.
        annotations: split -> the json that is known to belong to it.
        folder: that was named; None where files were.
    """

    name: str
    inventories: Mapping[str, Inventory]
    label_map_path: Path | None
    not_looked_at: tuple[str, ...] = ()
    annotations: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None


def name_data(
    config: Subject | None,
    *,
    data: str = "",
    train_records: str = "",
    eval_records: str = "",
    label_map: str = "",
    files: Sequence[Path] = (),
) -> NamedData:
    """Gives the records that the flags name, else those of the config's readers.

    Unlike a training, it takes what is there: a split alone, shards without their neighbours. Files
    that are named go before those of `data`, which gives the other split and the label map; the
    names of `files` tell their splits.

    Raises:
        DataError: nothing is named, or nothing of what is named is here.
    """
    named = _matched({"train": _patterns(train_records), "eval": _patterns(eval_records)})
    by_name, told = file_inventories(files)
    named = {**by_name, **named}
    if data:
        return _of_data(data, named, label_map, config, told)
    if named:
        return _of_patterns(named, label_map, config, told)
    if config is not None:
        return _of_config(config, label_map)
    raise DataError(
        "no records were named",
        expected="a pipeline.config, record files, or a folder of them",
        mend=f"python -m odapi_repro.data check --data {EMBEDDED}",
    )


def _matched(patterns: Mapping[str, Sequence[str]]) -> dict[str, Inventory]:
    found = {split: inventory_of(patterns[split]) for split in _SPLITS if patterns[split]}
    for split, inventory in found.items():
        if not inventory.files:
            resolve_patterns(patterns[split])  # raises, and names what lies beside it
    return found


def _of_patterns(
    named: Mapping[str, Inventory],
    label_map: str,
    config: Subject | None,
    told: tuple[str, ...],
) -> NamedData:
    files = next(iter(named.values())).files
    missing = tuple(f"{SPLIT_WORDS[one]}: not named" for one in _SPLITS if one not in named)
    name = files[0].name.split(".")[0]
    beside = {file.parent for one in named.values() for file in one.files}
    path, differ = _label_map(label_map, None, config, beside)
    inventories = {split: named[split] for split in _SPLITS if split in named}
    return NamedData(name, inventories, path, (*told, *missing, *differ))


def _of_data(
    data: str,
    named: Mapping[str, Inventory],
    label_map: str,
    config: Subject | None,
    told: tuple[str, ...],
) -> NamedData:
    """Gives what --data names; splits whose files are named one by one are those files.

    The json and the manifest of the whole say nothing about them.
    """
    own: dict[str, Path] = {}
    if data == EMBEDDED:
        made = embedded_dataset()
        folder, name = made.folder, EMBEDDED
        own = {"train": made.instances_train, "eval": made.instances_val}
    else:
        folder = Path(data).expanduser()
        name = folder.resolve().name
    if not folder.is_dir():
        raise DataError(
            f"--data {data} {'is a file' if folder.exists() else 'does not exist'}",
            expected=f"--data {EMBEDDED} or --data FOLDER",
            mend="name the folder of the records, or the files with --train_records",
        )
    try:
        found, of_folder = folder_inventories(folder)
    except DataError:
        if not named:
            raise
        found, of_folder = {}, ()  # it has the label map
    beside = {file.parent for one in found.values() for file in one.files}
    path, differ = _label_map(label_map, folder, config, beside)
    found |= named
    return NamedData(
        name,
        {split: found[split] for split in _SPLITS if split in found},
        path,
        (
            *told,
            *(() if named else of_folder),
            *(f"{SPLIT_WORDS[one]}: the folder holds none" for one in _SPLITS if one not in found),
            *differ,
        ),
        {split: path for split, path in own.items() if split not in named},
        None if data == EMBEDDED or named else folder,
    )


def _of_config(config: Subject, label_map: str) -> NamedData:
    found: dict[str, Inventory] = {}
    missing = []
    for split in _SPLITS:
        patterns = input_patterns(config.pipeline, evaluation=split == "eval")
        here = [one for one in patterns if folder_of(one, look=True) or glob.glob(one)]
        if here:
            found[split] = inventory_of(here)
        elif patterns:
            missing.append(f"{SPLIT_WORDS[split]}: {patterns[0]} is not on this machine")
        else:
            missing.append(f"{SPLIT_WORDS[split]}: the config names none")
    if not any(inventory.files for inventory in found.values()):
        raise DataError(
            "the config names no records that are on this machine"
            + (f" ({missing[0]})" if missing else ""),
            expected="a config whose input_path matches files here",
            mend=f"python -m odapi_repro.data check {_argument(config)} --data FOLDER, or with "
            "--train_records GLOB --label_map FILE",
            where=config.text.path,
        )
    path, _ = _label_map(label_map, None, config, ())
    name = os.path.basename(config.text.path)
    return NamedData(name, found, path, tuple(missing))


def _argument(config: Subject) -> str:
    return STDIN if config.text.path == STDIN_NAME else config.text.path


def _patterns(given: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in given.split(",") if one.strip())


def _label_map(
    named: str, folder: Path | None, config: Subject | None, beside: Iterable[Path]
) -> tuple[Path | None, tuple[str, ...]]:
    """Gives the label map: the flag's, else the folder's only one, else the config's.

    Else that which lies `beside` the records, where all that do are the same; where they are not,
    gives what is to be told of it.
    """
    if named:
        return Path(named).expanduser(), ()
    found: list[Path] = []
    if folder is not None:
        found = sorted({*folder.glob("*label_map*.pbtxt"), *folder.glob("*label_map*.txt")})
    if len(found) > 1:
        raise DataError(
            f"several label maps are there: {', '.join(path.name for path in found)}",
            expected="one label map (*label_map*.pbtxt)",
            mend="name it with --label_map FILE",
            where=str(folder),
        )
    if found:
        return found[0], ()
    own = config.pipeline.proto.train_input_reader.label_map_path if config is not None else ""
    return (Path(own), ()) if own and os.path.isfile(own) else _label_map_beside(beside)


def _label_map_beside(folders: Iterable[Path]) -> tuple[Path | None, tuple[str, ...]]:
    found = sorted(
        path for folder in folders for path in folder.glob("*.*") if is_label_map_name(path.name)
    )
    if len({path.read_bytes() for path in found}) > 1:
        return None, (
            f"which label map is the records', of {len(found)} that differ: "
            + shortened(", ".join(map(str, found))),
        )
    return found[0] if found else None, ()
