"""A report as a list of blocks, made once from a result; renderers write it.

Text in a block is plain: a class called `*x*` shows as just that, for renderers clean and escape
every letter. Marks are made by functions only: `code(name)` and `link(file)` put a span of code or
a link to a file beside the page into a sentence, `marked` reads both from a sentence that holds
nothing from outside, and `BREAK` begins a new line in a cell of a table. So no report calls
`foreign_text` itself, and no name becomes a mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

# Code points that are no characters, and never will be: what comes from outside has none.
_CODE, _CODE_END, _LINK, _LINK_END = "\ufdd0\ufdd1\ufdd2\ufdd3"
BREAK: Final = "\ufdd4"
_SPAN: Final = re.compile(
    f"{_CODE}([^\ufdd0-\ufdd4]*){_CODE_END}"
    f"|{_LINK}([a-z_0-9/]+\\.(?:csv|json|md|png|svg)){_LINK_END}|({BREAK})"
)
_WRITTEN: Final = re.compile(r"`([^`]+)`|\[([^\]]+)\]\(\2\)")

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
    """Short names with what they are: scale, data, device; "" goes on with the one before."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Note:
    """A sentence under a word that says what it is (note, warning, fatal), and what belongs to it.

    Attributes:
        facts: short names with what they are, right below the sentence.
    """

    kind: str
    text: str
    facts: tuple[tuple[str, str], ...] = ()


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
        folded: whether a file shows the title alone until somebody asks for more.
        about: a sentence before the blocks, where any of them is shown.
    """

    title: str
    blocks: Sequence[Block | None]
    place: Place = "everywhere"
    folded: bool = False
    about: str = ""


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
    """Gives a name, from outside or of ours, as a span of code in a sentence."""
    return _CODE + (re.sub("[\ufdd0-\ufdd4]", "?", str(name)) or " ") + _CODE_END


def link(file: str) -> str:
    """Gives a link to a file beside the page; lower case, of csv, json, md, png or svg."""
    return f"{_LINK}{file}{_LINK_END}"


def marked(sentence: str) -> str:
    """Gives a sentence of ours, nothing from outside in it, with its `code` and [links](links)."""
    return _WRITTEN.sub(lambda found: code(found[1]) if found[1] else link(found[2]), sentence)


def spans(text: str) -> Iterator[tuple[Literal["plain", "code", "link", "break"], str]]:
    """Gives the parts of a block's text, for renderers: what each is, and its letters."""
    at = 0
    for found in _SPAN.finditer(text):
        if found.start() > at:
            yield "plain", text[at : found.start()]
        at = found.end()
        if found[3]:
            yield "break", ""
        else:
            yield ("code", found[1]) if found[2] is None else ("link", found[2])
    if at < len(text):
        yield "plain", text[at:]


def _shown(
    blocks: Iterable[Block | None], place: Place, files: frozenset[str]
) -> tuple[Block, ...]:
    found: list[Block] = []
    for block in blocks:
        match block:
            case None:
                continue
            case Section(_, inner, where):
                kept = _shown(inner, place, files) if where in ("everywhere", place) else ()
                if kept:
                    told = (Paragraph(block.about),) if block.about else ()
                    found.append(replace(block, blocks=(*told, *kept), about=""))
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
