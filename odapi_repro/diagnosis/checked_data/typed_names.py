"""What `data check` is given without a flag: a config, a folder, record files, a label map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from odapi_repro.datasets.other_formats import of_file
from odapi_repro.datasets.record_files import (
    is_label_map_name,
    is_record_file,
    matched_files,
)
from odapi_repro.datasets.source import EMBEDDED, DataFlags
from odapi_repro.diagnosis.engine import subject_of
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.errors import ConfigError, UserError
from odapi_repro.foreign_text import command_line
from odapi_repro.pipeline.parse import STDIN, read_config_argument

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
