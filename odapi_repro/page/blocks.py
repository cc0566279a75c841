"""A report as a list of blocks, made once from a result; renderers write it.

Text in a block is a sentence of ours with names from outside in it, unescaped. It may hold two
marks: a code span in backticks (make one of a name with `code`) and a link to a file beside the
page, `[effects.csv](effects.csv)`. Renderers clean and escape the rest, so no report calls
`foreign_text` itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Block",
    "Bullets",
    "Code",
    "Facts",
    "Figure",
    "Headline",
    "Note",
    "Page",
    "Paragraph",
    "Section",
    "Table",
    "code",
]

Place = Literal["everywhere", "file", "terminal"]
"""Where a section is shown: in a file only, on a terminal only, or in both."""


@dataclass(frozen=True)
class Headline:
    """What was found, in a sentence; the answer comes first."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Sentences."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Sentences, each an item of a list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Short names with what they are: scale, data, device."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Note:
    """A sentence under a word that says what it is: note, warning, help, fix."""

    kind: str
    text: str


@dataclass(frozen=True)
class Code:
    """What to type, or what was typed, as it is."""

    text: str


@dataclass(frozen=True)
class Figure:
    """An image file that lies beside the page; a page shows it where the file was drawn."""

    file: str
    about: str


@dataclass(frozen=True)
class Table:
    """A header and rows of text.

    Attributes:
        numeric_from: columns from here on are aligned to the right; those before name the row.
        widest: letters of a cell on a terminal; longer ones lose their middle.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric_from: int = 1
    widest: int = 300


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; without any block but figures that were not drawn, it is left out.

    Attributes:
        title: "" for blocks that stand under the heading before them.
        blocks: None among them is passed over, so that a report may write `table or None`.
        place: where it is shown.
    """

    title: str
    blocks: Sequence[Block | None]
    place: Place = "everywhere"


Block = Headline | Paragraph | Bullets | Facts | Note | Code | Figure | Table | Section


@dataclass(frozen=True)
class Page:
    """A report: its name, which comes from outside, and its blocks."""

    title: str
    blocks: tuple[Block, ...]

    def shown(self, place: Place, files: Iterable[str] = ()) -> tuple[Block, ...]:
        """Gives the blocks that one place shows, without what is empty.

        Args:
            files: the names of the files beside the page; other figures are left out.
        """
        return _shown(self.blocks, place, frozenset(files))


def code(name: object) -> str:
    """Gives a name from outside as a code span, whatever backticks it holds."""
    text = str(name) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}"


def _shown(
    blocks: Iterable[Block | None], place: Place, files: frozenset[str]
) -> tuple[Block, ...]:
    found: list[Block] = []
    for block in blocks:
        match block:
            case None:
                continue
            case Section(title, inner, where):
                kept = _shown(inner, place, files) if where in ("everywhere", place) else ()
                if kept:
                    found.append(Section(title, kept, where))
            case Figure(file):
                if file in files:
                    found.append(block)
            case Bullets(items) if not items:
                continue
            case Facts(rows) if not rows:
                continue
            case Table(_, rows) if not rows:
                continue
            case _:
                found.append(block)
    return tuple(found)
