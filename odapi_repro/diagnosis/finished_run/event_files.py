"""TensorBoard event files and checkpoints' messages, without TensorFlow or TensorBoard.

The few protobuf messages of event files and checkpoints, described here, without TensorFlow.

Sources: tensorflow/core/util/event.proto, core/framework/{summary,tensor,tensor_shape}.proto,
core/protobuf/tensor_bundle.proto and trackable_object_graph.proto, and
python/training/checkpoint_state.proto. Fields that nobody here reads are left out and are skipped
by the parser. Texts are `bytes`, so that one bad character does not lose a record. The messages
live in a descriptor pool of their own and never clash with TensorFlow's in the same process.

The OD API writes one event a scalar (model_lib_v2.py: train_loop, eager_eval_loop) with TF2's
summary writer: the value is a tensor of rank 0. TF1 put many values into one event, as
`simple_value`. Both are read. Images, histograms and graphs, which make nearly all of such a
folder's bytes, are stepped over in the file.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from odapi_repro.datasets.tfrecord import masked_crc32c

# --- The few protobuf messages of event files and checkpoints, described here, without TensorFlow
# ---


_PACKAGE = "odapi_repro.finished_run"
# name, number, kind; `*` marks a repeated field, a capital letter a message.
_MESSAGES: dict[str, str] = {
    "Event": "wall_time 1 double, step 2 int64, file_version 3 bytes, summary 5 Summary",
    "Summary": "value 1 *Value",
    "Value": "tag 1 bytes, simple_value 2 float, tensor 8 Tensor",
    "Tensor": (
        "dtype 1 int32, tensor_shape 2 Shape, tensor_content 4 bytes, float_val 5 *float, "
        "double_val 6 *double, int_val 7 *int32, int64_val 10 *int64, bool_val 11 *bool, "
        "half_val 13 *int32, uint32_val 16 *uint32, uint64_val 17 *uint64"
    ),
    "Shape": "dim 2 *Dim, unknown_rank 3 bool",
    "Dim": "size 1 int64",
    "BundleHeader": "num_shards 1 int32, endianness 2 int32",
    "BundleEntry": (
        "dtype 1 int32, shape 2 Shape, shard_id 3 int32, offset 4 int64, size 5 int64, "
        "crc32c 6 fixed32, slices 7 *bytes"
    ),
    "ObjectGraph": "nodes 1 *Node",
    "Node": "children 1 *Reference",
    "Reference": "node_id 1 int32, local_name 2 bytes",
    "CheckpointState": (
        "model_checkpoint_path 1 string, all_model_checkpoint_paths 2 *string, "
        "all_model_checkpoint_timestamps 3 *double, last_preserved_timestamp 4 double"
    ),
}


def _classes() -> dict[str, Any]:
    """Gives the classes of `_MESSAGES` by name."""
    field = descriptor_pb2.FieldDescriptorProto
    # proto2 tells a field that is absent from one that is 0.
    file = descriptor_pb2.FileDescriptorProto(
        name="odapi_repro/finished_run.proto", package=_PACKAGE, syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        for text in fields.split(", "):
            field_name, number, kind = text.split()
            repeated = kind.startswith("*")
            kind = kind.removeprefix("*")
            is_message = kind[0].isupper()
            described.field.add(
                name=field_name,
                number=int(number),
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
                type=field.Type.Value("TYPE_MESSAGE" if is_message else f"TYPE_{kind.upper()}"),
                type_name=f".{_PACKAGE}.{kind}" if is_message else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory: Any = message_factory
    descriptors = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES}
    if hasattr(factory, "GetMessageClass"):
        return {name: factory.GetMessageClass(found) for name, found in descriptors.items()}
    # protobuf before 4.22
    prototypes = factory.MessageFactory(pool)
    return {name: prototypes.GetPrototype(found) for name, found in descriptors.items()}


_CLASSES = _classes()
Event = _CLASSES["Event"]
Value = _CLASSES["Value"]
BundleHeader = _CLASSES["BundleHeader"]
BundleEntry = _CLASSES["BundleEntry"]
ObjectGraph = _CLASSES["ObjectGraph"]
CheckpointState = _CLASSES["CheckpointState"]


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Gives the base-128 number at `at` and the place after it.

    Raises:
        ValueError: it goes beyond the end of `data` or beyond 64 bits.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number does not end")


# --- TensorBoard event files without TensorFlow or TensorBoard: the scalars of a run, in order ---


# Above it a record is walked in the file, value by value, and only short values are read.
_LONGEST = 1 << 16
# A summary of TF1 has hundreds of values; what has more than these is no event.
_MOST_FIELDS = 1 << 15
_NAME = re.compile(r"tfevents\.(\d+)")
# DataType (tensorflow/core/framework/types.proto): struct code, field of single values.
_DTYPES = {
    1: ("f", "float_val"), 2: ("d", "double_val"), 3: ("i", "int_val"), 4: ("B", "int_val"),
    5: ("h", "int_val"), 6: ("b", "int_val"), 9: ("q", "int64_val"), 10: ("?", "bool_val"),
    17: ("H", "int_val"), 22: ("I", "uint32_val"), 23: ("Q", "uint64_val"),
}  # fmt: skip
_BFLOAT16 = 14
_HALF = 19


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


@dataclass(frozen=True)
class Scalar:
    """One logged number.

    Attributes:
        step: as logged.
        wall_time: seconds since the epoch.
        tag: the summary's full name, e.g. `Loss/total_loss`.
        value: may be NaN or infinite.
    """

    step: int
    wall_time: float
    tag: str
    value: float


@dataclass(frozen=True)
class EventFile:
    """What one event file holds.

    Attributes:
        path: of the file.
        started: seconds since the epoch when it was begun; from its name where it is empty.
        scalars: in the file's order.
        damage: what could not be read.
    """

    path: Path
    started: float
    scalars: tuple[Scalar, ...]
    damage: tuple[str, ...]

    @property
    def first_step(self) -> int | None:
        """The lowest step of its scalars."""
        return min((scalar.step for scalar in self.scalars), default=None)


@dataclass(frozen=True)
class Restart:
    """A later event file that took over from an earlier one.

    Attributes:
        started: seconds since the epoch.
        step: the first step it logged; what was logged before from there on is superseded.
    """

    started: float
    step: int


def is_event_file(path: Path) -> bool:
    """Whether TensorBoard would take the file for events, the profiler's empty one left out."""
    return "tfevents" in path.name and not path.name.endswith("profile-empty")


