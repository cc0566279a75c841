""""""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from odapi_repro.datasets.census import Census, SplitCensus, take_census
from odapi_repro.datasets.census.manifest_check import choice_of, manifest_faults
from odapi_repro.datasets.census.source_annotations import read_source_annotations
from odapi_repro.datasets.census.source_comparison import SourceComparison, compare_with_source
from odapi_repro.datasets.census.split_census import DataFacts, split_facts
from odapi_repro.datasets.label_map import LabelMap, read_label_map
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.datasets.other_formats import of_file
from odapi_repro.datasets.record_files import (
    SPLIT_WORDS,
    is_label_map_name,
    is_record_file,
    matched_files,
)
from odapi_repro.datasets.source import EMBEDDED, DataFlags, DataSource, resolve_data
from odapi_repro.diagnosis.outcome import subject_of
from odapi_repro.diagnosis.record_rule import RecordSubject
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.errors import ConfigError, DataError, UserError
from odapi_repro.foreign_text import command_line
from odapi_repro.page.live_line import LiveLine
from odapi_repro.pipeline.parse import STDIN, STDIN_NAME, read_config_argument

# --- What `data check` is given without a flag: a config, a folder, record files, a label map ---


_ANNOTATIONS = (".json", ".xml", ".csv", ".tsv")


def named_without_flags(positional: Sequence[str], flags: DataFlags) -> tuple[list[str], DataFlags]:
    """Tells apart what was named without a flag.

    Args:
        positional: as it was typed.
        flags: as they were typed.

    Returns:
        Configs of pipelines, or what can be nothing else, and the flags with all that is data.

    Raises:
        UserError: data or label maps are named twice, or a file is one of annotations.
        DataError: a file or a glob that is not here.
    """
    configs: list[str] = []
    folders: list[str] = []
    files: list[Path] = []
    label_maps: list[str] = []
    for given in positional:
        is_embedded = given == EMBEDDED and not os.path.exists(given)
        if is_embedded or os.path.isdir(os.path.expanduser(given)):
            folders.append(given)
            continue
        matched = () if given == STDIN else matched_files(given)
        records = [one for one in matched if is_record_file(one)]
        files += records
        for one in () if records else (list(map(str, matched)) or [given]):
            (label_maps if is_label_map_name(one) else configs).append(one)
    _refuse_twice("sets of data", [*folders, flags.data], "one folder, or record files")
    _refuse_twice("label maps", [*label_maps, flags.label_map], "one label map")
    if files and flags.splits:
        raise UserError(
            f"record files were named with --{flags.splits[0]}_records and without a flag "
            f"({files[0]})",
            expected="one of the two; without a flag their names tell training from evaluation",
            mend="name all of them in the same way",
        )
    for one in configs:
        _refuse_annotations(Path(one).expanduser())
    return configs, replace(
        flags,
        data="".join(folders) or flags.data,
        label_map="".join(label_maps) or flags.label_map,
        files=tuple(dict.fromkeys(files)),
    )


def _refuse_twice(what: str, named: Sequence[str], expected: str) -> None:
    given = list(filter(None, named))
    if len(given) > 1:
        raise UserError(
            f"{len(given)} {what} were named: {', '.join(given)}",
            expected=expected,
            mend="call the command once for each",
        )


def _refuse_annotations(path: Path) -> None:
    """Refuses a file of annotations in place of records, with the way to records."""
    if path.suffix.lower() not in _ANNOTATIONS or not path.is_file():
        return
    with open(path, "rb") as file:
        other = of_file(path, file.read(4096))
    name = command_line([str(path)])
    raise UserError(
        other.found if other is not None else "this is a json, and neither records nor a config",
        expected="a pipeline.config, record files, or a folder of them",
        mend=other.mend
        if other is not None
        else f"COCO's json is held against its records with --annotations {name}; it becomes "
        f"records with: python -m odapi_repro.data convert --annotations {name} --image_dir IMAGES "
        "--output_dir FOLDER",
        where=str(path),
    )


def read_config(configs: Sequence[str]) -> Subject | None:
    """Gives the config that is named, None for none.

    Raises:
        UserError: several are named, or one that does not parse or cannot be read.
    """
    if len(configs) > 1:
        raise UserError(
            f"{len(configs)} configs were named",
            expected="one config, or none",
            mend="call the command once for each",
        )
    if not configs:
        return None
    path = named = configs[0]
    try:
        path, text = read_config_argument(named, lenient=True)
    except ConfigError as error:
        if error.mend:
            raise
        raise ConfigError(
            error.found,
            expected=error.expected,
            mend="name another file, or no config: python -m odapi_repro.data check FOLDER",
            where=path,
        ) from error
    subject = subject_of(text, path)
    if subject.text.not_utf8 is not None:
        raise subject.text.not_utf8.refusal(path)
    if subject.text.problems or not subject.pipeline.meta_architecture:
        raise UserError(
            "the config does not parse, or has no model",
            expected="a TrainEvalPipelineConfig in protobuf's text format",
            mend=f"python -m odapi_repro.diagnose {named} tells where",
            where=path,
        )
    return subject


# --- Reads records that were named, once, and says what nobody looked at ---


