"""A page as a terminal shows it: its width, its colours, its letters."""

from __future__ import annotations

import codecs
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TextIO

from odapi_repro.foreign_text import shown, shown_lines
from odapi_repro.page.blocks import (
    Block,
    Bullets,
    Code,
    Facts,
    Headline,
    Note,
    Page,
    Paragraph,
    Section,
    Table,
    spans,
)
from odapi_repro.page.markdown_page import markdown_page

# --- Text measured in columns of a screen, where a letter of Chinese takes two and an accent none
# ---


_BREAKS: Final = re.compile(r"(?<=[/_\-.,;:=+|])(?=[^/_\-.,;:=+|])")
"""Where a word that has to be broken is broken best."""


def columns(text: str) -> int:
    """Gives how many columns a text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def cut(text: str, width: int, more: str = "...") -> str:
    """Gives the beginning of a text that `width` columns can hold, with `more` where it is cut."""
    if columns(text) <= width:
        return text
    kept, room = "", width - len(more)
    for letter in text:
        room -= _columns_of(letter)
        if room < 0:
            break
        kept += letter
    return (kept + more)[:width]


def filled(text: str, width: int, *, right: bool = False) -> str:
    """Gives a text with spaces after it, or before it, up to so many columns."""
    spaces = " " * (width - columns(text))
    return spaces + text if right else text + spaces


def wrap(text: str, width: int, *, whole_words: bool = False) -> list[str]:
    """Gives a text as lines of at most `width` columns, "" as one line.

    Args:
        whole_words: a word that is longer than a line, such as a path, stays in one piece.
    """
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if columns(joined) <= width or (whole_words and not lines[-1]):
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        lines[-1:] = [word] if whole_words else _pieces(word, width)
    return lines


def _pieces(word: str, width: int) -> list[str]:
    """Gives a word in pieces that fit, broken after a mark between its parts where there is one."""
    pieces = [""]
    for part in _BREAKS.split(word):
        if pieces[-1] and columns(pieces[-1] + part) > width:
            pieces.append("")
        for letter in part:
            if pieces[-1] and columns(pieces[-1] + letter) > width:
                pieces.append("")
            pieces[-1] += letter
    return pieces


def _columns_of(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


# --- A page as a terminal shows it: its width, its colours, its letters ---


WIDEST: Final = 100
_NARROWEST: Final = 40
_GAP: Final = "  "
_LEAST_TEXT: Final = 16
"""Columns to which one of text is narrowed before a table is cut into several."""
_ASCII: Final = str.maketrans(
    {"→": "->", "±": "+-", "…": "...", "\u00d7": "x", "\u2212": "-", "≤": "<=", "≥": ">="}
)
_COLOURS: Final = {
    "bold": "1",
    "fatal": "1;31",
    "critical": "31",
    "error": "31",
    "warning": "33",
    "help": "32",
    "fix": "32",
    "note": "36",
    "info": "36",
    "muted": "2",
}


@dataclass(frozen=True)
class Terminal:
    """What a stream can show.

    Attributes:
        width: columns, at most 100.
        coloured: whether a person looks who has not asked for no colours (NO_COLOR, TERM=dumb).
        ascii_only: whether letters beyond ASCII may be lost, as in a pipe or an old console.
    """

    width: int = WIDEST
    coloured: bool = False
    ascii_only: bool = True

    @staticmethod
    def of(stream: TextIO) -> Terminal:
        """Asks a stream; one that is no terminal gets 100 columns of plain ASCII.

        COLUMNS, where it is set, says the width of either.
        """
        looked_at = stream.isatty()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return Terminal(
            width=max(_NARROWEST, min(WIDEST, width_of(stream))),
            coloured=looked_at and not plain,
            ascii_only=not (looked_at and _takes_all(stream)),
        )

    @property
    def indented(self) -> Terminal:
        """What is left of it beside an indentation."""
        return replace(self, width=self.width - len(_GAP))

    def painted(self, text: str, colour: str) -> str:
        """Gives text in a colour (a severity, a word before a note, `bold`), where it is shown."""
        if not self.coloured or not text or colour not in _COLOURS:
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"

    def plain(self, text: str, *, line_break: str = " ", most: int = 0) -> str:
        """Gives a sentence without its marks, on one line, in letters that can be shown.

        Args:
            line_break: what stands for the line breaks in a cell of a table.
            most: letters of a name; the middle of a longer one is left out.
        """
        text = "".join(line_break if kind == "break" else shown(part) for kind, part in spans(text))
        if most and len(text) > most:
            text = f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"
        return self.letters(text)

    def letters(self, text: str) -> str:
        """Gives text with what cannot be shown written in ASCII."""
        if not self.ascii_only:
            return text
        return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()

    def wrapped(self, text: str, *, first: str = "", rest: str = "") -> list[str]:
        """Gives a sentence as lines, the first and the others each after what stands before them.

        A word that is longer than a line stays whole: a path can be copied then.
        """
        room = self.width - max(columns(first), columns(rest))
        head, *more = wrap(self.plain(text), room, whole_words=True)
        return [f"{first}{head}", *(f"{rest}{line}" for line in more)]


def width_of(stream: TextIO) -> int:
    """Gives the columns of a terminal, or what COLUMNS says, or 100 for what is no terminal."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDEST
    except (OSError, ValueError, AttributeError):
        return WIDEST


