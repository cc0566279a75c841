"""A page as GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from odapi_repro.foreign_text import fenced, markdown, markdown_list, markdown_sentence
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
)

__all__ = ["markdown_page", "markdown_table"]


def markdown_page(page: Page, files: Iterable[str] = ()) -> str:
    """Gives a page as Markdown; `files` are the names of those beside it."""
    blocks = page.shown("file", files)
    return "\n\n".join([f"# {markdown(page.title)}", *_texts(blocks, level=2)]) + "\n"


def markdown_table(table: Table) -> str:
    """Gives a table as GitHub writes them."""
    rule = ["---:" if i >= table.numeric_from else "---" for i, _ in enumerate(table.header)]
    lines = [table.header, rule, *table.rows]
    return "\n".join(
        "| " + " | ".join(markdown_sentence(text) for text in line) + " |" for line in lines
    )


def _texts(blocks: Iterable[Block], *, level: int) -> list[str]:
    texts = []
    for block in blocks:
        match block:
            case Section(title, inner):
                if title:
                    texts.append(f"{'#' * level} {markdown_sentence(title)}")
                texts += _texts([one for one in inner if one], level=level + bool(title))
            case Headline(text):
                texts.append(f"**{markdown_sentence(text)}**")
            case Paragraph(text):
                texts.append(markdown_sentence(text))
            case Note(kind, text):
                texts.append(f"{kind.capitalize()}: {markdown_sentence(text)}")
            case Bullets(items):
                texts.append(markdown_list(items))
            case Facts(rows):
                texts.append(markdown_list(f"{name}: {text}" for name, text in rows))
            case Code(text):
                texts.append(fenced(text))
            case Figure(file, about):
                texts.append(f"![{markdown(about)}]({file})")
            case Table():
                texts.append(markdown_table(block))
    return texts
