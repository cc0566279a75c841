"""What a person sees while a checkpoint is evaluated, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from odapi_repro.foreign_text import shown
from odapi_repro.page.numbers import duration

__all__ = ["EvaluationProgress"]

_REFRESH_SECONDS = 0.2
_QUIET_SECONDS = 20.0


class EvaluationProgress:
    """Shows the events of an evaluation as they come in.

    Args:
        label: of the checkpoint.
        num_images: to evaluate.
        stream: where to; a terminal gets a line that is rewritten, anything else one every 20 s.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        label: str,
        num_images: int,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._num_images = num_images
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._shown = -1e9
        self._width = 0

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes one event of the child process."""
        name = event["event"]
        if name == "started":
            self._line("starting TensorFlow")
        elif name == "imported":
            self._line("building the model")
        elif name == "restored":
            self._line("tracing the first batch")
        elif name == "evaluating":
            self._evaluating(int(event["images"]))
        elif name == "pass_done":
            # Of a rewritten line; elsewhere the result says it.
            self._end()

    def _evaluating(self, images: int) -> None:
        now = self._clock()
        first = self._first or (now, images)
        self._first = first
        if now - self._shown < (_REFRESH_SECONDS if self._live else _QUIET_SECONDS):
            return
        # The first batch holds the tracing; the rate is that of the others.
        elapsed, done = now - first[0], images - first[1]
        speed = ""
        if elapsed > 0 and done:
            left = (self._num_images - images) * elapsed / done
            speed = f", {done / elapsed:.1f} images/s, {duration(left)} left"
        self._line(f"{images:,} of {self._num_images:,} images{speed}")

    def _line(self, text: str) -> None:
        whole = shown(f"{self._label}: {text}")
        self._shown = self._clock()
        if self._live:
            self._stream.write("\r" + whole.ljust(self._width))
            self._width = len(whole)
        else:
            self._stream.write(whole + "\n")
        self._stream.flush()

    def _end(self) -> None:
        if self._live and self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0
