"""Reads records that were named, once, and says what nobody looked at."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from odapi_repro.datasets.census import (
    Census,
    SplitCensus,
    take_census,
)
from odapi_repro.datasets.census.facts import DataFacts, split_facts
from odapi_repro.datasets.census.manifest_check import choice_of, manifest_faults
from odapi_repro.datasets.census.source_annotations import read_source_annotations
from odapi_repro.datasets.census.source_comparison import SourceComparison, compare_with_source
from odapi_repro.datasets.label_map import LabelMap, read_label_map
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.datasets.record_files import SPLIT_WORDS
from odapi_repro.datasets.source import DataFlags, DataSource, resolve_data
from odapi_repro.diagnosis.record_rule import RecordSubject
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.errors import DataError
from odapi_repro.page.live_line import LiveLine
from odapi_repro.pipeline.parse import STDIN, STDIN_NAME


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
