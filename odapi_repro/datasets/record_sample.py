"""Some records of many files, chosen by a seed without reading the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from odapi_repro.datasets.tfrecord import masked_crc32c, read_frames
from odapi_repro.errors import DataError

__all__ = ["sample_records"]

# uint64 length and its checksum before the data, the data's checksum after it.
_BEFORE, _AFTER = 12, 4


def sample_records(files: Sequence[Path], count: int, seed: int) -> tuple[bytes, ...]:
    """Gives `count` records of all files, or all there are, in the order of the files.

    Every record is as likely as any other. Only the frames of those not chosen are read.

    Raises:
        DataError: no records at all, a file that cannot be read or is truncated, or a chosen
            record whose checksum does not match.
    """
    places: list[tuple[Path, int, int, int]] = []
    for file in files:
        offset = 0
        for length, checksum in read_frames(file):
            places.append((file, offset + _BEFORE, length, checksum))
            offset += _BEFORE + length + _AFTER
    if not places:
        raise DataError(
            "there is no record to draw from",
            expected="record files with at least one example",
            mend="name record files that hold images",
            where=", ".join(map(str, files[:3])),
        )
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(places), size=min(count, len(places)), replace=False)
    return tuple(_record(*places[i]) for i in sorted(chosen.tolist()))


def _record(file: Path, offset: int, length: int, checksum: int) -> bytes:
    with open(file, "rb") as stream:
        stream.seek(offset)
        data = stream.read(length)
    if masked_crc32c(data) != checksum:
        raise DataError(
            f"corrupt TFRecord: the checksum of the data at byte {offset} does not match",
            expected="a TFRecord file whose checksums hold",
            mend="copy or write the file again",
            where=str(file),
        )
    return data
