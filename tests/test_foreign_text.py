"""Text from data reaches terminals and pages as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from odapi_repro.foreign_text import markdown, markdown_code, shown, shown_lines


def test_what_cannot_be_seen_is_written_as_an_escape():
    assert shown("a\x1b[2Jb\n\r\t\x00\x7f\x9b\u202e\u2028\ufeff") == (
        "a\\x1b[2Jb\\n\\r\\t\\x00\\x7f\\x9b\\u202e\\u2028\\ufeff"
    )
    assert shown(b"\xff.jpg".decode("utf-8", "surrogateescape")) == "\\udcff.jpg"


def test_letters_of_all_languages_stay():
    assert shown("Füße 犬 кошка عربى") == "Füße 犬 кошка عربى"


def test_lines_stay_lines_where_a_message_has_several():
    assert shown_lines("found\n  expected\x1b") == "found\n  expected\\x1b"


def test_markup_in_a_name_is_text_on_a_page():
    assert markdown("# a | *b* [c](d) <img>\n") == "\\# a \\| \\*b\\* [c\\](d) \\<img>\\\\n"


def test_backticks_in_a_name_do_not_end_its_code():
    assert markdown_code("a`b``c") == "```a`b``c```"
    assert markdown_code("`") == "`` ` ``"


@given(st.text())
def test_any_text_is_one_printable_line_that_can_be_encoded(text):
    for cleaned in (shown(text), markdown(text), markdown_code(text)):
        assert "\n" not in cleaned
        assert "\x1b" not in cleaned
        cleaned.encode("utf-8")
