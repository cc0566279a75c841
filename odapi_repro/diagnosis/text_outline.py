"""The shape of a text proto that may be broken: open blocks, statements, and where a field ends.

protobuf's own parser stops at the first error; this one only follows names, values and brackets,
which is enough to leave a field out together with its value, or to see that a bracket is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import NamedTuple

# The tokens of google/protobuf/text_format.py's Tokenizer; a string may lack its closing quote.
_TOKEN = re.compile(
    r"(?P<space>\s+|\#.*)"
    r"|(?P<name>[A-Za-z_][\w+-]*)"
    r"|(?P<number>(?:[0-9+-]|\.[0-9])[\w.+-]*)"
    r"|(?P<string>\"[^\"\\]*(?:\\.[^\"\\]*)*(?:\"|\\?$)|'[^'\\]*(?:\\.[^'\\]*)*(?:'|\\?$))"
    r"|(?P<mark>.)"
)
# Thirty times the longest config of the OD API; it bounds what a hostile text can take.
_MOST_TOKENS = 100_000
_OPENING, _CLOSING = {"{": "}", "<": ">"}, {"}", ">"}


class Token(NamedTuple):
    """One token; `line` and `column` count from 0, `kind` is name, number, string or mark."""

    line: int
    column: int
    kind: str
    text: str


@dataclass(frozen=True)
class Block:
    """A message in braces: its field's name, where that stands, and what closes it."""

    name: str
    line: int
    column: int
    closing: str


@dataclass(frozen=True)
class Outline:
    """What surrounds a place in the text.

    Attributes:
        blocks: the blocks that are open there, outermost first.
        statement: the name token of the statement that the place belongs to, if any.
        closed: the block that was closed last and the mark that closed it, if any.
    """

    blocks: tuple[Block, ...]
    statement: Token | None
    closed: tuple[Block, Token] | None


def tokens_from(lines: Sequence[str], line: int = 0, column: int = 0) -> Iterator[Token]:
    """Gives the tokens of a text from a place on, 100,000 at most, without spaces and comments."""
    return islice(_all_tokens(lines, line, column), _MOST_TOKENS)


def _all_tokens(lines: Sequence[str], line: int, column: int) -> Iterator[Token]:
    for number in range(line, len(lines)):
        for match in _TOKEN.finditer(lines[number], column):
            kind = match.lastgroup or "mark"
            if kind != "space":
                yield Token(number, match.start(), kind, match.group())
        column = 0


def tokens_until(lines: Sequence[str], line: int, column: int) -> Iterator[Token]:
    """Gives the tokens of a text that begin before a place."""
    return takewhile(lambda one: (one.line, one.column) < (line, column), tokens_from(lines))


def outline_until(lines: Sequence[str], line: int, column: int) -> Outline:
    """Gives what surrounds a place; the token that stands there is not looked at itself."""
    return next(outlines_at(lines, [(line, column)]))


def outlines_at(lines: Sequence[str], places: Sequence[tuple[int, int]]) -> Iterator[Outline]:
    """Gives what surrounds each place, of places that are sorted, in one pass over the text."""
    blocks: list[Block] = []
    statement: Token | None = None
    closed: tuple[Block, Token] | None = None
    expects_value = False
    left = list(reversed(places))
    for token in tokens_from(lines):
        while left and left[-1] <= (token.line, token.column):
            left.pop()
            yield Outline(tuple(blocks), statement, closed)
        if not left:
            return
        if token.text in _OPENING and token.kind == "mark":
            name = statement or token
            blocks.append(Block(name.text, name.line, name.column, _OPENING[token.text]))
            statement, expects_value = None, False
        elif token.text in _CLOSING and token.kind == "mark":
            if blocks:
                closed = (blocks.pop(), token)
            statement, expects_value = None, False
        elif token.text == ":":
            expects_value = True
        elif token.kind == "name" and not expects_value:
            statement = token
        elif token.kind != "mark":
            expects_value = False
    for _ in left:
        yield Outline(tuple(blocks), statement, closed)


def end_of_field(lines: Sequence[str], line: int, column: int) -> tuple[int, int]:
    """Gives the place behind the field whose name stands at (line, column), its value included.

    A block that never closes ends before the first later line that is indented no deeper than
    its name.
    """
    tokens = tokens_from(lines, line, column)
    name = next(tokens)
    end = (name.line, name.column + len(name.text))
    open_marks: list[str] = []
    value_seen = False
    for token in tokens:
        behind = (token.line, token.column + len(token.text))
        if token.kind == "mark" and token.text in ("{", "<", "["):
            if value_seen and not open_marks:
                return end
            open_marks.append({"[": "]", **_OPENING}[token.text])
        elif open_marks:
            if token.kind == "mark" and token.text == open_marks[-1]:
                open_marks.pop()
                if not open_marks:
                    return behind
            continue
        elif token.text == ":" and not value_seen:
            end = behind
        elif token.kind == "string" or (token.kind != "mark" and not value_seen):
            if token.kind == "name" and token.line > name.line:
                return end  # the value is missing: this is the next field
            value_seen, end = True, behind
        else:
            return end
    return (_dedent(lines, line), 0) if open_marks else end


def _dedent(lines: Sequence[str], line: int) -> int:
    depth = _indent(lines[line])
    for number in range(line + 1, len(lines)):
        text = lines[number].lstrip()
        if text and not text.startswith("#") and _indent(lines[number]) <= depth:
            return number
    return len(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
