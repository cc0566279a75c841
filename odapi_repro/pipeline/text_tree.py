"""The text of a config as tokens, as a tree of spans, and as places; any text has all three.

protobuf's own parser forgets positions, comments and how a list was written, and stops at the first
error; to edit a text in place, to mend one that is broken, and to tell where a field stands needs
them. Grammar: protobuf.dev/reference/protobuf/textformat-spec, less extensions and `Any`, which no
message of the OD API's configs has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

# The tokens of google/protobuf/text_format.py's Tokenizer; a string may lack its closing quote and
# ends with the line then.
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<comment>\#.*)"
    r"|(?P<name>[A-Za-z_][\w+-]*)"
    r"|(?P<number>(?:[0-9+-]|\.[0-9])[\w.+-]*)"
    r"|(?P<string>\"[^\"\\\n]*(?:\\.[^\"\\\n]*)*(?:\"|\\?$)|'[^'\\\n]*(?:\\.[^'\\\n]*)*(?:'|\\?$))"
    r"|(?P<mark>.)",
    re.MULTILINE,
)
_CLOSED = re.compile(r"([\"'])(?:(?!\1)[^\\]|\\.)*\1")
_CLOSING = {"{": "}", "<": ">"}
# Thirty times the longest config of the OD API; it bounds what a hostile text can take.
_MOST_TOKENS = 100_000
# A config nests about ten deep; what nests deeper is no config, and would exhaust the stack.
_DEEPEST = 100
# What may stand next, in the words of a refusal: a field; a colon or a value; a value; an item of
# a list; what follows an item.
_FIELD, _COLON, _VALUE, _ITEM, _REST = range(5)
_WANTED = ("a word", "a value", "a value", "a value", ",")


class TextTreeError(ValueError):
    """The text is no text proto, or one of a form that is not followed here."""


class Token(NamedTuple):
    """One token: its kind (comment, name, number, string or mark) and its span."""

    kind: str
    text: str
    start: int
    end: int


@dataclass
class Value:
    """One value of a field: a scalar, or a message with a body.

    Attributes:
        start, end: span in the text; of a message from its opening to its closing delimiter.
        body: what a message holds; None for a scalar.
    """

    start: int
    end: int
    body: Body | None = None


@dataclass
class FieldNode:
    """One occurrence of a field.

    Attributes:
        name: as it stands in the text; the bracket of a message that has no name.
        start, end: span from the name to the separator (`,` or `;`) after the value, if any.
        values: one, or those of the list `[a, b]`.
        list_span: span of the list with its brackets, to 0 while it is open; None where there is
            no list.
    """

    name: str
    start: int
    end: int
    values: list[Value] = field(default_factory=list)
    list_span: tuple[int, int] | None = None


@dataclass
class Body:
    """The inside of a message.

    Attributes:
        start, end: span between the delimiters, to the end of the text where it is never closed;
            of the root from where the walk began.
        closing: the delimiter that closes it; empty for the root, which is the whole text.
        fields: in the order of the text.
    """

    start: int
    end: int
    closing: str = ""
    fields: list[FieldNode] = field(default_factory=list)


def all_tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """Gives the tokens between two positions, which are token borders."""
    for match in _TOKEN.finditer(text, start, len(text) if end is None else end):
        if match.lastgroup != "space":
            yield Token(str(match.lastgroup), match[0], match.start(), match.end())


def tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """Gives the tokens between two positions without the comments."""
    return (one for one in all_tokens(text, start, end) if one.kind != "comment")


class TextWalk:
    """Walks a text that may be broken from a position on, and grows its tree.

    Any mark is a token, and a bracket closes what is open, whichever it is. A name that comes
    where a value is missing begins the next field. The walk ends after 100,000 tokens, or as many
    as it is given.

    Attributes:
        root: the tree of what was walked.
        open: the fields whose messages are open here, outermost first, each with that message.
        closed: the field whose message was closed last, and the position of the bracket that did.
        fault: why what was walked is no text proto; empty where it is one.
    """

    def __init__(self, text: str, start: int = 0, most_tokens: int | None = _MOST_TOKENS) -> None:
        self._text = text
        self._tokens = islice(tokens(text, start), most_tokens)
        self._next = next(self._tokens, None)
        self._state = _FIELD
        self.root = Body(start, len(text))
        self.open: list[tuple[FieldNode, Body]] = []
        self.closed: tuple[FieldNode, int] | None = None
        self.fault = ""

    @property
    def body(self) -> Body:
        """The innermost message that is open."""
        return self.open[-1][1] if self.open else self.root

    @property
    def names(self) -> list[str]:
        """The names of the fields whose messages are open, outermost first."""
        return [owner.name for owner, _ in self.open]

    def closing(self, depth: int) -> str:
        """Gives the brackets that close what is open from a depth on."""
        return "".join(inner.closing for _, inner in reversed(self.open[depth:]))

    @property
    def statement(self) -> FieldNode | None:
        """The field that the text is in, or was in last, in this message; None behind a message."""
        last = self.body.fields[-1] if self.body.fields else None
        is_message = last is not None and any(value.body is not None for value in last.values)
        return None if is_message else last

    def to(self, position: int) -> TextWalk:
        """Walks on to the token that begins at a position or behind it, and gives itself."""
        while self._next is not None and self._next.start < position:
            self._step(self._next)
        return self

    def over_field(self) -> TextWalk:
        """Walks over the first field, to the next one or a bracket that closes nothing in it."""
        while self._next is not None and len(self.root.fields) < 2:
            if self._next.text in ("}", ">") and self._next.text != self.body.closing:
                break
            self._step(self._next)
        return self

    def _step(self, token: Token) -> None:
        self._next = next(self._tokens, None)
        if token.kind != "mark":
            self._word(token)
        elif token.text in _CLOSING:
            self._open(token)
        elif token.text in _CLOSING.values():
            self._close(token)
        else:
            self._mark(token)
        if self._next is None and (self.open or self._state != _FIELD):
            self.fault = self.fault or "the text ends within a field"

    def _word(self, token: Token) -> None:
        is_string = token.kind == "string"
        if not (_CLOSED.fullmatch(token.text) if is_string else token.text.isascii()):
            self._refuse(token, "is no token of a text proto")
        if not is_string and self._begins_field(token):
            if self._state != _FIELD or token.kind == "number":
                self._refuse(token)
            self.body.fields.append(FieldNode(token.text, token.start, token.end))
            self._state = _COLON
            return
        if not self.body.fields:
            self._refuse(token)
            return
        last = self.body.fields[-1]
        ended = [one for one in last.values[-1:] if one.body is None and one.end == last.end]
        follows = self._state in (_FIELD, _REST)
        # Strings side by side are one; one behind a word is taken for a part of it, too.
        joins = follows and is_string and bool(ended)
        if follows and not (joins and self._text[ended[0].start] in "\"'"):
            self._refuse(token)
        if joins:
            ended[0].end = last.end = token.end
        elif self._state != _FIELD:
            last.values.append(Value(token.start, token.end))
            self._ended(last, token)

    def _begins_field(self, token: Token) -> bool:
        named = self._next is not None and self._next.text in (":", *_CLOSING)
        if token.kind == "number":
            return named and self._state == _FIELD
        if self._state in (_FIELD, _COLON):
            return True
        # Where a value is missing, the name of the next field comes in its place.
        before = self._text[self.body.fields[-1].start : token.start]
        return named and (self._state != _VALUE or "\n" in before)

    def _open(self, token: Token) -> None:
        if self._state in (_FIELD, _REST):
            self._refuse(token)
        if self._state == _FIELD:
            self.body.fields.append(FieldNode(token.text, token.start, token.end))
        owner = self.body.fields[-1]
        inner = Body(token.end, len(self._text), _CLOSING[token.text])
        owner.values.append(Value(token.start, len(self._text), inner))
        self.open.append((owner, inner))
        if len(self.open) > _DEEPEST:
            self.fault = self.fault or f"messages nest deeper than {_DEEPEST}"
        self._state = _FIELD

    def _close(self, token: Token) -> None:
        if self._state != _FIELD or token.text != self.body.closing:
            self._refuse(token)
        if self.open:
            owner, inner = self.open.pop()
            inner.end, owner.values[-1].end = token.start, token.end
            self.closed = (owner, token.start)
            self._ended(owner, token)
        else:
            self._state = _FIELD

    def _ended(self, owner: FieldNode, token: Token) -> None:
        """Notes that a value ends with a token."""
        owner.end = token.end
        in_list = owner.list_span is not None and not owner.list_span[1]
        self._state = _REST if in_list else _FIELD

    def _mark(self, token: Token) -> None:
        mark, state = token.text, self._state
        last = self.body.fields[-1] if self.body.fields else None
        if last is None or mark not in ":[],;":
            self._refuse(token, "" if mark in ":[],;" else "is no token of a text proto")
            return
        if mark == ":" and state == _COLON:
            self._state = _VALUE
        elif mark == "[" and state in (_COLON, _VALUE):
            last.list_span, self._state = (token.start, 0), _ITEM
        elif mark == "]" and last.list_span and state in (_REST, _ITEM):
            if state == _ITEM and last.values:
                self._refuse(token)
            last.list_span, self._state = (last.list_span[0], token.end), _FIELD
        elif mark == "," and state == _REST:
            self._state = _ITEM
        elif state != _FIELD or mark not in ",;" or self._text[last.end - 1] in ",;":
            self._refuse(token)
            return
        last.end = token.end

    def _refuse(self, token: Token, said: str = "") -> None:
        shown = self._text[token.start : token.start + 10] if said else token.text
        said = said or f"where {_WANTED[self._state]} was expected"
        self.fault = self.fault or f"'{shown}' {said}"


def parse_text_tree(text: str) -> Body:
    """Gives the root of the text's tree.

    Raises:
        TextTreeError: what stands there is no text proto.
    """
    walk = TextWalk(text, most_tokens=None).to(len(text))
    if walk.fault:
        raise TextTreeError(walk.fault)
    return walk.root


def comments_in(text: str, start: int, end: int) -> list[tuple[int, str]]:
    """Gives (position, comment) of the comments between two positions that are token borders."""
    return [
        (one.start, one.text.rstrip())
        for one in all_tokens(text, start, end)
        if one.kind == "comment"
    ]


def split_comment(line: str) -> tuple[str, str]:
    """Gives the code of a line and its comment, which is empty where there is none."""
    start = next((at for at, _ in comments_in(line, 0, len(line))), None) if "#" in line else None
    return (line, "") if start is None else (line[:start], line[start:])


def comments_of(text: str) -> list[tuple[int, str]]:
    """Gives (line from 1, comment) of all comments of a text, also of one that does not parse."""
    return [
        (number, comment.rstrip())
        for number, line in enumerate(text.split("\n"), 1)
        if (comment := split_comment(line)[1])
    ]


def lost_comments(text: str, edited: str) -> tuple[tuple[int, str], ...]:
    """Gives (line from 1, comment) of the comments of a text that an edited form lacks."""
    left = Counter(comment for _, comment in comments_of(edited))
    lost = []
    for line, comment in comments_of(text):
        if left[comment] > 0:
            left[comment] -= 1
        else:
            lost.append((line, comment))
    return tuple(lost)


@dataclass(frozen=True)
class Place:
    """A place in a text; line and column count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


