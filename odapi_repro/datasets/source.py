"""Which records and which label map: from the data flags, or the readers of a config."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from odapi_repro.datasets.embedded import embedded_dataset
from odapi_repro.datasets.record_files import (
    SPLIT_WORDS,
    SPLITS,
    Inventory,
    by_split,
    file_inventories,
    files_of_folder,
    folder_inventories,
    inventory_of,
    label_maps_in,
    set_name,
    shard_sets,
)
from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.errors import DataError, shortened
from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.named_paths import folder_of, input_patterns, is_placeholder

EMBEDDED = "embedded"
"""The name of the embedded data set on the command line."""

MADE_ONCE = "the embedded shapes set (made once, in about half a minute)"
"""What a command says before it is made."""

_BEGINNINGS = {"train": "train*", "eval": "val*"}


@dataclass(frozen=True)
class DataFlags:
    """What a user names, as typed; an empty text where nothing is.

    Attributes:
        data: `embedded`, or a folder of records and a label map.
        train_records, eval_records: globs, comma-separated; they go before those of `data`.
        label_map: a file; it goes before all others.
        files: records whose names tell their splits; as globs, they go before those of `data`.
    """

    data: str = ""
    train_records: str = ""
    eval_records: str = ""
    label_map: str = ""
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, flags: Any) -> Self:
        """Gives what was typed of the flags that `Command.data_flags` defines; no default is."""

        def typed(name: str) -> str:
            return str(flags[name].value or "") if name in flags and flags[name].present else ""

        return cls(typed("data"), typed("train_records"), typed("eval_records"), typed("label_map"))

    def globs(self, split: str) -> tuple[str, ...]:
        """The globs of a split, one by one."""
        given = self.train_records if split == "train" else self.eval_records
        return tuple(filter(None, map(str.strip, given.split(","))))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are named by globs."""
        return tuple(split for split in SPLITS if self.globs(split))


@dataclass(frozen=True)
class DataSource:
    """Records that were named, before any is read.

    Attributes:
        name: `embedded`, the folder's name, or that of the first files: folder/stem.
        inventories: files by split, `train` and `eval`, those that are there, in this order.
        label_map: not yet read; None only where it need not be there.
        not_looked_at: what is not here or not told by names, and why, in words.
        annotations: split -> the json that is known to belong to it.
        folder: where all of it lies, where a folder was named.
        of_config: whether the readers of the config name the records, and no flag.
        reason: why these, in words, where no flag named any; empty where nobody will wonder.
    """

    name: str
    inventories: Mapping[str, Inventory]
    label_map: Path | None
    not_looked_at: tuple[str, ...] = ()
    annotations: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None
    of_config: bool = False
    reason: str = ""

    @property
    def label_map_path(self) -> Path:
        """The label map of a source that has one."""
        assert self.label_map is not None
        return self.label_map

    def files(self, split: str) -> tuple[Path, ...]:
        """The record files of a split, sorted."""
        return self.inventories[split].files

    def reading(self, files: Mapping[str, Sequence[Path]]) -> Self:
        """Gives the source with other files of some splits."""
        others = {split: Inventory(tuple(these)) for split, these in files.items()}
        return replace(self, inventories={**self.inventories, **others})


@dataclass(frozen=True)
class _Request:
    """The arguments of `resolve_data`."""

    flags: DataFlags
    pipeline: Pipeline | None
    splits: tuple[str, ...]
    is_whole: bool
    otherwise: str
    command: str

    def by_flags(self, there: Mapping[str, str] | None = None) -> str:
        """The flags that name the splits one by one; `GLOB` for those not in `there`."""
        globs = {split: (there or {}).get(split, "GLOB") for split in self.splits}
        return " ".join([f"--{one}_records '{globs[one]}'" for one in globs] + ["--label_map FILE"])


