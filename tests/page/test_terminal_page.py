"""A page fits the terminal it is shown on, and no console gets a letter that it cannot show."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    code,
)
from odapi_repro.page.terminal_page import (
    Terminal,
    columns,
    cut,
    filled,
    print_page,
    terminal_page,
    terminal_table,
    width_of,
    wrap,
)

WIDTHS = (40, 80, 100)
SENTENCE = "AP is 9.0 lower on 160 images, which no interval of these runs explains away. " * 3
PAGE = Page(
    "study",
    (
        Headline(SENTENCE),
        Facts((("scale", SENTENCE), ("a name that is longer than half of a line is", "told"))),
        Section(
            "Levels", [Bullets((SENTENCE, "short")), Section("Deeper", [Note("note", SENTENCE)])]
        ),
        Table(
            ("level", "why", *(f"metric {index}" for index in range(12))),
            (("2", SENTENCE, *(f"{index}.0" for index in range(12))),),
            numeric_from=2,
        ),
    ),
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


class Console(io.TextIOWrapper):
    """A terminal whose letters are those of an encoding; it fails at any other, as they do."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")

    def isatty(self) -> bool:
        return True

    def told(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


@pytest.fixture
def screen() -> Iterator[tuple[io.TextIOWrapper, int]]:
    """A terminal of 80 columns, and what reads from it."""
    reader, writer = pty.openpty()
    resize(writer, 80)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        yield stream, reader
    os.close(reader)


def resize(terminal: int, width: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))


def table_lines(table: Table, width: int) -> list[str]:
    return terminal_table(table, Terminal(width, ascii_only=False)).split("\n")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_line_fits(width: int) -> None:
    lines = terminal_page(PAGE, Terminal(width)).split("\n")
    assert max(map(len, lines)) <= width
    assert sum(len(line) > width - 20 for line in lines) > 5


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_table_of_text_only_fits(width: int, count: int) -> None:
    header = tuple(f"column {index}" for index in range(count))
    row = tuple(f"{index} {SENTENCE}" for index in range(count))
    lines = table_lines(Table(header, (row, row), numeric_from=count), width)
    assert max(map(columns, lines)) <= width
    for index in range(count):
        assert any(f"column {index}" in line for line in lines)


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=4, max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 4),
    st.sampled_from(WIDTHS),
    st.booleans(),
)
def test_any_table_fits_and_loses_no_row(
    rows: list[list[str]], numeric_from: int, width: int, ascii_only: bool
) -> None:
    found = terminal_table(
        Table(("a", "b", "c", "d"), tuple(map(tuple, rows)), numeric_from),
        Terminal(width, ascii_only=ascii_only),
    )
    assert all(columns(line) <= width for line in found.split("\n"))
    assert len(found.split("\n")) > len(rows)
    assert not ascii_only or found.isascii()


def test_a_table_that_is_too_wide_is_cut_into_parts_that_each_name_their_rows() -> None:
    header = ("level", *(f"metric {index}" for index in range(9)))
    rows = tuple((f"batch_size {size}", *["12.3"] * 9) for size in (2, 4))
    parts = "\n".join(table_lines(Table(header, rows), 40)).split("\n\n")
    assert len(parts) == 5
    for part in parts:
        top, *below = part.split("\n")
        assert top.startswith("level ")
        assert [line[:12] for line in below] == ["batch_size 2", "batch_size 4"]


def test_text_gives_room_to_numbers_before_a_table_is_cut() -> None:
    table = Table(("why", "AP"), ((SENTENCE, "12.3"),))
    top, first, *rest = table_lines(table, 80)
    assert top == f"{'why':74}    AP"
    assert first.endswith("  12.3")
    assert len(rest) == 3
    assert max(map(len, rest)) <= 74


def test_a_part_of_a_table_uses_the_whole_width() -> None:
    row = tuple(f"{index} {SENTENCE}" for index in range(9))
    header = tuple("abcdefghi")
    first = table_lines(Table(header, (row,), numeric_from=9), 80)[1]
    assert columns(first) > 60


