"""Records of several files by number, read from disk one at a time, and some drawn by a seed."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from odapi_repro.datasets.tfrecord import FRAME_BYTES, read_frames, read_record_at
from odapi_repro.errors import DataError


class RecordAccess:
    """The records of `files`, numbered through in the order of the files.

    Every length is read at once (two short reads a record), data when it is asked for; files may
    be larger than memory.

    Raises:
        DataError: a file cannot be read, is truncated, or a checksum does not hold.
    """

    def __init__(self, files: Sequence[str | os.PathLike[str]]) -> None:
        self._places: list[tuple[str | os.PathLike[str], int]] = []
        for file in files:
            offset = 0
            for length, _ in read_frames(file):
                self._places.append((file, offset))
                offset += length + FRAME_BYTES

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> bytes:
        return read_record_at(*self._places[index])


def sample_records(
    files: Sequence[str | os.PathLike[str]], count: int, seed: int
) -> tuple[bytes, ...]:
    """Gives `count` records of all files, or all there are, in the order of the files.

    Every record is as likely as any other. Only the frames of those not chosen are read.

    Raises:
        DataError: no records at all, a file that cannot be read or is truncated, or a chosen
            record whose checksum does not match.
    """
    records = RecordAccess(files)
    if not len(records):
        raise DataError(
            "there is no record to draw from",
            expected="record files with at least one example",
            mend="name record files that hold images",
            where=", ".join(map(str, files[:3])),
        )
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(records), size=min(count, len(records)), replace=False)
    return tuple(records[i] for i in sorted(chosen.tolist()))
