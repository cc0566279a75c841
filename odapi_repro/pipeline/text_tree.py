"""Where the fields of a text proto stand: a tree of character spans, comments and layout left in.

protobuf's own parser forgets positions, comments and how a list was written; an edit in place
needs them. Grammar: protobuf.dev/reference/protobuf/textformat-spec, less extensions and `Any`,
which no message of the OD API's configs has.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z0-9_.+-]+)
      | (?P<mark>[{}<>\[\]:;,])""",
    re.VERBOSE,
)
# What stands before a comment in a line; a string may lack its closing quote, as protobuf reads it.
_CODE = re.compile(
    r"""(?:[^"'#]|"(?:[^"\\]|\\.)*(?:"|\\?$)|'(?:[^'\\]|\\.)*(?:'|\\?$))*+""", re.DOTALL
)
_CLOSING = {"{": "}", "<": ">"}
# A config nests about ten deep; what nests deeper is no config, and would exhaust the stack.
_DEEPEST = 100


class TextTreeError(ValueError):
    """The text is no text proto, or one of a form that is not followed here."""


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
        name: as it stands in the text.
        start, end: span from the name to the separator (`,` or `;`) after the value, if any.
        values: one, or those of the list `[a, b]`.
        list_span: span of the list with its brackets; None where there is no list.
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
        start, end: span between the delimiters; of the root from 0 to the end of the text.
        fields: in the order of the text.
        is_root: whether it is the whole text, which has no delimiters.
    """

    start: int
    end: int
    fields: list[FieldNode] = field(default_factory=list)
    is_root: bool = False


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def parse_text_tree(text: str) -> Body:
    """Gives the root of the text's tree.

    Raises:
        TextTreeError: what stands there is no text proto.
    """
    return _Parser(text).root()


def comments_in(text: str, start: int, end: int) -> list[tuple[int, str]]:
    """Gives (position, comment) of the comments between two positions that are token borders."""
    return [
        (token.start, token.text.rstrip())
        for token in _tokens(text, start, end)
        if token.kind == "comment"
    ]


def comment_start(line: str) -> int | None:
    """Gives the column of the comment in a line, from 0; None where there is none."""
    code = _CODE.match(line)
    end = code.end() if code is not None else 0
    return end if end < len(line) else None


def comments_of(text: str) -> list[tuple[int, str]]:
    """Gives (line from 1, comment) of all comments of a text, also of one that does not parse."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        start = comment_start(line) if "#" in line else None
        if start is not None:
            found.append((number, line[start:].rstrip()))
    return found


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


def _tokens(text: str, start: int, end: int) -> list[_Token]:
    tokens, position = [], start
    while position < end:
        match = _TOKEN.match(text, position, end)
        if match is None:
            raise TextTreeError(f"'{text[position : position + 10]}' is no token of a text proto")
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match[0], match.start(), match.end()))
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens that are not comments."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        found = [token for token in _tokens(text, 0, len(text)) if token.kind != "comment"]
        self._tokens = found
        self._next = 0
        self._depth = 0

    def root(self) -> Body:
        body = Body(0, self._length, is_root=True)
        while self._next < len(self._tokens):
            body.fields.append(self._field())
        return body

    def _peek(self) -> str:
        return self._tokens[self._next].text if self._next < len(self._tokens) else ""

    def _take(self, kind: str = "", text: str = "") -> _Token:
        if self._next >= len(self._tokens):
            raise TextTreeError("the text ends within a field")
        token = self._tokens[self._next]
        if (kind and token.kind != kind) or (text and token.text != text):
            raise TextTreeError(f"'{token.text}' where {text or 'a ' + kind} was expected")
        self._next += 1
        return token

    def _field(self) -> FieldNode:
        name = self._take("word")
        node = FieldNode(name.text, name.start, name.end)
        if self._peek() == ":":
            self._take()
        if self._peek() == "[":
            opening = self._take()
            while self._peek() != "]":
                if node.values:
                    self._take(text=",")
                node.values.append(self._value())
            node.list_span = (opening.start, self._take().end)
        else:
            node.values.append(self._value())
        node.end = self._tokens[self._next - 1].end
        if self._peek() in (",", ";"):
            node.end = self._take().end
        return node

    def _value(self) -> Value:
        first = self._take()
        if first.text in _CLOSING:
            return self._message(first)
        if first.kind == "word":
            return Value(first.start, first.end)
        if first.kind != "string":
            raise TextTreeError(f"'{first.text}' where a value was expected")
        end = first.end
        # Strings side by side are one string.
        while self._next < len(self._tokens) and self._tokens[self._next].kind == "string":
            end = self._take().end
        return Value(first.start, end)

    def _message(self, opening: _Token) -> Value:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TextTreeError(f"messages nest deeper than {_DEEPEST}")
        body = Body(opening.end, opening.end)
        closing = _CLOSING[opening.text]
        while self._peek() != closing:
            body.fields.append(self._field())
        last = self._take()
        body.end = last.start
        self._depth -= 1
        return Value(opening.start, last.end, body)
