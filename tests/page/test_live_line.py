"""The live line is one line, however narrow the terminal is."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios

import pytest

from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.terminal_page import columns


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def on_a_terminal(width: int, *texts: str, last: str = "done") -> list[str]:
    """What is written on a pseudo-terminal of so many columns, part by part."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        line = LiveLine(stream, clock=Clock())
        for text in texts:
            line.update(text)
        line.line(last)
        written = b""
        while not written.endswith(b"\n"):
            written += os.read(ours, 100_000)
    os.close(ours)
    return written.decode().replace("\r\n", "\n").split("\r")


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize("text", ["x" * 300, "\u4e2d" * 300, "step 1/2  " * 40])
def test_no_update_is_as_wide_as_the_terminal(width: int, text: str) -> None:
    first, *parts = on_a_terminal(width, text, text, "short", text)
    assert first == ""
    assert len(parts) == 5
    assert all(columns(part.rstrip("\n")) < width for part in parts)
    assert "".join(parts).count("\n") == 1


def test_a_shorter_line_leaves_nothing_of_the_longer_one() -> None:
    parts = on_a_terminal(80, "a" * 60, "b", last="c")
    assert parts[2] == "b" + " " * 59
    assert parts[3] == "c\n"


def test_a_log_gets_whole_lines_a_minute_apart_and_news_at_once() -> None:
    stream, clock = io.StringIO(), Clock()
    line = LiveLine(stream, clock=clock)
    for number in range(130):
        line.update(f"{number} " + "x" * 200)
    line.update("news", news=True)
    lines = stream.getvalue().splitlines()
    assert [one.split()[0] for one in lines] == ["0", "60", "120", "news"]
    assert all(len(one) > 200 for one in lines[:3])
    assert "\r" not in stream.getvalue()


def test_whoever_reads_may_have_gone() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    line = LiveLine(Gone())
    line.update("one")
    line.line("two")
