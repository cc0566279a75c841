"""The sorted table that a checkpoint's `.index` is: LevelDB's table format, blocks uncompressed.

A file is data blocks, a metaindex block, an index block whose values say where the data blocks
are, and a footer of 48 bytes with the places of the last two and a magic number
(tensorflow/core/lib/io/table.cc, format.cc; leveldb/doc/table_format.md). Keys of a block share
prefixes with the key before. TensorFlow's BundleWriter compresses nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from odapi_repro.datasets.tfrecord import masked_crc32c
from odapi_repro.diagnosis.finished_run.messages import read_varint
from odapi_repro.errors import DataError

FOOTER_BYTES = 48
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_TRAILER = struct.Struct("<BI")
_COMPRESSION = {1: "Snappy", 2: "Zstandard"}


def ends_like_a_table(tail: bytes) -> bool:
    """Whether the last `FOOTER_BYTES` of a file are those of a table."""
    return len(tail) >= FOOTER_BYTES and tail.endswith(_MAGIC)


def iterate_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Gives keys and values of a whole table in the order of the keys, each checksum verified.

    Raises:
        DataError: it is no table, it is cut short or damaged, or its blocks are compressed.
    """
    if not ends_like_a_table(data[-FOOTER_BYTES:]):
        raise _damaged("the table's magic number is not at its end")
    at = len(data) - FOOTER_BYTES
    _, at = _handle(data, at)
    index, _ = _handle(data, at)
    for _, value in _entries(_block(data, *index)):
        handle, _ = _handle(value, 0)
        yield from _entries(_block(data, *handle))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    try:
        return read_varint(data, at)
    except ValueError as error:
        raise _damaged(f"in the table, {error}") from error


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Gives offset and size of a block, and the place after them."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + _TRAILER.size > len(data):
        raise _damaged(f"a block of {size} bytes at byte {offset} goes beyond the file")
    kind, checksum = _TRAILER.unpack_from(data, end)
    # The checksum covers the byte that tells the compression.
    if checksum != masked_crc32c(data[offset : end + 1]):
        raise _damaged(f"the block at byte {offset} does not match its checksum")
    if kind != 0:
        name = _COMPRESSION.get(kind, f"type {kind}")
        raise DataError(
            f"the block at byte {offset} is compressed with {name}",
            expected="a checkpoint index as TensorFlow's BundleWriter writes it, uncompressed",
            mend="load the checkpoint with TensorFlow and save it again",
        )
    return data[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise _damaged("a block has no end")
    restarts = int(struct.unpack_from("<I", block, len(block) - 4)[0])
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise _damaged("a block is shorter than its list of restarts")
    at = 0
    key = b""
    while at < end:
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + rest + length > end:
            raise _damaged("an entry goes beyond its block")
        key = key[:shared] + block[at : at + rest]
        at += rest
        yield key, block[at : at + length]
        at += length


def _damaged(found: str) -> DataError:
    return DataError(
        found,
        expected="the whole .index file of a checkpoint",
        mend="copy the checkpoint again, or use another one",
    )
