"""A checkpoint's variables, scalars and object graph, read from its own files.

The sorted table that a checkpoint's `.index` is: LevelDB's table format, blocks uncompressed.

A file is data blocks, a metaindex block, an index block whose values say where the data blocks
are, and a footer of 48 bytes with the places of the last two and a magic number
(tensorflow/core/lib/io/table.cc, format.cc; leveldb/doc/table_format.md). Keys of a block share
prefixes with the key before. TensorFlow's BundleWriter compresses nothing.

A checkpoint `prefix` is `prefix.index`, a sorted table from keys to BundleEntryProto, and shards
`prefix.data-00000-of-00001` that hold the values (tensorflow/core/util/tensor_bundle/). An
object-based one (TF2) names its variables by paths of attributes and stores the graph of objects
under `_CHECKPOINTABLE_OBJECT_GRAPH`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from odapi_repro.datasets.tfrecord import masked_crc32c
from odapi_repro.diagnosis.finished_run import event_files
from odapi_repro.diagnosis.finished_run.event_files import read_varint
from odapi_repro.errors import DataError

# --- The sorted table that a checkpoint's `.index` is: LevelDB's table format, blocks uncompressed
# ---


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


# --- A checkpoint's variables, scalars and object graph, read from its own files without TensorFlow
# ---


OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_MOST_INDEX_BYTES = 256 << 20
_MOST_VALUE_BYTES = 64 << 20
_MOST_SHARDS = 99_999  # their numbers have five digits
# DataType (tensorflow/core/framework/types.proto) in NumPy's words; a struct code where a scalar
# of it is read here.
_DTYPES = {
    1: ("float32", "f"), 2: ("float64", "d"), 3: ("int32", "i"), 4: ("uint8", "B"),
    5: ("int16", "h"), 6: ("int8", "b"), 7: ("string", ""), 8: ("complex64", ""),
    9: ("int64", "q"), 10: ("bool", "?"), 14: ("bfloat16", ""), 17: ("uint16", "H"),
    18: ("complex128", ""), 19: ("float16", "e"), 20: ("resource", ""), 21: ("variant", ""),
    22: ("uint32", "I"), 23: ("uint64", "Q"),
}  # fmt: skip


@dataclass(frozen=True)
class StoredVariable:
    """Where and what one value of a checkpoint is.

    Attributes:
        dtype: `float32`, `int64`, `string` ...; `type N` for one that is not known here.
        shape: empty for a scalar.
        shard: number of the data file.
        offset: byte in the data file.
        size: bytes there.
        checksum: masked crc32c of these bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


@dataclass(frozen=True)
class CheckpointIndex:
    """The table of contents of a checkpoint.

    Attributes:
        prefix: the checkpoint's path without `.index`.
        num_shards: data files that belong to it.
        variables: by key, in the order of the keys.
        is_big_endian: how its numbers are stored.
    """

    prefix: Path
    num_shards: int
    variables: Mapping[str, StoredVariable]
    is_big_endian: bool = False

    @property
    def is_object_based(self) -> bool:
        """Whether TF2 wrote it, by objects and not by variable names."""
        return OBJECT_GRAPH in self.variables

    def shard_path(self, shard: int) -> Path:
        """The path of a data file."""
        name = f"{self.prefix.name}.data-{shard:05d}-of-{self.num_shards:05d}"
        return self.prefix.with_name(name)

    def missing_data(self) -> str:
        """Says what of the data files is missing or too short; empty when they are whole."""
        needed = dict.fromkeys(range(self.num_shards), 0)
        for stored in self.variables.values():
            needed[stored.shard] = max(needed.get(stored.shard, 0), stored.offset + stored.size)
        for shard, size in needed.items():
            path = self.shard_path(shard)
            if path.exists() and not path.is_file():
                return f"{path.name} is no file"
            try:
                found = path.stat().st_size
            except OSError:
                return f"{path.name} is missing"
            if found < size:
                return f"{path.name} has {found} of {size} bytes"
        return ""

    def damaged_data(self) -> str:
        """Says which value does not have its checksum; empty when all that can be checked do.

        All data files are read. Texts have a checksum of another kind (tensor_bundle.cc:
        WriteStringTensor) and are not checked.
        """
        for key, stored in self.variables.items():
            if stored.dtype in ("string", "variant"):
                continue
            try:
                if not self.shard_path(stored.shard).is_file():
                    return f"{self.shard_path(stored.shard).name} is no file"
                with open(self.shard_path(stored.shard), "rb") as file:
                    file.seek(stored.offset)
                    data = file.read(stored.size)
            except OSError as error:
                return f"{self.shard_path(stored.shard).name}: {error.strerror or error}"
            if len(data) < stored.size or masked_crc32c(data) != stored.checksum:
                return f"the values of {key.removesuffix(_VALUE_SUFFIX)} are damaged"
        return ""

    def scalar(self, key: str) -> float | int | None:
        """Gives a stored number of rank 0; None where there is none or its data are not whole."""
        stored = self.variables.get(key)
        code = dict(_DTYPES.values()).get(stored.dtype, "") if stored else ""
        if stored is None or stored.shape or not code:
            return None
        order = ">" if self.is_big_endian else "<"
        data = self._data(stored)
        if len(data) != struct.calcsize(order + code) or masked_crc32c(data) != stored.checksum:
            return None
        number: float | int = struct.unpack(order + code, data)[0]
        return number

    def children(self, *path: str) -> tuple[str, ...]:
        """Gives the names of what the object at `path` holds; the root's without a path.

        They come from the stored object graph; where that is not whole, from the variables' keys,
        which leave out objects without variables.
        """
        graph = self._object_graph()
        if not graph:
            return self._children_by_keys(path)
        node = 0
        for name in path:
            node = graph[node].get(name, -1)
            if not 0 <= node < len(graph):
                return ()
        return tuple(sorted(graph[node]))

    def _children_by_keys(self, path: tuple[str, ...]) -> tuple[str, ...]:
        parts = (tuple(key.split("/")) for key in self.variables if key.endswith(_VALUE_SUFFIX))
        depth = len(path)
        return tuple(sorted({p[depth] for p in parts if p[:depth] == path and len(p) > depth + 2}))

    def _object_graph(self) -> list[dict[str, int]] | None:
        """Gives the children of every node of the object graph by name; None without a graph."""
        stored = self.variables.get(OBJECT_GRAPH)
        if stored is None:
            return None
        # A text tensor: its lengths as varints, their checksum, then the bytes.
        data = self._data(stored)
        try:
            length, at = event_files.read_varint(data, 0)
            text = data[at + 4 : at + 4 + length]
            if len(text) != length:
                return None
            nodes = event_files.ObjectGraph.FromString(text).nodes
        except (DecodeError, ValueError):
            return None
        return [
            {child.local_name.decode("utf-8", "replace"): child.node_id for child in node.children}
            for node in nodes
        ]

    def _data(self, stored: StoredVariable) -> bytes:
        """Gives the bytes of one value; fewer where the file is too short or they are many."""
        if not self.shard_path(stored.shard).is_file():
            return b""
        try:
            with open(self.shard_path(stored.shard), "rb") as file:
                file.seek(stored.offset)
                return file.read(min(stored.size, _MOST_VALUE_BYTES))
        except OSError:
            return b""


