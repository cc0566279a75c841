"""Where a trial's records come from, for its provenance: digests, counts, and their conversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from odapi_repro.datasets.conversion.manifest import read_manifest
from odapi_repro.datasets.records import RecordManifest
from odapi_repro.trials.study_data import StudyData


def data_provenance(data: StudyData) -> Mapping[str, Any]:
    """Gives, for `train` and `eval`, what the records are and how `data convert` made them.

    `conversion` is there for records in a folder with that command's manifest: what it says of the
    split whose files they are, how many files that has, and which of those that are read have
    `changed` since.

    Raises:
        DataError: a manifest that is damaged or of a newer format.
    """
    return {
        "train": _split(data.train_files, data.train),
        "eval": _split(data.eval_files, data.eval),
    }


def _split(files: Sequence[Path], records: RecordManifest) -> dict[str, Any]:
    found: dict[str, Any] = {
        "digest": records.digest,
        "files": len(records.files),
        "examples": records.num_examples,
    }
    folders = {file.parent for file in files}
    manifest = read_manifest(folders.pop()) if len(folders) == 1 else None
    if manifest is None:
        return found
    names = {file.name for file in files}
    for split in manifest.splits.values():
        listed = {file.name: file.digest for file in split.files}
        if not names <= set(listed):
            continue
        changed = sorted(f.name for f in records.files if listed[f.name] != f.digest)
        found["conversion"] = {
            "split": split.name,
            "identity": split.identity,
            "annotations": split.annotations_name,
            "annotations_sha256": split.annotations_sha256,
            "flags": dict(split.flags),
            "images": dict(split.images),
            "objects": dict(split.annotations),
            "versions": dict(manifest.versions),
            "files_of": len(split.files),
            "changed": changed,
        }
    return found