def print_page(page: Page, stream: TextIO | None = None) -> None:
    """Prints a page as the stream can show it."""
    stream = sys.stdout if stream is None else stream
    stream.write(terminal_page(page, Terminal.of(stream)))
    stream.flush()


def print_pages(pages: Iterable[Page], form: str) -> None:
    """Prints pages on stdout as `text`, which a person reads, or as `markdown`, for a file."""
    for number, page in enumerate(pages):
        if number:
            print()
        if form == "markdown":
            print_text(markdown_page(page))
        else:
            print_page(page)


def print_text(text: str, stream: TextIO | None = None) -> None:
    """Prints JSON or Markdown as it is; what the stream's encoding lacks, as escapes."""
    stream = sys.stdout if stream is None else stream
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def terminal_page(page: Page, terminal: Terminal | None = None) -> str:
    """Gives a page as text; its name is not told: whoever gave the command knows it."""
    terminal = terminal or Terminal()
    return "\n\n".join(_texts(page.shown("terminal"), terminal)) + "\n"


def terminal_table(table: Table, terminal: Terminal | None = None) -> str:
    """Gives a table as columns of spaces.

    One that is wider than the terminal has its columns of text wrapped; if that is not enough, it
    is cut into several below each other, each with the columns that name its rows.
    """
    terminal = terminal or Terminal()
    rows = [
        [terminal.plain(text, line_break="\n", most=table.widest) for text in line]
        for line in (table.header, *table.rows)
    ]
    numbers = range(table.numeric_from, len(table.header))
    widths = [max(map(_size, column)) for column in zip(*rows, strict=True)]
    parts = _parts(widths, numbers, terminal.width)
    return "\n\n".join(_columns(rows, part, numbers, terminal) for part in parts)