def resolve_data(
    flags: DataFlags,
    pipeline: Pipeline | None = None,
    *,
    splits: Sequence[str] = SPLITS,
    is_whole: bool = True,
    embedded_instead: bool = False,
    before_embedded: Callable[[str], object] = lambda reason: None,
    otherwise: str = "",
    command: str = "",
) -> DataSource:
    """Gives the records and the label map that the flags name, or else the readers of a config.

    The label map is that of the flag, else that in the folder of `--data`, else the config's, else
    that which lies beside the records; of several that differ none is.

    Args:
        flags: what was named.
        pipeline: the config that is to read the records, where there is one.
        splits: those that are wanted, of `train` and `eval`.
        is_whole: every wanted split has to be there, with all of its shards where a folder was
            named, and a label map; else what is there is taken, guessed by names where they do not
            tell, and `not_looked_at` says what is missing.
        embedded_instead: a config that names no record on this machine means the embedded set.
        before_embedded: called with `reason` before the embedded set is made, in half a minute.
        otherwise: what the command takes beside, for messages: its flags.
        command: what the flags are typed behind, for messages; by default they stand alone.

    Raises:
        DataError: nothing is named, or what is wanted is missing, incomplete or ambiguous.
    """
    request = _Request(flags, pipeline, tuple(splits), is_whole, otherwise, command)
    named, told = _named(request)
    reason = ""
    if not named and not flags.data:
        found = _of_config(request, embedded_instead=embedded_instead)
        if isinstance(found, DataSource):
            return found
        reason = found
        request = replace(request, flags=replace(flags, data=EMBEDDED))
    lacking = [split for split in splits if split not in named]
    if not request.flags.data or (request.flags.data == EMBEDDED and is_whole and not lacking):
        missing = tuple(f"{SPLIT_WORDS[one]}: not named" for one in lacking)
        return _source(request, named, told=(*told, *missing))
    if request.flags.data == EMBEDDED:
        if request.flags.label_map and request.is_whole:
            raise DataError(
                "--label_map is given with --data embedded",
                expected="no label map: the embedded data set has its own",
                mend="leave --label_map out, or name your records",
            )
        if not named:
            before_embedded(reason)
    source = _of_data(request, named, told)
    # Nobody wonders where a config names nothing at all.
    return replace(source, reason=reason if reason and _paths(request) else "")


def _named(request: _Request) -> tuple[dict[str, Inventory], tuple[str, ...]]:
    """Gives the files that are named one by one or by globs, and what is to be told of them."""
    flags = request.flags
    lacking = [split for split in request.splits if split not in flags.splits]
    if request.is_whole and flags.splits and lacking and not flags.data:
        without = f"--{lacking[0]}_records"
        raise DataError(
            f"--{flags.splits[0]}_records is given without {without}",
            expected=f"{' and '.join(SPLIT_WORDS[one] for one in request.splits)}, as globs",
            mend=f"add {without}, or {request.otherwise or '--data FOLDER for them'}",
        )
    found, told = file_inventories(flags.files)
    for split in flags.splits:
        found[split] = inventory_of(flags.globs(split))
        if found[split].unmatched and (request.is_whole or not found[split].files):
            resolve_patterns(flags.globs(split))  # raises, and names what lies beside it
    return found, told


def _of_data(
    request: _Request, named: Mapping[str, Inventory], told: tuple[str, ...]
) -> DataSource:
    """Gives what --data names; splits whose files are named one by one are those files.

    The json and the manifest of the whole say nothing about them.
    """
    annotations: dict[str, Path] = {}
    if request.flags.data == EMBEDDED:
        made = embedded_dataset()
        folder, name = made.folder, EMBEDDED
        annotations = {"train": made.instances_train, "eval": made.instances_val}
    else:
        folder = _folder(request)
        name = folder.resolve().name
    found: dict[str, Inventory] = {}
    of_folder: tuple[str, ...] = ()
    if request.is_whole:
        found = _whole(request, folder, [one for one in request.splits if one not in named])
    else:
        try:
            found, of_folder = folder_inventories(folder)
        except DataError:
            if not named:
                raise  # else it has the label map
    missing = [one for one in request.splits if one not in found and one not in named]
    source = _source(
        request,
        {**found, **named},
        folder=folder,
        told=(
            *told,
            *(() if named else of_folder),
            *(f"{SPLIT_WORDS[one]}: the folder holds none" for one in missing),
        ),
    )
    return replace(
        source,
        name=name if found else source.name,
        annotations={one: path for one, path in annotations.items() if one not in named},
        folder=None if annotations or named else folder,
    )


