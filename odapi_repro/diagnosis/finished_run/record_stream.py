"""TFRecord framing of files that may be growing, cut short or damaged, in bounded memory.

`datasets.tfrecord` verifies data sets and refuses a file that is not whole. The log of a training
that runs or was killed is hardly ever whole, and holds images that nobody here looks at, so this
reader goes on where it can, says what it left out, and reads no long record.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from odapi_repro.datasets.tfrecord import masked_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_CHUNK = 1 << 16
# How far to look for the next record after a header that does not hold.
_SEARCH_BYTES = 16 << 20
# A length of 1 to 2^32 - 1, then four bytes of checksum.
_HEADER_SHAPE = re.compile(rb"(?s)(?=((?!\0{4}).{4}\0{4}.{4}))")
_MOST_NOTES = 8


class Damage:
    """Collects what could not be read of one file; beyond a few notes it only counts.

    Args:
        name: of the file, put before each note.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._notes: list[str] = []
        self._count = 0

    def add(self, note: str) -> None:
        """Notes one damage."""
        self._count += 1
        if self._count <= _MOST_NOTES:
            self._notes.append(f"{self._name}: {note}")

    def notes(self) -> tuple[str, ...]:
        """Gives the notes, the last of them saying how many more there were."""
        more = self._count - len(self._notes)
        return (*self._notes, *([f"{self._name}: {more} more like these"] if more else []))


@dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        offset: in the file, of its header.
        begin: in the file, of its data.
        length: bytes of data.
        data: the data with its checksum verified; None for a record over the limit, which is
            neither read nor verified.
    """

    offset: int
    begin: int
    length: int
    data: bytes | None


def iterate_records(file: BinaryIO, damage: Damage, *, longest: int) -> Iterator[Record]:
    """Gives the records that the file holds now.

    A record that goes beyond the end is what a writer leaves that is still busy or was killed, and
    ends the file silently. A record whose data do not match their checksum is noted and skipped;
    after a header that does not hold, reading goes on at the next one that does.

    Args:
        file: open for reading in binary; the caller may seek it between records.
        damage: gets a note for each damage.
        longest: bytes of data above which a record's data are left in the file.
    """
    size = os.fstat(file.fileno()).st_size
    offset = 0
    while offset + _HEADER.size <= size:
        file.seek(offset)
        header = file.read(_HEADER.size)
        if not _header_holds(header):
            found = _next_header(file, offset + 1, size)
            if found is None:
                damage.add(f"no record from byte {offset} on, {size - offset} bytes are not read")
                return
            damage.add(f"the bytes from {offset} to {found} are no record and are skipped")
            offset = found
            continue
        length = int(_HEADER.unpack(header)[0])
        here, begin = offset, offset + _HEADER.size
        offset = begin + length + _FOOTER.size
        if offset > size:
            return
        if length > longest:
            yield Record(here, begin, length, None)
            continue
        data = file.read(length)
        footer = file.read(_FOOTER.size)
        if len(footer) < _FOOTER.size:
            # The file became shorter while it was read.
            return
        if _FOOTER.unpack(footer)[0] != masked_crc32c(data):
            damage.add(f"the record at byte {here} does not match its checksum")
            continue
        yield Record(here, begin, length, data)


def _header_holds(header: bytes) -> bool:
    if len(header) < _HEADER.size:
        return False
    return int(_HEADER.unpack(header)[1]) == masked_crc32c(header[:8])


def _next_header(file: BinaryIO, start: int, size: int) -> int | None:
    """Gives the offset of the next whole record at or after `start`, None where none is near."""
    position = start
    while position < min(size, start + _SEARCH_BYTES):
        file.seek(position)
        # Longer by all but one byte of a header, so that one that begins in here is whole.
        chunk = file.read(_CHUNK + _HEADER.size - 1)
        for match in _HEADER_SHAPE.finditer(chunk):
            if match.start() >= _CHUNK or not _header_holds(match.group(1)):
                continue
            offset = position + match.start()
            length = int(_HEADER.unpack(match.group(1))[0])
            if offset + _HEADER.size + length + _FOOTER.size <= size:
                return offset
        position += _CHUNK
    return None
