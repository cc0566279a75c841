"""A page as a terminal shows it: its width, its colours, its letters."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from odapi_repro.foreign_text import shortened_name, shown, shown_lines
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
)

__all__ = ["Terminal", "print_page", "terminal_page", "terminal_table"]

WIDEST: Final = 100
_NARROWEST: Final = 40
_GAP: Final = "  "
_LEAST_TEXT: Final = 16
"""Letters to which a column of text is narrowed before a table is cut into several."""
_ASCII: Final = str.maketrans(
    {"→": "->", "±": "+-", "…": "...", "\u00d7": "x", "\u2212": "-", "≤": "<="}
)
_MARKS: Final = re.compile(r"(`+)(?!`)( ?)(.+?)\2(?<!`)\1(?!`)|\[([^\]]+)\]\([^)\s]+\)")
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
        encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
        width = WIDEST
        if looked_at or os.environ.get("COLUMNS", "").isdecimal():
            width = shutil.get_terminal_size((WIDEST, 24)).columns
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return Terminal(
            width=max(_NARROWEST, min(WIDEST, width)),
            coloured=looked_at and not plain,
            ascii_only=not (looked_at and encoding == "utf8"),
        )

    def painted(self, text: str, colour: str) -> str:
        """Gives text in a colour (a severity, a word before a note, `bold`), where it is shown."""
        if not self.coloured or not text or colour not in _COLOURS:
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"

    def plain(self, text: str) -> str:
        """Gives a sentence without its marks, on one line, in letters that can be shown."""
        return self.letters(shown(_MARKS.sub(lambda m: m[3] or m[4], text)))

    def letters(self, text: str) -> str:
        """Gives text with what cannot be shown replaced."""
        if not self.ascii_only:
            return text
        return text.translate(_ASCII).encode("ascii", "replace").decode()

    def wrapped(self, text: str, *, first: str = "", rest: str | None = None) -> list[str]:
        """Gives a sentence as lines; a word that is longer than a line stays whole."""
        return textwrap.wrap(
            self.plain(text),
            self.width,
            initial_indent=first,
            subsequent_indent=first if rest is None else rest,
            break_on_hyphens=False,
            break_long_words=False,
        ) or [first.rstrip()]


def print_page(page: Page, stream: TextIO | None = None) -> None:
    """Prints a page as the stream can show it."""
    stream = sys.stdout if stream is None else stream
    stream.write(terminal_page(page, Terminal.of(stream)))


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
        [shortened_name(terminal.plain(text), table.widest) for text in line]
        for line in (table.header, *table.rows)
    ]
    names = range(min(table.numeric_from, len(table.header)))
    widths = _narrowed(rows, names, terminal.width)
    parts = _parts(widths, len(names), terminal.width)
    return "\n\n".join(_columns(rows, part, widths, table.numeric_from, terminal) for part in parts)


def _texts(blocks: Iterable[Block], terminal: Terminal) -> list[str]:
    texts = []
    for block in blocks:
        match block:
            case Section(title, inner):
                narrow = Terminal(terminal.width - 2, terminal.coloured, terminal.ascii_only)
                kept = [one for one in inner if one]
                if title:
                    head = terminal.painted(terminal.plain(title), "bold")
                    body = "\n\n".join(_texts(kept, narrow))
                    texts.append(f"{head}\n\n{textwrap.indent(body, _GAP)}")
                else:
                    texts += _texts(kept, terminal)
            case Headline(text):
                texts.append(terminal.painted("\n".join(terminal.wrapped(text)), "bold"))
            case Paragraph(text):
                texts.append("\n".join(terminal.wrapped(text)))
            case Note(kind, text):
                first, *more = terminal.wrapped(text, first=f"{kind}: ", rest=_GAP)
                painted = terminal.painted(f"{kind}:", kind) + first[len(kind) + 1 :]
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
    room = max(len(terminal.plain(name)) for name, _ in rows) + len(_GAP)
    lines: list[str] = []
    for name, text in rows:
        head = terminal.plain(name).ljust(room)
        lines += terminal.wrapped(text, first=head, rest=" " * room)
    return "\n".join(lines)


def _narrowed(rows: Sequence[Sequence[str]], names: range, width: int) -> list[int]:
    """Gives the width of each column; those of text give room where the table has too little."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while over > 0:
        widest = max(names, key=lambda index: widths[index], default=None)
        if widest is None or widths[widest] <= _LEAST_TEXT:
            break
        widths[widest] -= 1
        over -= 1
    return widths


def _parts(widths: Sequence[int], names: int, width: int) -> list[list[int]]:
    """Gives the columns of each part of a table: those that name the row, and some of the rest."""
    head = list(range(names))
    parts: list[list[int]] = [list(head)]
    for index in range(names, len(widths)):
        wanted = [*parts[-1], index]
        used = sum(widths[one] for one in wanted) + len(_GAP) * (len(wanted) - 1)
        if used > width and len(parts[-1]) > len(head):
            parts.append([*head, index])
        else:
            parts[-1] = wanted
    return parts


def _columns(
    rows: Sequence[Sequence[str]],
    part: Sequence[int],
    widths: Sequence[int],
    numeric_from: int,
    terminal: Terminal,
) -> str:
    lines = []
    for number, row in enumerate(rows):
        cells = [
            textwrap.wrap(row[index], widths[index], break_on_hyphens=False) or [""]
            for index in part
        ]
        for height in range(max(map(len, cells))):
            texts = [cell[height] if height < len(cell) else "" for cell in cells]
            line = _GAP.join(
                text.rjust(widths[index]) if index >= numeric_from else text.ljust(widths[index])
                for index, text in zip(part, texts, strict=True)
            ).rstrip()
            lines.append(terminal.painted(line, "bold") if number == 0 else line)
    return "\n".join(lines)
