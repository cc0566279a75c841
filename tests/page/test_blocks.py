"""A block's text is plain: marks are made by functions, and a name never becomes one."""

from __future__ import annotations

import re

import pytest

from odapi_repro.page.blocks import (
    BREAK,
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
    code,
    link,
    marked,
)
from odapi_repro.page.markdown_page import markdown_page, markdown_table
from odapi_repro.page.terminal_page import Terminal, terminal_page, terminal_table

HOSTILE = [
    "`x`",
    "[a](b)",
    "[effects.csv](effects.csv)",
    "**bold** _it_ ~~x~~",
    "a|b",
    "x<br>y",
    "<img src=x>",
    "$x$",
    "# head",
    "- item",
    "1. one",
    "&amp;",
    "\\`x\\`",
    "``",
]
MARKUP = re.compile(r"(?<!\\)[`*|~$<]|(?<!\\)\]\(|^[#>-]")


def file(*blocks: Block) -> str:
    return markdown_page(Page("study", blocks)).removeprefix("# study\n\n").removesuffix("\n")


def screen(*blocks: Block, width: int = 100, ascii_only: bool = False) -> str:
    return terminal_page(Page("study", blocks), Terminal(width, ascii_only=ascii_only))


def rendered(markdown: str) -> str:
    """What Markdown without a mark in it shows."""
    return re.sub(r"\\([\\`*|~$_<\]&#>.)+-])", r"\1", markdown)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_shows_as_itself_in_a_sentence(name: str) -> None:
    assert screen(Paragraph(name)) == f"{name}\n"
    assert not MARKUP.search(file(Paragraph(name)))
    assert rendered(file(Paragraph(name))) == name


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_shows_as_itself_in_every_block(name: str) -> None:
    page = Page(
        name,
        (
            Headline(name),
            Section(name, [Bullets((name,)), Facts((("name", name),)), Note("note", name)]),
            Table(("class", "AP"), ((name, "1.0"),)),
        ),
    )
    shown = terminal_page(page, Terminal(ascii_only=False))
    assert shown.split("\n")[0] == name
    for line in (name, f"  - {name}", f"  name  {name}", f"  note: {name}"):
        assert line in shown.split("\n")
    told = rendered(markdown_page(page))
    assert f"# {name}\n\n**{name}**\n\n## {name}\n\n- {name}\n\n- name: {name}" in told
    assert f"| {name} | 1.0 |" in told


@pytest.mark.parametrize("name", [*HOSTILE, "", "a`b``c", " x "])
def test_code_shows_a_name_as_it_is(name: str) -> None:
    assert screen(Paragraph(f"see {code(name)}.")).split() == f"see {name}.".split() or not name
    told = file(Paragraph(f"see {code(name)}."))
    fence = re.search("`+", told)
    assert fence
    inside = told.split("see ")[1].removesuffix(".").removeprefix(fence[0]).removesuffix(fence[0])
    assert inside.replace("\\|", "|").strip() == name.strip()


def test_marks_of_ours_are_made_of_a_sentence_without_names() -> None:
    text = marked("`unresolved` is in [effects.csv](effects.csv), not in [a](b.html).")
    assert file(Paragraph(text)) == (
        "`unresolved` is in [effects.csv](effects.csv), not in [a\\](b.html)."
    )
    assert screen(Paragraph(text)) == "unresolved is in effects.csv, not in [a](b.html).\n"


def test_a_link_goes_to_a_file_beside_the_page_only() -> None:
    assert file(Paragraph(link("trials.csv"))) == "[trials.csv](trials.csv)"
    assert "](" not in file(Paragraph(link("https://example.org/x.png")))


def test_letters_that_act_are_shown_as_escapes() -> None:
    name = "a\x1b[31mb\nc\x9bd\u202ee\ufdd0f\udc80"
    seen = "a\\x1b[31mb\\nc\\x9bd\\u202ee\\ufdd0f\\udc80"
    assert screen(Paragraph(name), Bullets((code("\n"),))) == f"{seen}\n\n- \\n\n"
    assert file(Paragraph(name)).replace("\\\\", "\\") == seen


def test_a_break_in_a_cell_begins_a_line() -> None:
    table = Table(("fields", "why"), ((f"one{BREAK}two", "so"),), numeric_from=2)
    assert markdown_table(table).splitlines()[2] == "| one<br>two | so |"
    assert terminal_table(table).splitlines() == ["fields  why", "one     so", "two"]


def test_empty_blocks_vanish() -> None:
    empty = [Bullets(()), Facts(()), Table(("a",), ()), Section("x", []), Section("y", [None])]
    inner = Section("z", [Section("", empty), Figure("not_drawn.png", "x")])
    assert file(*empty, inner, Paragraph("left")) == "left"
    assert screen(*empty, inner, Paragraph("left")) == "left\n"


def test_a_section_is_shown_where_it_belongs() -> None:
    blocks = [
        Section("everywhere", [Paragraph("one")]),
        Section("file", [Paragraph("two")], "file"),
        Section("", [Paragraph("three")], "terminal"),
    ]
    assert file(*blocks) == "## everywhere\n\none\n\n## file\n\ntwo"
    assert screen(*blocks) == "everywhere\n\n  one\n\nthree\n"


def test_a_figure_is_shown_where_it_was_drawn() -> None:
    page = Page("study", (Section("Plots", [Figure("ap.png", "AP [by] batch")]),))
    assert markdown_page(page) == "# study\n"
    drawn = markdown_page(page, ["ap.png"])
    assert drawn == "# study\n\n## Plots\n\n![AP [by] batch](ap.png)\n"


def test_what_is_to_be_typed_stays_whole() -> None:
    command = "python -m odapi_repro.run " + "--levels batch_size=1,2,4 " * 8 + "``` '*'"
    assert command in screen(Code(command), width=40).split("\n")[0]
    assert file(Code(command)) == f"````\n{command}\n````"