def read_index(prefix: str | os.PathLike[str]) -> CheckpointIndex:
    """Reads the `.index` of a checkpoint.

    Args:
        prefix: the checkpoint's path as `fine_tune_checkpoint` has it, without `.index`.

    Raises:
        DataError: it is not there, too long, no table, damaged or compressed.
    """
    prefix = Path(prefix)
    path = Path(f"{prefix}.index")
    try:
        if path.exists() and not path.is_file():
            # A pipe or a device has no end.
            raise DataError(
                "it is no file",
                expected="the .index file of a checkpoint",
                mend="name a checkpoint",
                where=str(path),
            )
        if path.stat().st_size > _MOST_INDEX_BYTES:
            raise DataError(
                f"{path.stat().st_size >> 20} MiB are no checkpoint index",
                expected=f"at most {_MOST_INDEX_BYTES >> 20} MiB",
                mend="name a checkpoint",
                where=str(path),
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read: {getattr(error, 'strerror', None) or error}",
            expected="the .index file of a checkpoint",
            mend="name the checkpoint's path without .index",
            where=str(path),
        ) from error
    try:
        entries = dict(iterate_table(data))
        header = event_files.BundleHeader.FromString(entries.pop(b"", b""))
        if not 1 <= header.num_shards <= _MOST_SHARDS:
            raise _no_bundle(f"it tells of {header.num_shards} data files")
        variables = {
            key.decode("utf-8", "replace"): _stored(event_files.BundleEntry.FromString(value))
            for key, value in entries.items()
            # A part of a partitioned TF1 variable: a key that begins with a zero byte.
            if not key.startswith(b"\0")
        }
    except (DataError, DecodeError) as error:
        told = error if isinstance(error, DataError) else _no_bundle(f"an entry is none ({error})")
        raise DataError(
            told.found, expected=told.expected, mend=told.mend, where=str(path)
        ) from error
    return CheckpointIndex(prefix, header.num_shards, variables, header.endianness == 1)


def _stored(entry: Any) -> StoredVariable:
    if min(entry.offset, entry.size, entry.shard_id) < 0:
        raise _no_bundle("an entry lies before the beginning of its data file")
    name, _ = _DTYPES.get(entry.dtype, (f"type {entry.dtype}", ""))
    return StoredVariable(
        dtype=name,
        shape=tuple(dim.size for dim in entry.shape.dim),
        shard=entry.shard_id,
        offset=entry.offset,
        size=entry.size,
        checksum=entry.crc32c,
    )


def _no_bundle(found: str) -> DataError:
    return DataError(
        found, expected="the .index file of a checkpoint", mend="use another checkpoint"
    )
