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
from odapi_repro.pipeline.text_tree import Body, FieldNode, TextTreeError, Value, parse_text_tree

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
        names: of the fields, in the order of the text.
        lines: where each stands, from 1.
        counted: how many of them count today, from the end: one, but for kinds given in pieces.
    """

    sort: str
    holder: str
    path: str
    names: tuple[str, ...]
    lines: tuple[int, ...]
    counted: int = 1

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
        return tuple(dict.fromkeys(self.names[: len(self.names) - self.counted]))


@dataclass(frozen=True)
class _Found:
    """A repeat and the nodes that it is made of; `item` is the block that holds steps."""

    repeat: Repeat
    nodes: tuple[FieldNode, ...]
    item: tuple[FieldNode, Value] | None = None


def find_repeats(text: str) -> tuple[Repeat, ...]:
    """Gives what stands more than once, in the order of the text; nothing of no text proto."""
    try:
        found = _Walk(text).message([parse_text_tree(text)], _ROOT, "", None)
    except TextTreeError:
        return ()
    return tuple(one.repeat for one in sorted(found, key=lambda one: one.nodes[0].start))


def leave_once(text: str) -> str:
    """Gives the text with every field once, comments kept.

    It reads as before, but for steps: each gets a block of its own, so that all of them count.

    Raises:
        TextTreeError: the text is no text proto.
    """
    for _ in range(_MOST_ROUNDS):
        splices = Splices(text)
        if not _edit(text, splices):
            return text
        text = splices.apply()
    return text


def _edit(text: str, splices: Splices) -> bool:
    """Notes the edits of one round; whether there were any."""
    spans: list[tuple[int, int]] = []
    for found in _Walk(text).message([parse_text_tree(text)], _ROOT, "", None):
        nodes = [*found.nodes, *([found.item[0]] if found.item else [])]
        span = (min(node.start for node in nodes), max(node.end for node in nodes))
        if any(span[0] < end and start < span[1] for start, end in spans):
            continue
        spans.append(span)
        _leave_once(found, splices)
    return bool(spans)


def _leave_once(found: _Found, splices: Splices) -> None:
    nodes = found.nodes
    if found.repeat.sort == "block":
        (first, *later) = [(node, value.body) for node in nodes for value in node.values]
        for node, body in later:
            if first[1] is not None and body is not None:
                splices.merge(first[1], node, body)
    elif found.repeat.sort == "steps" and found.item is not None:
        for before, after in itertools.pairwise(nodes):
            if before.name != after.name:
                splices.split(*found.item, before, after)
    else:
        for node in nodes[: len(nodes) - found.repeat.counted]:
            splices.remove(node)


class _Walk:
    """Walks the tree beside the descriptors; the outer repeats come before those inside."""

    def __init__(self, text: str) -> None:
        self._text = text

    def message(
        self, bodies: Sequence[Body], kind: Any, path: str, item: tuple[FieldNode, Value] | None
    ) -> Iterator[_Found]:
        """Yields what is repeated in a message, whose inside is all of `bodies`.

        `item` is the block that holds it where that is an item of a repeated field.
        """
        by_name: dict[str, list[FieldNode]] = {}
        for body in bodies:
            for node in body.fields:
                by_name.setdefault(node.name, []).append(node)
        for oneof in kind.oneofs:
            members = {field.name for field in oneof.fields} & by_name.keys()
            if len(members) > 1:
                found = self._kinds(
                    oneof, [by_name.pop(name) for name in members], kind, path, item
                )
                yield found
                if found.item is None:  # what is left of it may be in pieces
                    by_name[found.repeat.counts] = list(found.nodes[-found.repeat.counted :])
        for name, nodes in by_name.items():
            descriptor = kind.fields_by_name.get(name)
            if descriptor is None:
                continue
            inside = f"{path}.{name}" if path else name
            if not descriptor.has_presence:  # a repeated one
                if descriptor.message_type is not None:
                    yield from self._items(nodes, descriptor.message_type, inside)
                continue
            sort = "value" if descriptor.message_type is None else "block"
            values = [value for node in nodes for value in node.values]
            if len(values) > 1 and len(nodes) > 1:
                yield _Found(self._repeat(sort, kind, path, nodes), tuple(nodes))
            if descriptor.message_type is not None:
                inner = [value.body for value in values if value.body is not None]
                yield from self.message(inner, descriptor.message_type, inside, None)

    def _items(self, nodes: Sequence[FieldNode], kind: Any, path: str) -> Iterator[_Found]:
        items = [(node, value) for node in nodes for value in node.values]
        for index, (node, value) in enumerate(items):
            if value.body is not None:
                yield from self.message([value.body], kind, f"{path}[{index}]", (node, value))

    def _kinds(
        self,
        oneof: Any,
        by_member: Sequence[Sequence[FieldNode]],
        kind: Any,
        path: str,
        item: tuple[FieldNode, Value] | None,
    ) -> _Found:
        nodes = sorted((node for one in by_member for node in one), key=lambda node: node.start)
        last = nodes[-1].name
        counted = next(n for n, node in enumerate(reversed(nodes)) if node.name != last)
        # Where the item is nothing but the oneof, every member could have an item of its own.
        is_step = item is not None and len(oneof.fields) == len(kind.fields)
        repeat = self._repeat("steps" if is_step else "kinds", kind, path, nodes, counted)
        return _Found(repeat, tuple(nodes), item if is_step else None)

    def _repeat(
        self, sort: str, kind: Any, path: str, nodes: Sequence[FieldNode], counted: int = 1
    ) -> Repeat:
        return Repeat(
            sort,
            kind.name,
            path,
            tuple(node.name for node in nodes),
            tuple(self._text.count("\n", 0, node.start) + 1 for node in nodes),
            counted,
        )
