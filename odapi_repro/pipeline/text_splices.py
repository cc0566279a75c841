"""Cuts and insertions in a text proto that fit its layout, and fields that stand twice.

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

from odapi_repro.pipeline.text_tree import (
    Body,
    FieldNode,
    TextTreeError,
    Value,
    comments_in,
    parse_text_tree,
    place_of,
)

# --- Cuts and insertions in a text proto that fit into its layout ---


_INDENT = "  "
# The longest line that an insertion into a one-line message may make.
_WIDEST = 100


class Splices:
    """Collects edits by their positions in the original text, and makes them all at once.

    Attributes:
        text: the original.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._cuts: list[tuple[int, int, str]] = []
        self._added: dict[tuple[int, int], tuple[Body, list[str]]] = {}

    def replace(self, node: FieldNode, start: int, end: int, text: str) -> None:
        """Puts `text` for the span, which lies in the field; comments in it go above the field."""
        self._hoist(node, start, end)
        self._cuts.append((start, end, text))

    def replace_field(self, node: FieldNode, block: str) -> None:
        """Puts another field where this one stands."""
        alone = self._alone(node) is not None
        text = self._indented(block, self._indent(node.start)) if alone else _one_line(block)
        self.replace(node, node.start, node.end, text.strip())

    def remove(self, node: FieldNode) -> None:
        """Takes the field out, with its line when it stands alone there; comments stay."""
        rest = self._alone(node)
        if rest is None:
            behind = self.text[node.end :]
            end = len(self.text) - len(behind.lstrip(" \t"))
            self.replace(node, node.start, end, "")
            return
        indent = self._indent(node.start)
        comments = [comment for _, comment in comments_in(self.text, node.start, rest)]
        kept = "".join(f"{indent}{comment}{self._newline}" for comment in comments)
        self._cuts.append((self._line_start(node.start), self._next_line(rest), kept))

    def add(self, body: Body, block: str) -> None:
        """Adds a field at the end of a message."""
        self._added.setdefault((body.start, body.end), (body, []))[1].append(block)

    def insert(self, node: FieldNode, block: str, *, behind: bool) -> None:
        """Adds a field behind another one, or in front of it."""
        rest = self._alone(node)
        if rest is None:
            at, line = node.end if behind else node.start, _one_line(block)
            self._cuts.append((at, at, f" {line}" if behind else f"{line} "))
            return
        at = self._next_line(rest) if behind else self._line_start(node.start)
        block = self._indented(block, self._indent(node.start))
        is_last = at == rest  # the text ends without a line break
        self._cuts.append((at, at, self._newline + block if is_last else block + self._newline))

    def merge(self, into: Body, node: FieldNode, body: Body) -> None:
        """Takes the block out, and puts what it holds at the end of another message."""
        end = self._alone(node)
        if end is not None and not self.text[node.end : end].strip():
            self._cuts.append((self._line_start(node.start), self._next_line(end), ""))
        else:  # what follows on the line, or a comment, stays
            self._cuts.append((node.start, node.end, ""))
        # Between the name and its bracket, too, a comment may stand.
        head = [comment for _, comment in comments_in(self.text, node.start, body.start)]
        first, *rest = self.text[body.start : body.end].split("\n")
        indent = self._child_indent(into)
        lines = [indent + line for line in (*head, first.strip()) if line]
        lines += [line.rstrip() for line in rest if line.strip()]
        line_start = self._line_start(into.end)
        if line_start > into.start and not self.text[line_start : into.end].strip():
            kept = "".join(line + self._newline for line in lines)
            self._cuts.append((line_start, line_start, kept))
            return
        at = into.start + len(self.text[into.start : into.end].rstrip())
        if len(lines) == 1 and not comments_in(self.text, node.start, node.end):
            self._cuts.append((at, into.end, f" {first.strip()} "))
        elif lines:
            kept = "".join(self._newline + line for line in lines)
            self._cuts.append((at, into.end, kept + self._newline + self._indent(into.start)))

    def split(self, node: FieldNode, value: Value, before: FieldNode, after: FieldNode) -> None:
        """Closes the item between two of its fields, and opens another one for the second."""
        opening, closing = self.text[value.start], self.text[value.end - 1]
        begin = f", {opening}" if node.list_span is not None else f" {node.name} {opening}"
        rest = self._rest_of_line(before.end)
        own_lines = rest is not None and self._begins_line(after.start)
        if not own_lines or not self._begins_line(node.start):
            self._cuts.append((after.start, after.start, f"{closing}{begin} "))
            return
        indent = self._indent(node.start)
        begin = begin if node.list_span is not None else f"{self._newline}{indent}{begin.strip()}"
        line = self._next_line(rest or 0)
        self._cuts.append((line, line, f"{indent}{closing}{begin}{self._newline}"))

    def apply(self) -> str:
        """Gives the edited text."""
        for body, blocks in self._added.values():
            self._add_to(body, blocks)
        pieces: list[str] = []
        position = 0
        for start, end, text in sorted(self._cuts, key=lambda cut: cut[:2]):
            if start > position:
                pieces.append(self.text[position:start])
            # Behind a cut within the line, the blank is there already.
            doubled = pieces and pieces[-1].endswith(" ") and text.startswith(" ")
            pieces += [text[1:] if doubled else text] if text else []
            position = max(position, end)
        return "".join([*pieces, self.text[position:]])

    def _add_to(self, body: Body, blocks: list[str]) -> None:
        if not body.closing:
            broken = self.text and not self.text.endswith("\n")
            added = "".join(block + self._newline for block in blocks)
            self._cuts.append((body.end, body.end, (self._newline if broken else "") + added))
            return
        line = self._line_start(body.end)
        own_line = line > body.start and not self.text[line : body.end].strip()
        at = line if own_line else body.start + len(self.text[body.start : body.end].rstrip())
        joined = " ".join(map(_one_line, blocks))
        indented = [self._indented(block, self._child_indent(body)) for block in blocks]
        if own_line:
            self._cuts.append((at, at, "".join(block + self._newline for block in indented)))
        elif at - self._line_start(at) + len(joined) + 3 <= _WIDEST:
            self._cuts.append((at, body.end, f" {joined} "))
        else:
            added = "".join(self._newline + block for block in indented)
            self._cuts.append((at, body.end, added + self._newline + self._indent(body.start)))

    def _hoist(self, node: FieldNode, start: int, end: int) -> None:
        indent = self._indent(node.start)
        for _, comment in comments_in(self.text, start, end):
            self._cuts.append((node.start, node.start, comment + self._newline + indent))

    def _child_indent(self, body: Body) -> str:
        for node in body.fields:
            if self._begins_line(node.start):
                return self._indent(node.start)
        return self._indent(body.start) + _INDENT

    def _indented(self, block: str, indent: str) -> str:
        return self._newline.join(indent + line for line in block.split("\n"))

    def _line_start(self, position: int) -> int:
        return self.text.rfind("\n", 0, position) + 1

    def _next_line(self, position: int) -> int:
        found = self.text.find("\n", position)
        return len(self.text) if found < 0 else found + 1

    def _indent(self, position: int) -> str:
        start = self._line_start(position)
        line = self.text[start : self._next_line(start)]
        return line[: len(line) - len(line.lstrip())].rstrip("\r\n")

    def _alone(self, node: FieldNode) -> int | None:
        """Gives the end of the field's last line when nothing but a comment shares its lines."""
        return self._rest_of_line(node.end) if self._begins_line(node.start) else None

    def _begins_line(self, position: int) -> bool:
        return not self.text[self._line_start(position) : position].strip()

    def _rest_of_line(self, position: int) -> int | None:
        """Gives the end of the line when only blanks and a comment follow, else None."""
        end = self.text.find("\n", position)
        end = len(self.text) if end < 0 else end
        rest = self.text[position:end].strip()
        return end if not rest or rest.startswith("#") else None


def _one_line(block: str) -> str:
    return " ".join(map(str.strip, block.split("\n")))


# --- Fields that stand several times where one counts: found, and left once in the text ---


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
