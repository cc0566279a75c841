"""Record files against the manifest that `data convert` left beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from odapi_repro.datasets.conversion.manifest import read_manifest
from odapi_repro.datasets.records import manifest
from odapi_repro.errors import DataError

__all__ = ["manifest_faults"]


def manifest_faults(folder: Path, files: Sequence[Path]) -> dict[str, str] | None:
    """Gives file -> why it is not what the folder's manifest says; None without a manifest.

    Files are told apart by the checksums that stand beside each record, which are read and the data
    not. A manifest that cannot be read is a fault by its own name.
    """
    try:
        told = read_manifest(folder)
    except DataError as error:
        return {"manifest.json": error.found}
    if told is None:
        return None
    named = {file.name: file for split in told.splits.values() for file in split.files}
    faults: dict[str, str] = {}
    for path in sorted(files):
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
    return faults
