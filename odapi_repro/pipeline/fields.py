"""Dotted field paths: read, set, compared; and the placeholders that are filled in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.parse import Pipeline

# --- Dotted field paths: read, set, and the difference of two pipelines in them ---


_STEP = re.compile(r"^(?P<name>[A-Za-z_0-9]+)(?:\[(?P<index>\d+)\])?$")


def flatten_fields(message: Message, prefix: str = "") -> dict[str, object]:
    """Gives every set scalar under its path, e.g. `train_config.batch_size`.

    Repeated fields carry an index (`eval_input_reader[0].shuffle`), maps their key. An empty
    submessage is there as `{}`, because in a oneof its presence alone decides.
    """
    flat: dict[str, object] = {}
    for descriptor, value in message.ListFields():
        path = f"{prefix}{descriptor.name}"
        if isinstance(value, (Message, str, bytes, int, float)):
            items = [(path, value)]
        elif is_map(descriptor):
            items = [(f"{path}[{key}]", value[key]) for key in sorted(value)]
        else:
            items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        for item_path, item in items:
            if not isinstance(item, Message):
                flat[item_path] = item
            elif item.ListFields():
                flat.update(flatten_fields(item, f"{item_path}."))
            else:
                flat[item_path] = "{}"
    return flat


def field_differences(one: Message, other: Message) -> list[tuple[str, object, object]]:
    """Gives (path, value in one, value in other) wherever they differ; None for unset."""
    left, right = flatten_fields(one), flatten_fields(other)
    paths = list(left) + [path for path in right if path not in left]
    return [
        (path, left.get(path), right.get(path))
        for path in paths
        if left.get(path) != right.get(path)
    ]


def descend(message: Message, path: str = "") -> Any:
    """Gives what lies at a dotted path without an index; unset fields give their default.

    For messages that are known to have the field, where the generated types say too little.
    """
    value: Any = message
    for name in path.split(".") if path else ():
        value = getattr(value, name)
    return value


def set_field(message: Message, path: str, value: object) -> None:
    """Sets the field at a dotted path (`eval_input_reader[0].shuffle`) in place.

    None clears it, `{}` sets an empty submessage, a name sets an enum, a list a repeated scalar.
    Repeated fields grow up to the index. Clearing what lies in an unset message leaves that unset:
    to set it would choose another member of its oneof.

    Raises:
        KeyError: no such field, or no such enum value.
        ValueError: not a path, an index into a field that is not repeated, or a submessage where
            a value is expected.
        TypeError: a value of another type.
        IndexError: a scalar further behind the end of its list than the next place.
    """
    steps = _steps_of(message.DESCRIPTOR, path)
    node: Any = message
    for descriptor, index in steps[:-1]:
        if value is None and not _is_there(node, descriptor, index):
            return
        node = _child(node, descriptor, index)
    descriptor, index = steps[-1]
    if value is None:
        _clear(node, descriptor, index)
    elif descriptor.message_type is None:
        _set_scalar(node, descriptor, index, value)
    elif value not in ("{}", {}):
        raise ValueError(f"'{path}' is a message; name one of its fields")
    else:
        _child(node, descriptor, index)


def _steps_of(descriptor: Any, path: str) -> list[tuple[Any, int | None]]:
    """The field and the index of every part of a path, checked against the message type."""
    steps: list[tuple[Any, int | None]] = []
    for part in path.split("."):
        match = _STEP.match(part)
        if match is None:
            raise ValueError(f"'{part}' in '{path}' is not a field name")
        if descriptor is None:
            raise ValueError(f"'{steps[-1][0].name}' in '{path}' is no message")
        field = descriptor.fields_by_name[match["name"]]
        if match["index"] is not None and (not _is_repeated(field) or is_map(field)):
            raise ValueError(f"'{match['name']}' in '{path}' is not repeated")
        steps.append((field, None if match["index"] is None else int(match["index"])))
        descriptor = field.message_type
    return steps


def _is_there(node: Any, descriptor: Any, index: int | None) -> bool:
    if _is_repeated(descriptor):
        return len(getattr(node, descriptor.name)) > (index or 0)
    return bool(node.HasField(descriptor.name))


def _child(node: Any, descriptor: Any, index: int | None) -> Any:
    """The submessage, made where it is not there yet."""
    child = getattr(node, descriptor.name)
    if is_map(descriptor):
        raise ValueError(f"'{descriptor.name}' is a map, which has no path into it")
    if not _is_repeated(descriptor):
        child.SetInParent()
        return child
    while len(child) <= (index or 0):
        child.add()
    return child[index or 0]


def _clear(node: Any, descriptor: Any, index: int | None) -> None:
    if index is None:
        node.ClearField(descriptor.name)
    elif _is_there(node, descriptor, index):
        del getattr(node, descriptor.name)[index]


def _set_scalar(node: Any, descriptor: Any, index: int | None, value: Any) -> None:
    def known(item: Any) -> Any:
        if descriptor.enum_type is not None and isinstance(item, str):
            return descriptor.enum_type.values_by_name[item].number
        return item

    if not _is_repeated(descriptor):
        setattr(node, descriptor.name, known(value))
        return
    items = getattr(node, descriptor.name)
    if index is not None and index == len(items):
        items.append(known(value))
    elif index is not None:
        items[index] = known(value)
    else:
        listed = value if isinstance(value, (list, tuple)) else [value]
        items[:] = [known(item) for item in listed]


def _is_repeated(descriptor: Any) -> bool:
    """protobuf 4 (TF 2.15) knows only `label`, which later ones deprecate."""
    known = getattr(descriptor, "is_repeated", None)
    return bool(descriptor.label == descriptor.LABEL_REPEATED if known is None else known)


def is_map(descriptor: Any) -> bool:
    """Whether a field is a map, which is a repeated field without an order."""
    message = descriptor.message_type
    return bool(message is not None and message.GetOptions().map_entry)


# --- Fills the placeholders of a pipeline: records, label map, checkpoint, classes ---


PLACEHOLDER = "PATH_TO_BE_CONFIGURED"


def placeholder_fields(pipeline: Pipeline) -> list[str]:
    """Gives the paths of fields that still hold the OD API's placeholder."""
    return [
        path
        for path, value in flatten_fields(pipeline.proto).items()
        if isinstance(value, str) and PLACEHOLDER in value
    ]