def place_of(text: str, position: int) -> Place:
    """Gives the line and column of a position."""
    start = text.rfind("\n", 0, position) + 1
    return Place(text.count("\n", 0, start) + 1, position - start + 1)


class Places:
    """The places of all fields of one text, by the dotted paths of `pipeline.flatten_fields`.

    The text is walked, 100,000 tokens at most, when a place is first asked for. Any text will do:
    what is no text proto has few fields, and a wrong brace shifts the fields after it.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._positions: dict[str, int] | None = None

    def of(self, path: str) -> Place | None:
        """Gives the place of a field, or else of the innermost message around it that is there.

        An index may be left out and then means the first. None when not even the outermost
        message of the path is there.
        """
        if self._positions is None:
            root = TextWalk(self._text).to(len(self._text)).root
            self._positions = dict(_positions(root, "", _DEEPEST))
        steps = [one if one.endswith("]") else f"{one}[0]" for one in path.split(".")]
        for end in range(len(steps), 0, -1):
            position = self._positions.get(".".join(steps[:end]))
            if position is not None:
                return place_of(self._text, position)
        return None


def _positions(body: Body, path: str, deepest: int) -> Iterator[tuple[str, int]]:
    """Gives path and position of every field, each step of the path with an index."""
    seen: Counter[str] = Counter()
    for node in body.fields:
        for value in node.values or [Value(node.start, node.end)]:
            inner = f"{path}{node.name}[{seen[node.name]}]"
            seen[node.name] += bool(
                node.values
            )  # of the same name without a value, the next counts
            is_item = node.list_span is not None and value.body is None
            yield inner, value.start if is_item else node.start
            if value.body is not None and deepest:
                yield from _positions(value.body, f"{inner}.", deepest - 1)