def _source(
    request: _Request,
    found: Mapping[str, Inventory],
    *,
    told: tuple[str, ...],
    folder: Path | None = None,
) -> DataSource:
    inventories = {one: found[one] for one in SPLITS if one in found}
    files = [file for split in inventories for file in inventories[split].files]
    path, differ = _label_map(request, folder, {file.parent for file in files})
    return DataSource(set_name(files[0]), inventories, path, (*told, *differ))


def _folder(request: _Request) -> Path:
    data = request.flags.data
    folder = Path(data).expanduser()
    if folder.is_dir():
        return folder
    near = difflib.get_close_matches(data.lower(), [EMBEDDED], n=1, cutoff=0.6)
    by_flags = request.by_flags()
    raise DataError(
        f"--data {data} {'is a file' if folder.exists() else 'does not exist'}",
        expected=f"--data {EMBEDDED}, --data FOLDER, or {by_flags}",
        mend=f"did you mean '{EMBEDDED}'?"
        if near
        else f"name the folder that holds the records, or the files: {by_flags}",
    )


def _whole(request: _Request, folder: Path, wanted: Sequence[str]) -> dict[str, Inventory]:
    """Gives the wanted splits of a folder with all their shards, as their names tell them."""
    if not wanted:
        return {}
    files = files_of_folder(folder)
    found = by_split(files)
    missing = [split for split in wanted if split not in found]
    if missing:
        there = {split: _glob(found[split]) for split in SPLITS if split in found}
        unnamed = found.get("test" if "eval" in missing else "") or found.get("")
        if unnamed and len(missing) == 1:
            there[missing[0]] = _glob(unnamed)
        listed = ", ".join(one.name for one in files[:3]) + (", ..." if len(files) > 3 else "")
        raise DataError(
            f"no record file is named {' or '.join(_BEGINNINGS[one] for one in missing)} "
            f"(there: {listed})",
            expected=f"{' and '.join(_BEGINNINGS[one] for one in wanted)} record files",
            mend=f"name the files: {request.by_flags(there)} (or others)",
            where=str(folder),
        )
    inventories = {one: Inventory(found[one], shard_sets(found[one])) for one in wanted}
    for split, inventory in inventories.items():
        for shards in inventory.shard_sets:
            if shards.missing:
                # Doing with what is left must be the user's own wish.
                there = {split: str(inventory.files[0].parent / shards.name)}
                raise DataError(
                    f"{len(shards.present)} of {shards.total} shards of {shards.name} are there; "
                    f"the first that is missing is number {shards.missing[0]}",
                    expected="all shards",
                    mend=f"copy the others, or name what is there: {request.by_flags(there)}",
                    where=str(folder),
                )
    return inventories


def _glob(files: Sequence[Path]) -> str:
    """Gives a glob of the first set of shards, or else the first file."""
    for shards in shard_sets(files):
        return str(files[0].parent / shards.name)
    return str(files[0])


def _paths(request: _Request) -> list[str]:
    """The paths of records that the config names, without placeholders."""
    patterns = [one for split in request.splits for one in _patterns(request, split)]
    return [one for one in patterns if not is_placeholder(one)]


def _patterns(request: _Request, split: str) -> list[str]:
    if request.pipeline is None:
        return []
    return [one for one in input_patterns(request.pipeline, evaluation=split == "eval") if one]