def _texts(blocks: Iterable[Block], terminal: Terminal) -> list[str]:
    texts = []
    for block in blocks:
        match block:
            case Section(title, inner):
                kept = [one for one in inner if one]
                if title:
                    head = terminal.painted(terminal.plain(title), "bold")
                    body = "\n\n".join(_texts(kept, terminal.indented))
                    texts.append(f"{head}\n\n{textwrap.indent(body, _GAP)}")
                else:
                    texts += _texts(kept, terminal)
            case Headline(text):
                texts.append(terminal.painted("\n".join(terminal.wrapped(text)), "bold"))
            case Paragraph(text):
                texts.append("\n".join(terminal.wrapped(text)))
            case Note(kind, text, facts):
                first, *more = terminal.wrapped(text, first=f"{kind}: ", rest=_GAP)
                painted = terminal.painted(f"{kind}:", kind) + first[len(kind) + 1 :]
                if facts:
                    more.append(textwrap.indent(_facts(facts, terminal.indented), _GAP))
                texts.append("\n".join([painted, *more]))
            case Bullets(items):
                lines = [terminal.wrapped(one, first="- ", rest=_GAP) for one in items]
                texts.append("\n".join(line for part in lines for line in part))
            case Facts(rows):
                texts.append(_facts(rows, terminal))
            case Code(text):
                texts.append(textwrap.indent(terminal.letters(shown_lines(text)), _GAP))
            case Table():
                texts.append(terminal_table(block, terminal))
    return texts


def _facts(rows: Sequence[tuple[str, str]], terminal: Terminal) -> str:
    names = [terminal.plain(name) for name, _ in rows]
    room = min(max(map(columns, names)) + len(_GAP), terminal.width // 2)
    lines: list[str] = []
    for name, (_, text) in zip(names, rows, strict=True):
        head = filled(name, room)
        if columns(name) > room - len(_GAP):
            lines += wrap(name, terminal.width)
            head = " " * room
        lines += terminal.wrapped(text, first=head, rest=" " * room)
    return "\n".join(lines)


def _parts(widths: Sequence[int], numbers: range, width: int) -> list[list[int]]:
    """Gives the columns of each part of a table: those that name the row, and some of the rest."""
    least = [
        size if index in numbers else min(size, _LEAST_TEXT) for index, size in enumerate(widths)
    ]
    if _taken(least) <= width:
        return [list(range(len(widths)))]
    names = min(numbers.start, len(widths) - 1) or 1
    while names > 1 and _taken(least[:names]) > width // 2:
        names -= 1
    head = list(range(names))
    parts = [head]
    for index in range(names, len(widths)):
        wanted = [*parts[-1], index]
        if len(parts[-1]) > names and _taken([least[one] for one in wanted]) > width:
            parts.append([*head, index])
        else:
            parts[-1] = wanted
    return parts


def _narrowed(widths: Sequence[int], numbers: Sequence[bool], width: int) -> list[int]:
    """Gives widths that fit: columns of text give room, and numbers where there is no other."""
    found = list(widths)
    over = _taken(found) - width
    for of_numbers, least in ((False, _LEAST_TEXT), (False, 4), (True, 4)):
        those = [index for index, one in enumerate(numbers) if one is of_numbers]
        while over > 0 and those:
            widest = max(those, key=lambda index: found[index])
            if found[widest] <= least:
                break
            found[widest] -= 1
            over -= 1
    return found


def _size(cell: str) -> int:
    return max(map(columns, cell.split("\n")))


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _columns(
    rows: Sequence[Sequence[str]], part: Sequence[int], numbers: range, terminal: Terminal
) -> str:
    sizes = [max(_size(row[index]) for row in rows) for index in part]
    widths = _narrowed(sizes, [index in numbers for index in part], terminal.width)
    lines = []
    for number, row in enumerate(rows):
        cells = [
            [line for text in row[index].split("\n") for line in wrap(text, width)]
            for index, width in zip(part, widths, strict=True)
        ]
        for height in range(max(map(len, cells))):
            line = _GAP.join(
                filled(cell[height] if height < len(cell) else "", width, right=index in numbers)
                for index, cell, width in zip(part, cells, widths, strict=True)
            ).rstrip()
            lines.append(terminal.painted(line, "bold") if number == 0 else line)
    return "\n".join(lines)


def _takes_all(stream: TextIO) -> bool:
    """Whether a stream's encoding has every letter."""
    try:
        return codecs.lookup(stream.encoding or "").name.startswith("utf")
    except (LookupError, AttributeError):
        return False