def iterate_scalars(
    path: Path, damage: list[str], keep: Callable[[str], bool] = lambda tag: True
) -> Iterator[Scalar]:
    """Gives the scalars of one event file whose tag `keep` accepts, in the file's order.

    A last record that is cut short ends the file without a word; damage elsewhere, or a file that
    cannot be read, is added to `damage` when the iteration ends, and is not raised. No value over
    64 KiB is read.
    """
    for _, scalars in _events(path, damage, keep):
        yield from scalars


def read_event_file(path: Path, keep: Callable[[str], bool] = lambda tag: True) -> EventFile:
    """Reads one event file as `iterate_scalars` does; an unreadable one is empty with damage."""
    damage: list[str] = []
    scalars: list[Scalar] = []
    named = _NAME.search(path.name)
    started: float | None = None
    for wall_time, found in _events(path, damage, keep):
        if started is None:
            started = wall_time
        scalars.extend(found)
    if started is None:
        started = float(named.group(1)) if named else 0.0
    return EventFile(path, started, tuple(scalars), tuple(damage))


def merge_restarts(
    files: Sequence[EventFile],
) -> tuple[tuple[Scalar, ...], tuple[Restart, ...]]:
    """Joins the event files of one training in the order in which they were begun.

    A restart goes on from the last checkpoint, or from 0 where there is none. Its weights come
    from there, so everything logged earlier from its first step on belongs to weights that are
    gone, and is dropped (as TensorBoard's purge does). Files without a scalar supersede nothing.

    Returns:
        The scalars, and one entry for each file with scalars after the first such file.
    """
    kept: list[Scalar] = []
    restarts: list[Restart] = []
    for file in sorted(files, key=_order):
        first = file.first_step
        if first is None:
            continue
        if kept:
            restarts.append(Restart(file.started, first))
            kept = [scalar for scalar in kept if scalar.step < first]
        kept.extend(file.scalars)
    return tuple(kept), tuple(restarts)


