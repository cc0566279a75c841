"""Records of several files by number, read from disk one at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence

from odapi_repro.datasets.tfrecord import FRAME_BYTES, read_frames, read_record_at

__all__ = ["RecordAccess"]


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
