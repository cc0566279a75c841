"""The few protobuf messages of event files and checkpoints, described here, without TensorFlow.

Sources: tensorflow/core/util/event.proto, core/framework/{summary,tensor,tensor_shape}.proto,
core/protobuf/tensor_bundle.proto and trackable_object_graph.proto, and
python/training/checkpoint_state.proto. Fields that nobody here reads are left out and are skipped
by the parser. Texts are `bytes`, so that one bad character does not lose a record. The messages
live in a descriptor pool of their own and never clash with TensorFlow's in the same process.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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