def _order(file: EventFile) -> tuple[float, float, str]:
    # A file notes its own beginning in whole seconds.
    first = file.scalars[0].wall_time if file.scalars else math.inf
    return file.started, first, file.path.name


def _events(
    path: Path, damage: list[str], keep: Callable[[str], bool]
) -> Iterator[tuple[float, list[Scalar]]]:
    """Gives the wall time and the scalars of each event of a file."""
    found = Damage(path.name)
    try:
        with open(path, "rb") as file:
            for record in iterate_records(file, found, longest=_LONGEST):
                try:
                    event = _scalars(file, record, keep)
                except (DecodeError, ValueError) as error:
                    found.add(f"the record at byte {record.offset} is no event ({error})")
                else:
                    yield event
    except OSError as error:
        found.add(f"cannot be read ({error.strerror or error})")
    finally:
        damage.extend(found.notes())


def _scalars(
    file: BinaryIO, record: Record, keep: Callable[[str], bool]
) -> tuple[float, list[Scalar]]:
    values: Iterable[Any]
    if record.data is not None:
        event = Event.FromString(record.data)
        values = event.summary.value
    else:
        event, values = _walk(file, record)
    scalars = []
    for value in values:
        tag = value.tag.decode("utf-8", errors="replace")
        number = _number(value) if keep(tag) else None
        if number is not None:
            scalars.append(Scalar(event.step, event.wall_time, tag, number))
    return event.wall_time, scalars


def _walk(file: BinaryIO, record: Record) -> tuple[Any, Iterator[Any]]:
    """Gives an event's wall time and step, and the short values of its summary."""
    head = b""
    places: list[tuple[int, int]] = []
    for number, key, begin, after in _fields(file, record.begin, record.begin + record.length):
        if number == 5:
            for inner, _, value_begin, value_after in _fields(file, begin, after):
                if inner == 1 and value_after - value_begin <= _LONGEST:
                    places.append((value_begin, value_after))
        elif number in (1, 2):
            file.seek(key)
            head += file.read(after - key)

    def values() -> Iterator[Any]:
        for value_begin, value_after in places:
            file.seek(value_begin)
            yield Value.FromString(file.read(value_after - value_begin))

    return Event.FromString(head), values()


def _fields(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Gives number, offset of the key, and begin and end of the payload of a message's fields.

    Raises:
        ValueError: the bytes are no message, or one of more than `_MOST_FIELDS`.
    """
    position = begin
    count = 0
    while position < end:
        count += 1
        if count > _MOST_FIELDS:
            raise ValueError("it has too many fields")
        file.seek(position)
        head = file.read(20)
        tag, used = read_varint(head, 0)
        wire_type = tag & 7
        payload = position + used
        if wire_type == 0:
            _, used = read_varint(head, used)
            after = position + used
        elif wire_type == 2:
            length, used = read_varint(head, used)
            payload = position + used
            after = payload + length
        elif wire_type in (1, 5):
            after = payload + (8 if wire_type == 1 else 4)
        else:
            raise ValueError(f"wire type {wire_type}")
        if after > end:
            raise ValueError("a field goes beyond its message")
        yield tag >> 3, position, payload, after
        position = after


def _number(value: Any) -> float | None:
    """Gives the number of a Summary.Value, None where it holds something else."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if not value.HasField("tensor"):
        return None
    tensor = value.tensor
    if tensor.tensor_shape.dim or tensor.tensor_shape.unknown_rank:
        return None
    content = bytes(tensor.tensor_content)
    if tensor.dtype in (_HALF, _BFLOAT16):
        # Their single values are stored as integers that hold the bits.
        bits = content or struct.pack("<H", (*tensor.half_val, 0)[0] & 0xFFFF)
        if len(bits) != 2:
            return None
        wide = bits if tensor.dtype == _HALF else b"\0\0" + bits
        return float(struct.unpack("<e" if tensor.dtype == _HALF else "<f", wide)[0])
    if tensor.dtype not in _DTYPES:
        return None
    code, field = _DTYPES[tensor.dtype]
    if content:
        fits = len(content) == struct.calcsize("<" + code)
        return float(struct.unpack("<" + code, content)[0]) if fits else None
    # TensorFlow leaves out the values of a compressed tensor of zeros.
    return float((*getattr(tensor, field), 0)[0])
