"""Text from data reaches terminals and pages as text."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.foreign_text import (
    command_line,
    fenced,
    markdown,
    markdown_code,
    shortened_name,
    shown,
    shown_lines,
)


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


def test_what_markdown_takes_for_no_mark_stays_as_it_is():
    for plain in ("batch_size", "AP [95 % interval -1 to 2, n=3]", "3 < 5", "-5.6", "-", "a & b"):
        assert markdown(plain) == plain
    assert markdown("@someone") == "@&#8203;someone"
    assert markdown("1. x") == "1\\. x"


def test_a_block_of_code_ends_where_it_ends():
    assert fenced("a\n```\n# b\x1b") == "````\na\n```\n# b\\x1b\n````"


@settings(max_examples=40)
@given(st.lists(st.text().filter(lambda text: "\x00" not in text), min_size=1))
def test_a_command_line_gives_a_shell_the_same_arguments(arguments):
    arguments = [one.encode("utf-8", "replace").decode() for one in arguments]
    line = command_line(arguments)
    assert shown(line) == line
    script = f"printf '%s\\0' {line}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == arguments


def test_a_long_name_keeps_its_beginning_and_its_end():
    assert shortened_name("a" * 5000 + "b", 9) == "aaaa…aaab"
    assert shortened_name("a\nb", 9) == "a\\nb"
