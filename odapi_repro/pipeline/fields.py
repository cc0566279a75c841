"""Dotted field paths, and the difference of two pipelines in them."""

from __future__ import annotations

from google.protobuf.message import Message

__all__ = ["field_differences", "flatten_fields"]


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
        elif descriptor.message_type and descriptor.message_type.GetOptions().map_entry:
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
