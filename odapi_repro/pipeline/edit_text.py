"""Edits the text of a pipeline.config in place: what is not edited stays as the user wrote it.

Comments, order, number formats and layout survive. The edits are made on the proto; then the text
is led to it by the differences alone, and parsed again as a proof. No comment is ever lost: those
of a field that goes stay behind on lines of their own, and those of a text that could not be edited
stand together at the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

from odapi_repro.pipeline.fields import set_field
from odapi_repro.pipeline.text_render import Rendered, is_map, render_field, scalar_texts
from odapi_repro.pipeline.text_repeats import leave_once
from odapi_repro.pipeline.text_splices import Splices
from odapi_repro.pipeline.text_tree import (
    Body,
    FieldNode,
    TextTreeError,
    Value,
    comments_of,
    parse_text_tree,
)


@dataclass(frozen=True)
class FieldEdit:
    """One edit of a config.

    Attributes:
        path: dotted, e.g. `train_config.batch_size` or `eval_input_reader[0].shuffle`.
        value: what `set_field` takes: a scalar, an enum's name, a list for a repeated scalar, `{}`
            for an empty message, None to remove the field. A whole message is a message or the
            text of one, a repeated message a list of these.
    """

    path: str
    value: object


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


def apply_edits(text: str, edits: Sequence[FieldEdit]) -> str:
    """Gives the text with the edits made, everything else as it stood.

    Where the text cannot be edited faithfully it is the edited proto's own form: `rewrite_text`
    tells which.

    Raises:
        google.protobuf.text_format.ParseError: the text is no pipeline.config.
        KeyError, ValueError, TypeError, IndexError: an edit that fits no field; see `set_field`.
    """
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    text_format.Merge(text, proto)
    for edit in edits:
        edit_proto(proto, edit)
    return rewrite_text(text, proto).text


def edit_proto(proto: Message, edit: FieldEdit) -> None:
    """Makes one edit on a message, in place; raises what `apply_edits` raises."""
    path, value = edit.path, edit.value
    if _message_type(proto, path) is None or value is None or value == "{}":
        set_field(proto, path, value)
    elif isinstance(value, (list, tuple)):
        set_field(proto, path, None)
        for index, item in enumerate(value):
            _set_message(proto, f"{path}[{index}]", item)
    else:
        _set_message(proto, path, value)


def _set_message(proto: Message, path: str, value: object) -> None:
    set_field(proto, path, "{}")
    message = _message_at(proto, path)
    message.Clear()
    message.SetInParent()
    if isinstance(value, Message):
        message.CopyFrom(value)
    else:
        text_format.Parse(str(value), message)


def rewrite_text(text: str, target: pipeline_pb2.TrainEvalPipelineConfig) -> EditedText:
    """Gives the text led to `target`; where it cannot be followed, the proto's own form.

    What stands twice where one counts is left once. Comments are kept in either case.
    """
    current = pipeline_pb2.TrainEvalPipelineConfig()
    why = ""
    try:
        once = leave_once(text)
        text_format.Merge(once, current)
        edited = _lead(once, current, target)
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


def _lead(text: str, current: Message, target: Message) -> str:
    splices = Splices(text)
    _Leader(text, splices).message(parse_text_tree(text), current, target)
    return splices.apply()


class _Leader:
    """Walks tree, present and wanted message together, and notes what must change in the text."""

    def __init__(self, text: str, splices: Splices) -> None:
        self._text = text
        self._splices = splices

    def message(self, body: Body, current: Message, target: Message) -> None:
        """Leads one message, whose inside is `body`."""
        present = {descriptor.name: value for descriptor, value in current.ListFields()}
        wanted = {descriptor.name: value for descriptor, value in target.ListFields()}
        taken: set[str] = set()
        for name in [name for name in wanted if name not in present]:
            old = _other_member(current, name)
            nodes = _nodes(body, old)
            if old is None or old in wanted or old in taken or not nodes:
                self._append(body, target, name)
                continue
            # Another member of the oneof stands there: the new one takes its place.
            taken.add(old)
            (rendered,) = render_field(target, name)
            self._splices.replace_field(nodes[0], rendered)
            for node in nodes[1:]:
                self._splices.remove(node)
        for name, value in present.items():
            nodes = _nodes(body, name)
            if name in taken:
                continue
            if name not in wanted:
                for node in nodes:
                    self._splices.remove(node)
            elif isinstance(value, Message):
                self._submessage(nodes, value, wanted[name])
            elif isinstance(value, (str, bytes, int, float)):
                self._scalar(nodes, target, name, value, wanted[name])
            elif is_map(current, name):
                self._map(body, nodes, target, name, value, wanted[name])
            elif isinstance(value[0], Message):
                self._messages(nodes, target, name, list(value), list(wanted[name]))
            else:
                self._scalars(nodes, target, name, list(value), list(wanted[name]))

    def _append(self, body: Body, target: Message, name: str) -> None:
        for rendered in render_field(target, name):
            self._splices.add(body, rendered)

    def _submessage(self, nodes: list[FieldNode], current: Message, target: Message) -> None:
        bodies = [value.body for node in nodes for value in node.values if value.body is not None]
        if len(bodies) != 1:
            raise TextTreeError(f"'{nodes[0].name}' stands {len(bodies)} times in one message")
        self.message(bodies[0], current, target)

    def _scalar(
        self, nodes: list[FieldNode], target: Message, name: str, old: object, new: object
    ) -> None:
        # protobuf's merge takes the last one, its parser refuses a second.
        for node in nodes[:-1]:
            self._splices.remove(node)
        if repr(old) != repr(new):
            node, value = _elements(nodes)[-1]
            self._replace(node, value, scalar_texts(target, name)[0])

    def _replace(self, node: FieldNode, value: Value, text: str) -> None:
        old = self._text[value.start : value.end]
        if old.startswith("'") and not set(text[1:-1]) & set("'\"\\"):
            text = f"'{text[1:-1]}'"
        self._splices.replace(node, value.start, value.end, text)

    def _map(
        self,
        body: Body,
        nodes: list[FieldNode],
        target: Message,
        name: str,
        current: Mapping[Any, Any],
        wanted: Mapping[Any, Any],
    ) -> None:
        if repr(sorted(current.items())) != repr(sorted(wanted.items())):
            for node in nodes:
                self._splices.remove(node)
            self._append(body, target, name)

    def _messages(
        self,
        nodes: list[FieldNode],
        target: Message,
        name: str,
        current: list[Message],
        wanted: list[Message],
    ) -> None:
        elements = _elements(nodes)
        texts = render_field(target, name)
        changes = SequenceMatcher(
            None, [_bytes(one) for one in current], [_bytes(one) for one in wanted], autojunk=False
        )
        for _, first, last, to_first, to_last in changes.get_opcodes():
            both = min(last - first, to_last - to_first)
            for offset in range(both):
                body = elements[first + offset][1].body
                if body is not None:
                    self.message(body, current[first + offset], wanted[to_first + offset])
            for node, _ in elements[first + both : last]:
                self._no_list(node)
                self._splices.remove(node)
            for rendered in texts[to_first + both : to_last]:
                node = elements[max(first + both, 1) - 1][0]
                self._no_list(node)
                if first + both:
                    self._splices.add_after(node, rendered)
                else:
                    self._splices.add_before(node, rendered)

    def _no_list(self, node: FieldNode) -> None:
        if node.list_span is not None:
            raise TextTreeError(f"'{node.name}' is a list of messages in brackets")

    def _scalars(
        self,
        nodes: list[FieldNode],
        target: Message,
        name: str,
        current: list[object],
        wanted: list[object],
    ) -> None:
        if list(map(repr, current)) == list(map(repr, wanted)):
            return
        elements = _elements(nodes)
        texts = scalar_texts(target, name)
        both = min(len(elements), len(texts))
        if len(elements) != len(texts) and any(node.list_span for node in nodes):
            first = nodes[0]
            start, end = first.list_span or (first.values[0].start, first.values[0].end)
            self._splices.replace(first, start, end, f"[{', '.join(texts)}]")
            for node in nodes[1:]:
                self._splices.remove(node)
            return
        for (node, value), old, new, text in zip(elements, current, wanted, texts, strict=False):
            if repr(old) != repr(new):
                self._replace(node, value, text)
        for node, _ in elements[both:]:
            self._splices.remove(node)
        for text in texts[both:]:
            self._splices.add_after(nodes[-1], Rendered(f"{name}: {text}", f"{name}: {text}"))


def _nodes(body: Body, name: str | None) -> list[FieldNode]:
    return [node for node in body.fields if node.name == name]


def _elements(nodes: list[FieldNode]) -> list[tuple[FieldNode, Value]]:
    return [(node, value) for node in nodes for value in node.values]


def _bytes(message: Message) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _other_member(message: Message, name: str) -> str | None:
    """The member of the field's oneof that the message has set, if any."""
    oneof = message.DESCRIPTOR.fields_by_name[name].containing_oneof
    return None if oneof is None else message.WhichOneof(oneof.name)


def _message_type(message: Message, path: str) -> Any:
    """The descriptor of the message at a path; None for a scalar."""
    kind: Any = message.DESCRIPTOR
    for step in path.split("."):
        kind = kind.fields_by_name[step.partition("[")[0]].message_type
    return kind


def _message_at(message: Message, path: str) -> Message:
    node: Any = message
    for step in path.split("."):
        name, _, index = step.removesuffix("]").partition("[")
        node = getattr(node, name)
        if not isinstance(node, Message):
            node = node[int(index or 0)]
    found: Message = node
    return found
