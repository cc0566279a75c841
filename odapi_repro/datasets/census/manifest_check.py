"""Record files against the manifest that `data convert` left beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from odapi_repro.datasets.conversion.manifest import MANIFEST_NAME, read_manifest
from odapi_repro.datasets.records import manifest
from odapi_repro.errors import DataError

_LABEL_MAP = "label_map.pbtxt"  # as `data convert` names it


@dataclass(frozen=True)
class Choice:
    """What a conversion was to take of a json.

    Attributes:
        images_left_out: images of the json that it was not to take.
        classes: names of the classes that it was to take; None for all.
    """

    images_left_out: int = 0
    classes: frozenset[str] | None = None


def choice_of(files: Sequence[Path], annotations: Path) -> Choice | None:
    """Gives what was chosen when a json became these files, by the manifest beside them.

    None where no manifest tells: there is none, it does not read, or it tells of another json (by
    its sha256) or of other files.
    """
    if not files:
        return None
    try:
        told = read_manifest(files[0].parent)
    except DataError:
        return None
    names = {path.name for path in files}
    for split in told.splits.values() if told is not None else ():
        if names.isdisjoint(file.name for file in split.files):
            continue
        if split.annotations_sha256 == _sha256(annotations):
            classes = frozenset(split.flags.get("classes") or ())
            return Choice(split.images.get("not_chosen", 0), classes or None)
    return None


def manifest_faults(folder: Path, files: Sequence[Path]) -> dict[str, str] | None:
    """Gives file -> why it is not what the folder's manifest says; None without a manifest.

    Record files are told apart by the checksums that stand beside each record, which are read and
    the data not; the label map by its bytes. Files of other splits than those of `files` (test
    beside val) are compared too. A manifest that cannot be read is a fault by its own name.
    """
    try:
        told = read_manifest(folder)
    except DataError as error:
        return {MANIFEST_NAME: error.found}
    if told is None:
        return None
    named = {file.name: file for split in told.splits.values() for file in split.files}
    faults: dict[str, str] = {}
    others = (folder / name for name in named)
    for path in sorted({*files, *filter(Path.is_file, others)}):
        known = named.pop(path.name, None)
        if known is None:
            faults[path.name] = "the manifest does not name it"
            continue
        try:
            found = manifest([path]).files[0]
        except DataError as error:
            faults[path.name] = error.found
            continue
        if found.num_examples != known.num_examples:
            faults[path.name] = (
                f"{found.num_examples:,} records, and {known.num_examples:,} in the manifest"
            )
        elif found.digest != known.digest:
            faults[path.name] = "other records than in the manifest"
    faults |= dict.fromkeys(sorted(named), "it is not there")
    label_map = folder / _LABEL_MAP
    if not label_map.is_file():
        faults[_LABEL_MAP] = "it is not there"
    elif _sha256(label_map) != told.label_map_sha256:
        faults[_LABEL_MAP] = "another label map than in the manifest"
    return faults


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
