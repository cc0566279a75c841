"""Fields and values as protobuf prints them, to be put into a text."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.message import Message


@dataclass(frozen=True)
class Rendered:
    """A field as text to insert.

    Attributes:
        block: over as many lines as it has fields, without indentation.
        line: on one line.
    """

    block: str
    line: str


def is_map(message: Message, name: str) -> bool:
    """Whether the field is a map, which is a repeated field without an order."""
    kind = message.DESCRIPTOR.fields_by_name[name].message_type
    return bool(kind is not None and kind.GetOptions().map_entry)


def render_field(message: Message, name: str) -> list[Rendered]:
    """Gives the field's text, one for each item when it is repeated."""
    holder = type(message)()
    value = getattr(message, name)
    if isinstance(value, (str, bytes, int, float)):
        setattr(holder, name, value)
        return [_rendered(holder)]
    if isinstance(value, Message):
        getattr(holder, name).CopyFrom(value)
        getattr(holder, name).SetInParent()
        return [_rendered(holder)]
    if is_map(message, name):
        holder.MergeFrom(message)
        for other, _ in message.ListFields():
            if other.name != name:
                holder.ClearField(other.name)
        return [_rendered(holder)]
    if value and isinstance(value[0], Message):
        rendered = []
        for item in value:
            holder = type(message)()
            getattr(holder, name).add().CopyFrom(item)
            rendered.append(_rendered(holder))
        return rendered
    texts = scalar_texts(message, name)
    if texts[0].startswith(('"', "'")):
        return [Rendered(f"{name}: {text}", f"{name}: {text}") for text in texts]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return [Rendered(f"{name}: {listed}", f"{name}: {listed}")]


def _rendered(holder: Message) -> Rendered:
    return Rendered(
        str(text_format.MessageToString(holder, as_utf8=True)).rstrip("\n"),
        str(text_format.MessageToString(holder, as_utf8=True, as_one_line=True)).strip(),
    )


def scalar_texts(message: Message, name: str) -> list[str]:
    """Gives each value of a scalar field as protobuf prints it."""
    value = getattr(message, name)
    holder = type(message)()
    if isinstance(value, (str, bytes, int, float)):
        setattr(holder, name, value)
    else:
        getattr(holder, name).extend(value)
    printed = str(text_format.MessageToString(holder, as_utf8=True))
    return [line.removeprefix(f"{name}: ") for line in printed.rstrip("\n").split("\n")]