def test_a_long_name_loses_its_middle_in_a_table_and_stays_ascii() -> None:
    (_, line) = table_lines(Table(("class", "AP"), (("x" * 900, "1.0"),), widest=20), 80)
    assert line == f"{'x' * 10}…{'x' * 9}  1.0"
    told = terminal_table(Table(("class", "AP"), (("x" * 900, "1.0"),), widest=20), Terminal(80))
    assert told.isascii()
    assert "x..." in told


def test_a_path_in_a_sentence_stays_in_one_piece() -> None:
    path = "/data/" + "folder/" * 20 + "trials.csv"
    assert path in terminal_page(Page("", (Paragraph(f"see {code(path)}"),)), Terminal(40))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-8", "utf-16-le"])
def test_a_console_gets_only_letters_that_it_has(encoding: str) -> None:
    stream = Console(encoding)
    blocks: tuple[Block, ...] = (
        Headline("Hündin → 犬 ± 1 … ≤ 2"),
        Table(("犬",), (("Hündin",),)),
        Code("--name=犬"),
        Facts((("犬", "\ud800"),)),
    )
    print_page(Page("", blocks), stream)
    told = re.sub("\x1b.*?m", "", stream.told())
    if encoding.startswith("utf"):
        assert told.startswith("Hündin → 犬 ± 1 … ≤ 2\n")
    else:
        assert told.isascii()
        assert told.startswith("H\\xfcndin -> \\u72ac +- 1 ... <= 2\n")


def test_a_pipe_gets_ascii_without_colours_at_100_columns() -> None:
    stream = io.StringIO()
    print_page(PAGE, stream)
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()
    assert 95 < max(map(len, stream.getvalue().split("\n"))) <= 100


def test_a_terminal_is_asked_for_its_width(
    screen: tuple[io.TextIOWrapper, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, _ = screen
    assert Terminal.of(stream) == Terminal(80, coloured=True, ascii_only=False)
    resize(stream.fileno(), 300)
    assert Terminal.of(stream).width == 100
    assert width_of(stream) == 300
    monkeypatch.setenv("COLUMNS", "50")
    assert Terminal.of(stream).width == 50
    assert Terminal.of(io.StringIO()).width == 50


def shown_by(reader: int) -> bytes:
    """All that a pseudo-terminal has shown since it was last read."""
    parts = []
    while select.select([reader], [], [], 0.2)[0]:
        parts.append(os.read(reader, 100_000))
    return b"".join(parts)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_asks_for_no_colours_gets_none(
    screen: tuple[io.TextIOWrapper, int], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    stream, reader = screen
    print_page(PAGE, stream)
    stream.flush()
    assert b"\x1b[1m" in shown_by(reader)
    monkeypatch.setenv(name, value)
    print_page(PAGE, stream)
    stream.flush()
    assert b"\x1b" not in shown_by(reader)


def test_a_stream_without_an_encoding_or_a_number_is_asked_nothing() -> None:
    class Stream:
        def isatty(self) -> bool:
            return True

    assert Terminal.of(Stream()) == Terminal(100, coloured=True)  # type: ignore[arg-type]


def test_columns_are_those_of_a_screen() -> None:
    assert [columns(text) for text in ("abc", "犬", "e\u0301", "")] == [3, 2, 1, 0]
    assert filled("犬", 4) == "犬  "
    assert filled("犬", 4, right=True) == "  犬"
    assert cut("犬犬犬犬", 7) == "犬犬..."
    assert cut("abc", 3) == "abc"
    assert cut("abcdef", 2) == ".."


@given(st.text(), st.integers(2, 50))
def test_wrapped_text_fits_and_loses_nothing(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_word_is_broken_between_its_parts_where_it_can() -> None:
    assert wrap("train_config.batch_size=16", 14) == ["train_config.", "batch_size=16"]
