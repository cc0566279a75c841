"""Fields that stand several times where one counts: found, and left once in the text.

The OD API reads a config with `text_format.Merge`, which takes what `Parse` refuses: of a value
given twice the last one counts, a block given twice is merged, and of several members of a oneof
only the last is kept. Several augmentation steps in one `data_augmentation_options` block are such
members, so that all but the last are dropped without a word.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from object_detection.protos import pipeline_pb2

from odapi_repro.pipeline.text_splices import Splices
from odapi_repro.pipeline.text_tree import (
    Body,
    FieldNode,
    TextTreeError,
    Value,
    parse_text_tree,
    place_of,
)

_ROOT = pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR
# A round leaves repeats inside of repeats to the next one; a config nests about ten deep.
_MOST_ROUNDS = 30


@dataclass(frozen=True)
class Repeat:
    """A field, or several kinds of one thing, given more than once.

    Attributes:
        sort: `value` (a scalar, of which the last counts), `block` (a message, which is merged),
            `kinds` (members of a oneof, of which the last counts), or `steps` (the same in an item
            of a repeated field, which could have an item each).
        holder: name of the message type that holds them.
        path: dotted, of the holder; empty for the config itself.
        nodes: the fields, in the order of the text.
        lines: where each stands, from 1.
        counted: how many of them count today, from the end: one, but for kinds given in pieces.
        item: the block that holds steps.
    """

    sort: str
    holder: str
    path: str
    nodes: tuple[FieldNode, ...]
    lines: tuple[int, ...]
    counted: int = 1
    item: tuple[FieldNode, Value] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each."""
        return tuple(node.name for node in self.nodes)

    @property
    def places(self) -> tuple[tuple[int, str], ...]:
        """Line and name of each."""
        return tuple(zip(self.lines, self.names, strict=True))

    @property
    def thing(self) -> str:
        """The field that holds them, without an index; `the config` at the outermost level."""
        return re.sub(r"\[\d+\]$", "", self.path.rpartition(".")[2]) or "the config"

    @property
    def counts(self) -> str:
        """The field that counts today."""
        return self.names[-1]

    @property
    def dropped(self) -> tuple[str, ...]:
        """The fields that do not count today, each name once."""
        return tuple(dict.fromkeys(self.names[: -self.counted]))


def find_repeats(text: str) -> tuple[Repeat, ...]:
    """Gives what stands more than once, in the order of the text; nothing of no text proto."""
    try:
        root = parse_text_tree(text)
    except TextTreeError:
        return ()
    return tuple(sorted(_message(text, [root], _ROOT), key=lambda one: one.nodes[0].start))


def leave_once(text: str) -> str:
    """Gives the text with every field once, comments kept.

    It reads as before, but for steps: each gets a block of its own, so that all of them count.

    Raises:
        TextTreeError: the text is no text proto.
    """
    for _ in range(_MOST_ROUNDS):
        splices = Splices(text)
        spans: list[tuple[int, int]] = []
        for found in _message(text, [parse_text_tree(text)], _ROOT):
            nodes = [*found.nodes, *([found.item[0]] if found.item else [])]
            span = (min(node.start for node in nodes), max(node.end for node in nodes))
            if not any(span[0] < end and start < span[1] for start, end in spans):
                spans.append(span)
                _leave_once(found, splices)
        if not spans:
            break
        text = splices.apply()
    return text


def _leave_once(found: Repeat, splices: Splices) -> None:
    nodes = found.nodes
    if found.sort == "block":
        (first, *later) = [(node, value.body) for node in nodes for value in node.values]
        for node, body in later:
            if first[1] is not None and body is not None:
                splices.merge(first[1], node, body)
    elif found.item is not None:
        for before, after in itertools.pairwise(nodes):
            if before.name != after.name:
                splices.split(*found.item, before, after)
    else:
        for node in nodes[: -found.counted]:
            splices.remove(node)


def _message(
    text: str,
    bodies: Sequence[Body],
    kind: Any,
    path: str = "",
    item: tuple[FieldNode, Value] | None = None,
) -> Iterator[Repeat]:
    """Yields what is repeated in a message, the outer repeats before those inside.

    Args:
        text: the whole of it.
        bodies: what the inside of the message is made of.
        kind: the message's descriptor.
        path: of the message.
        item: the block that holds it where that is an item of a repeated field.
    """
    by_name: dict[str, list[FieldNode]] = {}
    for body in bodies:
        for node in body.fields:
            by_name.setdefault(node.name, []).append(node)
    for oneof in kind.oneofs:
        members = {field.name for field in oneof.fields} & by_name.keys()
        if len(members) > 1:
            nodes = [node for name in members for node in by_name.pop(name)]
            # Where the item is nothing but the oneof, every member could have an item of its own.
            is_step = item is not None and len(oneof.fields) == len(kind.fields)
            sort = "steps" if is_step else "kinds"
            found = _repeat(text, sort, kind, path, nodes, item if is_step else None)
            yield found
            if not is_step:  # what is left of it may be in pieces
                by_name[found.counts] = list(found.nodes[-found.counted :])
    for name, nodes in by_name.items():
        descriptor = kind.fields_by_name.get(name)
        if descriptor is None:
            continue
        message_type = descriptor.message_type
        inside = f"{path}.{name}" if path else name
        values = [(node, value) for node in nodes for value in node.values]
        is_repeated = not descriptor.has_presence
        if not is_repeated and len(values) > 1 and len(nodes) > 1:
            yield _repeat(text, "value" if message_type is None else "block", kind, path, nodes)
        if message_type is None:
            continue
        if not is_repeated:
            inner = [value.body for _, value in values if value.body is not None]
            yield from _message(text, inner, message_type, inside)
            continue
        for index, (node, value) in enumerate(values):
            if value.body is not None:
                at = f"{inside}[{index}]"
                yield from _message(text, [value.body], message_type, at, (node, value))


def _repeat(
    text: str,
    sort: str,
    kind: Any,
    path: str,
    nodes: Sequence[FieldNode],
    item: tuple[FieldNode, Value] | None = None,
) -> Repeat:
    nodes = sorted(nodes, key=lambda node: node.start)
    last = nodes[-1].name
    alike = len(list(itertools.takewhile(lambda node: node.name == last, reversed(nodes))))
    lines = tuple(place_of(text, node.start).line for node in nodes)
    counted = 1 if sort in ("value", "block") else alike
    return Repeat(sort, kind.name, path, tuple(nodes), lines, counted, item)
