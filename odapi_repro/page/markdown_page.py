"""A page as GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from odapi_repro.foreign_text import fenced, markdown, markdown_code
from odapi_repro.page.blocks import (
    Block,
    Bullets,
    Code,
    Facts,
    Figure,
    Headline,
    Note,
    Page,
    Paragraph,
    Section,
    Table,
    spans,
)


def markdown_page(page: Page, files: Iterable[str] = ()) -> str:
    """Gives a page as Markdown; `files` are the names of those beside it."""
    blocks = page.shown("file", files)
    return "\n\n".join([f"# {markdown(page.title)}", *_texts(blocks, level=2)]) + "\n"


def markdown_table(table: Table) -> str:
    """Gives a table as GitHub writes them."""
    rule = ["---:" if i >= table.numeric_from else "---" for i, _ in enumerate(table.header)]
    lines = [[_inline(text) for text in line] for line in (table.header, *table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _texts(blocks: Iterable[Block], *, level: int) -> list[str]:
    texts = []
    for block in blocks:
        match block:
            case Section(title, inner, folded=True):
                inside = _texts([one for one in inner if one], level=level)
                head = f"<details><summary>{_inline(title)}</summary>"
                texts += [head, *inside, "</details>"]
            case Section(title, inner):
                if title:
                    texts.append(f"{'#' * level} {_inline(title)}")
                texts += _texts([one for one in inner if one], level=level + bool(title))
            case Headline(text):
                texts.append(f"**{_inline(text)}**")
            case Paragraph(text):
                texts.append(_inline(text))
            case Note(kind, text, ()):
                texts.append(f"{kind.capitalize()}: {_inline(text)}")
            case Note(kind, text, facts):
                texts += [f"**{kind[:1].upper()}{kind[1:]}:** {_inline(text)}", _facts(facts)]
            case Bullets(items):
                texts.append(_list(items))
            case Facts(rows):
                texts.append(_facts(rows))
            case Code(text):
                texts.append(fenced(text))
            case Figure(file, about):
                texts.append(f"![{markdown(about)}]({file})")
            case Table():
                texts.append(markdown_table(block))
    return texts


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    lines, label = [], ""
    for name, text in rows:
        label = name or label
        lines.append(f"{label}: {text}")
    return _list(lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_inline(line)}" for line in lines)


def _inline(text: str) -> str:
    """Gives a block's text with its marks as Markdown writes them, and nothing else as a mark."""
    return "".join(_WRITTEN[kind](part) for kind, part in spans(text))


_WRITTEN: Final[dict[str, Callable[[str], str]]] = {
    "plain": markdown,
    "code": markdown_code,
    "link": lambda file: f"[{file}]({file})",
    "break": lambda _: "<br>",
}
