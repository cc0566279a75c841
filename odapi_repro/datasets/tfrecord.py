"""TFRecord files without TensorFlow: read, count and write length-delimited, checksummed records.

A record is `uint64 length, uint32 masked crc32c of the length, data, uint32 masked crc32c of the
data`, little endian (tensorflow/core/lib/io/record_writer.h).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import google_crc32c

from odapi_repro.errors import DataError
from odapi_repro.files import replacing

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
FRAME_BYTES = _HEADER.size + _FOOTER.size
"""What a record takes in a file beside its data."""

_MEND = "copy or write the file again; `cmp` it with the original where there is one"


def masked_crc32c(data: bytes) -> int:
    """Gives the masked crc32c of `data` (tensorflow/core/lib/hash/crc32c.h: Mask)."""
    crc = int(google_crc32c.value(data))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def begins_record(data: bytes) -> bool:
    """Whether `data` begins as a record does, by the checksum of its length."""
    if len(data) < _HEADER.size:
        return False
    _, checksum = _HEADER.unpack_from(data)
    return bool(masked_crc32c(data[: _LENGTH.size]) == checksum)


def read_records(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Gives the records of one file in their order, each with both checksums verified.

    Raises:
        DataError: the file cannot be read, is truncated or corrupt; names the byte offset of the
            record.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        offset = 0
        while (length := _read_length(file, path, offset, size)) is not None:
            data = _read_data(file, path, offset, size, length)
            yield data
            offset += _HEADER.size + length + _FOOTER.size


def read_record_at(path: str | os.PathLike[str], offset: int) -> bytes:
    """Gives the record that begins at a byte of a file, both checksums verified.

    Raises:
        DataError: as `read_records`, and for an offset at the end of the file.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(offset)
        length = _read_length(file, path, offset, size)
        if length is None:
            raise _truncated(path, offset, size)
        return _read_data(file, path, offset, size, length)


def count_records(path: str | os.PathLike[str]) -> int:
    """Gives the number of records, from the lengths alone (the data is skipped, not verified).

    Raises:
        DataError: the file cannot be read, is truncated, or a length is corrupt.
    """
    return sum(1 for _ in read_frames(path))


def read_frames(path: str | os.PathLike[str]) -> Iterator[tuple[int, int]]:
    """Gives (length in bytes, stored checksum of the data) of each record, data unread.

    The pairs tell two files apart as a checksum of their contents would, at the price of two
    short reads a record.

    Raises:
        DataError: the file cannot be read, is truncated, or a length is corrupt.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        offset = 0
        while (length := _read_length(file, path, offset, size)) is not None:
            file.seek(offset + _HEADER.size + length)
            yield length, int(_FOOTER.unpack(file.read(_FOOTER.size))[0])
            offset += _HEADER.size + length + _FOOTER.size


def write_records(path: str | os.PathLike[str], records: Iterable[bytes]) -> int:
    """Writes `records` to `path` and gives their number; the file appears whole or not at all.

    Raises:
        UserError: the file cannot be written (no space, no permission).
    """
    count = 0
    with replacing(path) as file:
        for data in records:
            length = _LENGTH.pack(len(data))
            file.write(length)
            file.write(_FOOTER.pack(masked_crc32c(length)))
            file.write(data)
            file.write(_FOOTER.pack(masked_crc32c(data)))
            count += 1
    return count


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise DataError(
            f"cannot read: {error.strerror or error}",
            expected="a TFRecord file",
            mend="name a TFRecord file that can be read",
            where=str(path),
        ) from error


def _read_data(
    file: BinaryIO, path: str | os.PathLike[str], offset: int, size: int, length: int
) -> bytes:
    data = file.read(length)
    footer = file.read(_FOOTER.size)
    if len(data) < length or len(footer) < _FOOTER.size:
        raise _truncated(path, offset, size)
    if _FOOTER.unpack(footer)[0] != masked_crc32c(data):
        raise DataError(
            f"corrupt TFRecord: the checksum of the {length} bytes of data in the record "
            f"at byte {offset} does not match",
            expected="a TFRecord file whose checksums hold",
            mend=_MEND,
            where=str(path),
        )
    return data


def _read_length(
    file: BinaryIO, path: str | os.PathLike[str], offset: int, size: int
) -> int | None:
    """Gives the length of the record at `offset`, None at the end of the file."""
    header = file.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise _truncated(path, offset, size)
    length, crc = _HEADER.unpack(header)
    if crc != masked_crc32c(header[: _LENGTH.size]):
        if not offset and header.startswith(b"\x1f\x8b"):
            # builders/dataset_builder.read_dataset gives TFRecordDataset no compression_type.
            raise DataError(
                "packed with gzip, which the OD API does not unpack (gunzip FILE does)",
                expected="a TFRecord file (uncompressed)",
                mend="unpack it: gunzip FILE",
                where=str(path),
            )
        raise DataError(
            f"corrupt TFRecord: the checksum of the length at byte {offset} does not match",
            expected="a TFRecord file (uncompressed; not a json, a zip or a checkpoint)",
            mend=_MEND,
            where=str(path),
        )
    if offset + _HEADER.size + length + _FOOTER.size > size:
        raise _truncated(path, offset, size)
    return int(length)


def _truncated(path: str | os.PathLike[str], offset: int, size: int) -> DataError:
    return DataError(
        f"truncated TFRecord: the record at byte {offset} goes beyond the file's {size} bytes",
        expected="a TFRecord file that was written and copied to its end",
        mend=_MEND,
        where=str(path),
    )
