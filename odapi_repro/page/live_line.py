"""One line that says how far something is: rewritten on a terminal, a few lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from odapi_repro.foreign_text import shown
from odapi_repro.page.terminal_page import columns, cut

_REFRESH_SECONDS: Final = 0.2
_DEFAULT_WIDTH: Final = 80


class LiveLine:
    """What is going on, in a line that is never longer than the terminal is wide.

    Whoever reads may have gone, and the disk of a log may be full: what runs goes on.

    Args:
        stream: where to; stderr by default.
        quiet_seconds: where nobody looks, a line is written this often.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        quiet_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self.is_live = self._stream.isatty()
        self._pause = _REFRESH_SECONDS if self.is_live else quiet_seconds
        self._clock = clock
        self._written = -1e9
        self._width = 0

    def update(self, text: str, *, news: bool = False) -> None:
        """Shows a line in place of the one before it; news are shown however soon they come."""
        now = self._clock()
        if not news and now - self._written < self._pause:
            return
        self._written = now
        if self.is_live:
            self._rewrite(cut(shown(text), self._columns() - 1))
        else:
            self._write(shown(text) + "\n")

    def line(self, text: str) -> None:
        """Writes a line that stays."""
        if self.is_live:
            self._rewrite(shown(text))
            self.end()
        else:
            self._write(shown(text) + "\n")

    def count_from_now(self) -> None:
        """Counts the time to the next plain line from now on; a terminal sees the next at once."""
        self._written = -1e9 if self.is_live else self._clock()

    def end(self) -> None:
        """Leaves the line as it stands, if there is one; what comes next begins a new one."""
        if self.is_live and self._width:
            self._write("\n")
        self._width = 0

    def _rewrite(self, text: str) -> None:
        width = columns(text)
        self._write("\r" + text + " " * (self._width - width))
        self._width = width

    def _columns(self) -> int:
        """Asks at each update: the window may have changed."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return os.get_terminal_size(self._stream.fileno()).columns or _DEFAULT_WIDTH
        return _DEFAULT_WIDTH

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