@dataclass(frozen=True)
class CheckedData:
    """Records that were read, for the rules and for the table."""

    subject: RecordSubject
    facts: DataFacts = field(compare=False)


def check_data(
    flags: DataFlags,
    config: Subject | None,
    *,
    annotations: Mapping[str, str],
    workers: int = 1,
    max_pixels: int = IMAGE_PIXELS,
) -> CheckedData:
    """Reads everything once.

    Unlike a training, it takes what is there: a split alone, shards without their neighbours.

    Args:
        flags: what to read; where they name nothing, the records of the config.
        config: the pipeline to hold it against.
        annotations: split -> the COCO json that it was made from; the embedded set has its own.
        workers: processes.
        max_pixels: pixels that an image may have.

    Raises:
        DataError: nothing of what is named is here, the label map is no text file, or a json is
            not COCO's.
    """
    named = _named(flags, config)
    label_map, error = _read_label_map(named.label_map)
    jsons: dict[str, str | Path] = {**named.annotations, **annotations}
    sources = {split: read_source_annotations(path) for split, path in jsons.items()}
    for split in sources:
        if split not in named.inventories:
            raise DataError(
                f"annotations are named for {SPLIT_WORDS[split]}, and there are none",
                expected="records of that split",
                mend="name them, or leave the annotations out",
            )
    splits = _read(named, workers=workers, max_pixels=max_pixels)
    if not any(file.records or file.fault for split in splits for file in split.files):
        _refuse_empty(splits)
    census = Census(splits, label_map, named.label_map, error)
    compared: dict[str, SourceComparison] = {}
    for one in splits:
        if one.split in sources:
            source = sources[one.split]
            choice = choice_of([file.path for file in one.files], source.path)
            compared[one.split] = compare_with_source(one, source, label_map, choice)
    faults = None
    if named.folder is not None:
        files = [file.path for split in splits for file in split.files]
        faults = manifest_faults(named.folder, files)
    told = [
        f"{SPLIT_WORDS[split]} with {one.path}: {one.equal:,} of {one.boxes:,} boxes equal"
        for split, one in compared.items()
    ]
    if faults is not None:
        told.append(
            "record files (by the checksums stored in them) and label_map.pbtxt with manifest.json "
            f"beside them: {_of_faults(faults)}"
        )
    facts = DataFacts(
        name=named.name,
        splits=tuple(split_facts(split, label_map) for split in splits),
        pipeline=config.text.path if config is not None else "",
        label_map=str(named.label_map or ""),
        compared=tuple(told),
        not_looked_at=(*named.not_looked_at, *_unasked(named, config, compared, label_map)),
    )
    subject = RecordSubject(census, config, compared, manifest_faults=faults or {})
    return CheckedData(subject, facts)


def _named(flags: DataFlags, config: Subject | None) -> DataSource:
    path = "" if config is None else config.text.path
    typed = f"{STDIN if path == STDIN_NAME else path} " if path else ""
    return resolve_data(
        flags,
        config.pipeline if config is not None else None,
        is_whole=False,
        command=f"python -m odapi_repro.data check {typed}",
    )


def _read(named: DataSource, *, workers: int, max_pixels: int) -> tuple[SplitCensus, ...]:
    line = LiveLine()
    line.count_from_now()

    def progress(split: str, done: int, total: int) -> None:
        last = line.is_live and done >= total
        line.update(f"{SPLIT_WORDS[split]}: {done:,} of {total:,}", news=last)

    splits = tuple(
        take_census(
            split,
            inventory,
            workers=workers,
            progress=functools.partial(progress, split),
            say=line.line,
            max_pixels=max_pixels,
        )
        for split, inventory in named.inventories.items()
    )
    line.end()
    return splits


def _of_faults(faults: Mapping[str, str]) -> str:
    if not faults:
        return "none differs"
    return "1 differs" if len(faults) == 1 else f"{len(faults):,} differ"


def _read_label_map(path: Path | None) -> tuple[LabelMap | None, DataError | None]:
    """Gives the label map, or why it cannot be used; a file that is no text is refused."""
    if path is None:
        return None, None
    try:
        return read_label_map(path), None
    except DataError as error:
        try:
            path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise error from None
        return None, error


def _refuse_empty(splits: Sequence[SplitCensus]) -> None:
    files = [file for split in splits for file in split.files]
    raise DataError(
        f"{len(files)} record file(s) hold no record",
        expected="tf.train.Example records",
        mend="write the records again; the tool that wrote them found no images",
        where=str(files[0].path) if files else "",
    )


def _unasked(
    named: DataSource,
    config: Subject | None,
    compared: Mapping[str, SourceComparison],
    label_map: LabelMap | None,
) -> list[str]:
    told = []
    if config is None:
        told.append("sizes of objects at the network's input, and anchors: no config is named")
    if named.label_map is None:
        told.append("names and ids of classes: no label map is named (--label_map FILE)")
    elif label_map is None:
        told.append("names and ids of classes: the label map cannot be used")
    flags = {"train": "--annotations", "eval": "--eval_annotations"}
    absent = [flags[split] for split in named.inventories if split not in compared]
    if absent:
        told.append(
            "objects that are missing or of the wrong class: only the json that the records were "
            f"made from can tell ({' and '.join(absent)} FILE)"
        )
    return told