def _of_config(request: _Request, *, embedded_instead: bool) -> DataSource | str:
    """Gives the records of the config's readers, or why the embedded set is meant in their place.

    A file that is here counts, whatever its path looks like.
    """
    if request.pipeline is None:
        raise DataError(
            "no records were named, and there is no config whose readers name them",
            expected=f"{request.otherwise and f'{request.otherwise}, '}--data {EMBEDDED}, --data "
            f"FOLDER, {request.by_flags()}, or a pipeline.config whose records are here",
            mend=f"{request.command}--data {EMBEDDED} takes the embedded shapes",
        )
    config = Path(request.pipeline.path).name
    found: dict[str, Inventory] = {}
    lacking: dict[str, str] = {}
    expected = ""
    for split in request.splits:
        patterns = _patterns(request, split)
        absent = inventory_of(patterns).unmatched
        if not request.is_whole:
            # Where the folder is here, a pattern that matches nothing is a finding.
            absent = tuple(one for one in absent if not folder_of(one, look=True))
        here = [one for one in patterns if one not in absent]
        if here:
            found[split] = inventory_of(here)
        if absent and (request.is_whole or not here):
            kind = ", a placeholder" if is_placeholder(absent[0]) else ""
            lacking[split] = f"no file matches '{absent[0]}'{kind}"
            expected = expected or _beside(absent[0])
        elif not patterns:
            lacking[split] = "the config names none"
    has_files = any(inventory.files for inventory in found.values())
    if embedded_instead and not has_files:
        return _embedded_reason(request, config)
    missing = tuple(f"{SPLIT_WORDS[split]}: {text}" for split, text in lacking.items())
    if not has_files or (request.is_whole and missing):
        what = (
            "only some of the records that the config names are on this machine"
            if has_files
            else "the config names no data, or they are not on this machine"
        )
        raise DataError(
            f"{what} ({'; '.join(missing)})",
            expected=expected or "a config whose input_path matches files here",
            mend=f"correct the config, or name them: {request.command}--data FOLDER (or "
            f"{EMBEDDED}), or {request.by_flags()}",
            where=request.pipeline.path,
        )
    listed = ", ".join(one for split in found for one in _patterns(request, split))
    reason = f"the records that the readers of {config} name, since no flag names any: {listed}"
    return replace(_source(request, found, told=missing), of_config=True, reason=reason)


def _beside(pattern: str) -> str:
    """Gives what lies beside the file that a pattern may mean."""
    try:
        resolve_patterns([pattern])
    except DataError as error:
        return error.expected
    return ""


def _embedded_reason(request: _Request, config: str) -> str:
    if not (paths := _paths(request)):
        return (
            f"the embedded shapes: {config} names no records of its own; --data FOLDER, or "
            f"{request.by_flags()} name yours"
        )
    return (
        f"the embedded shapes, and not the records of {config}: "
        f"{', '.join(map(repr, paths))}, which its readers name, cannot be found on this machine; "
        f"--data FOLDER, or {request.by_flags()} name them where they are"
    )


def _label_map(
    request: _Request, folder: Path | None, beside: Iterable[Path]
) -> tuple[Path | None, tuple[str, ...]]:
    """Gives the label map, and what is to be told where it cannot be known."""
    if request.flags.label_map:
        return Path(request.flags.label_map).expanduser(), ()
    own: list[Path] = []
    if request.pipeline is not None:
        proto = request.pipeline.proto
        readers = [proto.train_input_reader, *proto.eval_input_reader[:1]]
        readers = readers if "train" in request.splits else readers[::-1]
        own = [Path(one.label_map_path).expanduser() for one in readers if one.label_map_path]
    here = [one for one in own if one.is_file()]
    found = list(label_maps_in([folder] if folder else []).values()) or here[:1]
    found = found or list(label_maps_in(beside).values())
    if len(found) == 1:
        return found[0], ()
    if not request.is_whole:
        names = shortened(", ".join(map(str, sorted(found))))
        differ = f"which label map is the records', of {len(found)} that differ: {names}"
        return None, (differ,) if found else ()
    absent = f"; '{own[0]}', which the config names, is not on this machine" if own else ""
    raise DataError(
        f"several label maps are there: {', '.join(sorted(one.name for one in found))}"
        if found
        else f"no label map is named or found{absent}",
        expected="one label map (*label_map*.pbtxt)",
        mend="name it with --label_map FILE",
        where=str(folder) if folder is not None else "",
    )
