"""The manifest of a converted data set: what it was made of, how, and what became of everything."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.datasets.records import RecordFile
from odapi_repro.errors import DataError
from odapi_repro.files import write_whole

MANIFEST_NAME = "manifest.json"
FORMAT = 1
"""The format's version; a reader refuses a newer one."""


@dataclass(frozen=True)
class SplitManifest:
    """One split of a converted data set.

    Attributes:
        name: `train`, `val` ...
        identity: digest of all that decides the records: input, flags, version of the format.
        annotations_name: the json's file name.
        annotations_sha256: of the json.
        flags: the settings that decide the records, by flag.
        images: counts of images: `in_json`, `written`, `without_objects`, `dropped`, ...
        annotations: counts of annotations: `in_json`, `kept`, `clipped` (of those kept), and
            each reason for which others were left out; kept and reasons add up to `in_json`;
            `doubled` (of those kept, with image, class and box of an earlier one) and
            `ids_given_again` (whose id an earlier one has).
        objects: counts of what was seen in the objects written, such as `no_mask`.
        per_class: objects written, by class id of the label map.
        per_size: objects written, by COCO's sizes.
        subset: how far the subset is from the whole; empty where all was taken.
        has_masks: whether masks were written.
        keypoints: names of the keypoints written.
        files: the shards, by name.
        digest: over all shards, as `datasets.records.manifest` makes it.
    """

    name: str
    identity: str
    annotations_name: str
    annotations_sha256: str
    flags: Mapping[str, Any]
    images: Mapping[str, int]
    annotations: Mapping[str, int]
    objects: Mapping[str, int]
    per_class: Mapping[int, int]
    per_size: Mapping[str, int]
    subset: Mapping[str, Any]
    has_masks: bool
    keypoints: tuple[str, ...]
    files: tuple[RecordFile, ...]
    digest: str


@dataclass(frozen=True)
class DatasetManifest:
    """A folder of records that `data convert` made.

    Attributes:
        label_map_sha256: of label_map.pbtxt.
        num_classes: what a pipeline's `num_classes` must be at least.
        versions: of this package and of what the records' bytes depend on.
        splits: by name.
    """

    label_map_sha256: str
    num_classes: int
    versions: Mapping[str, str]
    splits: Mapping[str, SplitManifest]


def read_manifest(folder: str | os.PathLike[str]) -> DatasetManifest | None:
    """Gives the manifest of a folder, None where there is none.

    Raises:
        DataError: it cannot be read, is damaged, or of a newer format.
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict) or "conversion" not in content:
        return None  # another program's manifest
    if not isinstance(content["conversion"], int) or content["conversion"] > FORMAT:
        raise DataError(
            f"the manifest is of format {content['conversion']!r}, newer than this program's",
            expected=f"format {FORMAT} or older",
            mend="use the version of odapi_repro that wrote it, or convert again",
            where=str(path),
        )
    try:
        return DatasetManifest(
            label_map_sha256=content["label_map_sha256"],
            num_classes=content["num_classes"],
            versions=content["versions"],
            splits={name: _split(name, split) for name, split in content["splits"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def write_manifest(manifest: DatasetManifest, folder: Path) -> None:
    """Writes the manifest into a folder, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    content = {"conversion": FORMAT, **dataclasses.asdict(manifest)}
    for split in content["splits"].values():
        del split["name"]
        split["per_class"] = {str(key): count for key, count in split["per_class"].items()}
    write_whole(folder / MANIFEST_NAME, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _split(name: str, content: Mapping[str, Any]) -> SplitManifest:
    fields = {
        **content,
        "per_class": {int(key): count for key, count in content["per_class"].items()},
        "keypoints": tuple(content["keypoints"]),
        "files": tuple(RecordFile(**file) for file in content["files"]),
    }
    return SplitManifest(name=name, **fields)


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"the manifest does not read ({reason})",
        expected="a manifest as `data convert` writes it",
        mend="remove it and convert again",
        where=str(path),
    )