def bind_records(
    pipeline: Pipeline,
    *,
    train_patterns: Sequence[str],
    eval_patterns: Sequence[str],
    label_map_path: str,
    num_classes: int,
    checkpoint: str | None,
) -> Pipeline:
    """Gives the pipeline with its records, label map, classes and checkpoint set.

    Only the first eval reader is kept: the OD API evaluates no other.

    Args:
        checkpoint: what `fine_tune_checkpoint` becomes; None leaves a real path alone and removes
            a placeholder, so that training starts from random weights.

    Raises:
        ConfigError: a model without classes.
    """

    if not hasattr(pipeline.model, "num_classes"):
        raise ConfigError(
            f"a {pipeline.meta_architecture} has no num_classes to set",
            expected="an ssd, faster_rcnn or center_net model",
            mend="register the model with the OD API under one of these",
            where=pipeline.path,
        )

    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        del proto.eval_input_reader[1:]
        if not proto.eval_input_reader:
            reader = proto.eval_input_reader.add()
            reader.shuffle = False
            reader.num_epochs = 1
        for reader, patterns in (
            (proto.train_input_reader, train_patterns),
            (proto.eval_input_reader[0], eval_patterns),
        ):
            reader.label_map_path = label_map_path
            reader.tf_record_input_reader.input_path[:] = list(patterns)
        getattr(proto.model, proto.model.WhichOneof("model")).num_classes = num_classes
        train_config = proto.train_config
        if checkpoint:
            train_config.fine_tune_checkpoint = checkpoint
        elif PLACEHOLDER in train_config.fine_tune_checkpoint:
            train_config.ClearField("fine_tune_checkpoint")
            train_config.ClearField("fine_tune_checkpoint_type")

    return pipeline.edited(edit)
