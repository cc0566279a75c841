"""Edits the text of a pipeline.config in place: what is not edited stays as the user wrote it.

Comments, order, number formats and layout survive. The edits are made on the proto; then the text
is led to it by the differences alone, and parsed again as a proof. No comment is ever lost: those
of a field that goes stay behind on lines of their own, and those of a text that could not be edited
stand together at the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

from odapi_repro.pipeline.fields import is_map
from odapi_repro.pipeline.text_splices import Splices, leave_once
from odapi_repro.pipeline.text_tree import (
    Body,
    FieldNode,
    TextTreeError,
    Value,
    comments_of,
    parse_text_tree,
)


@dataclass(frozen=True)
class EditedText:
    """A text that was led to a proto.

    Attributes:
        text: parses to exactly that proto.
        kept_layout: False when the text could not be edited and is the proto's own form.
        why: the reason, when it could not.
    """

    text: str
    kept_layout: bool = True
    why: str = ""


def rewrite_text(text: str, target: pipeline_pb2.TrainEvalPipelineConfig) -> EditedText:
    """Gives the text led to `target`; where it cannot be followed, the proto's own form.

    What stands twice where one counts is left once. Comments are kept in either case.
    """
    current = pipeline_pb2.TrainEvalPipelineConfig()
    why = ""
    try:
        once = leave_once(text)
        text_format.Merge(once, current)
        splices = Splices(once)
        _message(splices, parse_text_tree(once), current, target)
        edited = splices.apply()
        if _parses_to(edited, target):
            return EditedText(edited)
        why = "the edited text did not parse to the edited config"
    except (text_format.ParseError, TextTreeError, UnicodeError) as error:
        why = str(error)
    head = "".join(f"{comment}\n" for _, comment in comments_of(text))
    form = text_format.MessageToString(target, as_utf8=True)
    return EditedText(head + str(form), kept_layout=False, why=why)


def _parses_to(text: str, target: Message) -> bool:
    parsed = type(target)()
    try:
        text_format.Parse(text, parsed)
    except text_format.ParseError:
        return False
    # As texts, because a NaN is not equal to itself.
    return str(text_format.MessageToString(parsed)) == str(text_format.MessageToString(target))


def _message(splices: Splices, body: Body, current: Message, target: Message) -> None:
    """Notes what must change in the text for one message, whose inside is `body`."""
    present = {descriptor.name: value for descriptor, value in current.ListFields()}
    wanted = {descriptor.name: value for descriptor, value in target.ListFields()}
    nodes = {name: [one for one in body.fields if one.name == name] for name in present}
    taken: set[str] = set()
    for name in [name for name in wanted if name not in present]:
        blocks = _blocks(target, name)
        oneof = target.DESCRIPTOR.fields_by_name[name].containing_oneof
        old = current.WhichOneof(oneof.name) if oneof is not None else None
        if old is None or old in wanted or old in taken or not nodes[old]:
            for block in blocks:
                splices.add(body, block)
            continue
        # Another member of the oneof stands there: the new one takes its place.
        taken.add(old)
        splices.replace_field(nodes[old][0], blocks[0])
        _remove(splices, nodes[old][1:])
    for name, value in present.items():
        if name in taken:
            continue
        if name not in wanted:
            _remove(splices, nodes[name])
        elif isinstance(value, Message):
            bodies = [one.body for _, one in _elements(nodes[name]) if one.body is not None]
            if len(bodies) != 1:
                raise TextTreeError(f"'{name}' stands {len(bodies)} times in one message")
            _message(splices, bodies[0], value, wanted[name])
        elif isinstance(value, (str, bytes, int, float)):
            _scalars(splices, nodes[name], target, name, [value], [wanted[name]])
        elif is_map(current.DESCRIPTOR.fields_by_name[name]):
            if repr(sorted(value.items())) != repr(sorted(wanted[name].items())):
                _remove(splices, nodes[name])
                for block in _blocks(target, name):
                    splices.add(body, block)
        elif isinstance(value[0], Message):
            _messages(splices, nodes[name], target, name, list(value), list(wanted[name]))
        else:
            _scalars(splices, nodes[name], target, name, list(value), list(wanted[name]))


def _remove(splices: Splices, nodes: list[FieldNode]) -> None:
    for node in nodes:
        splices.remove(node)


def _messages(
    splices: Splices,
    nodes: list[FieldNode],
    target: Message,
    name: str,
    current: list[Message],
    wanted: list[Message],
) -> None:
    elements = _elements(nodes)
    blocks = _blocks(target, name)
    changes = SequenceMatcher(
        None, [_bytes(one) for one in current], [_bytes(one) for one in wanted], autojunk=False
    )
    for _, first, last, to_first, to_last in changes.get_opcodes():
        both = min(last - first, to_last - to_first)
        for offset in range(both):
            body = elements[first + offset][1].body
            if body is not None:
                _message(splices, body, current[first + offset], wanted[to_first + offset])
        for node, _ in elements[first + both : last]:
            splices.remove(_no_list(node))
        for block in blocks[to_first + both : to_last]:
            node = _no_list(elements[max(first + both, 1) - 1][0])
            splices.insert(node, block, behind=first + both > 0)


def _scalars(
    splices: Splices,
    nodes: list[FieldNode],
    target: Message,
    name: str,
    current: list[object],
    wanted: list[object],
) -> None:
    if list(map(repr, current)) == list(map(repr, wanted)):
        return
    elements = _elements(nodes)
    texts = _scalar_texts(target, name)
    both = min(len(elements), len(texts))
    if len(elements) != len(texts) and any(node.list_span for node in nodes):
        first = nodes[0]
        start, end = first.list_span or (first.values[0].start, first.values[0].end)
        splices.replace(first, start, end, f"[{', '.join(texts)}]")
        _remove(splices, nodes[1:])
        return
    for (node, value), old, new, text in zip(elements, current, wanted, texts, strict=False):
        if repr(old) != repr(new):
            single = splices.text[value.start] == "'" and not set(text[1:-1]) & set("'\"\\")
            quoted = f"'{text[1:-1]}'" if single else text
            splices.replace(node, value.start, value.end, quoted)
    _remove(splices, [node for node, _ in elements[both:]])
    for text in texts[both:]:
        splices.insert(nodes[-1], f"{name}: {text}", behind=True)


def _elements(nodes: list[FieldNode]) -> list[tuple[FieldNode, Value]]:
    return [(node, value) for node in nodes for value in node.values]


def _no_list(node: FieldNode) -> FieldNode:
    if node.list_span is not None:
        raise TextTreeError(f"'{node.name}' is a list of messages in brackets")
    return node


def _bytes(message: Message) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _blocks(message: Message, name: str) -> list[str]:
    """Gives the field as protobuf prints it, without indentation; items of messages one by one."""
    value: Any = getattr(message, name)
    descriptor = message.DESCRIPTOR.fields_by_name[name]
    holder = type(message)()
    if descriptor.message_type is None:
        texts = _scalar_texts(message, name)
        as_list = len(texts) > 1 and not texts[0].startswith(('"', "'"))
        return [f"{name}: {text}" for text in ([f"[{', '.join(texts)}]"] if as_list else texts)]
    if isinstance(value, Message):
        getattr(holder, name).CopyFrom(value)
        getattr(holder, name).SetInParent()
    elif is_map(descriptor):
        getattr(holder, name).MergeFrom(value)
    else:
        return [_printed(type(message)(**{name: [item]})) for item in value]
    return [_printed(holder)]


def _scalar_texts(message: Message, name: str) -> list[str]:
    """Gives each value of a scalar field as protobuf prints it."""
    holder = type(message)(**{name: getattr(message, name)})
    return [line.removeprefix(f"{name}: ") for line in _printed(holder).split("\n")]


def _printed(message: Message) -> str:
    return str(text_format.MessageToString(message, as_utf8=True)).rstrip("\n")
