"""What a person sees while a checkpoint is evaluated, on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import duration

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
        self._line = LiveLine(stream, quiet_seconds=_QUIET_SECONDS, clock=clock)
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes one event of the child process."""
        name = event["event"]
        if name == "started":
            self._tell("starting TensorFlow")
        elif name == "imported":
            self._tell("building the model")
        elif name == "restored":
            self._tell("tracing the first batch")
        elif name == "evaluating":
            self._evaluating(int(event["images"]))
        elif name == "pass_done":
            # Of a rewritten line; elsewhere the result says it.
            self._line.end()

    def _evaluating(self, images: int) -> None:
        now = self._clock()
        first = self._first or (now, images)
        self._first = first
        # The first batch holds the tracing; the rate is that of the others.
        elapsed, done = now - first[0], images - first[1]
        speed = ""
        if elapsed > 0 and done:
            left = (self._num_images - images) * elapsed / done
            speed = f", {done / elapsed:.1f} images/s, {duration(left)} left"
        told = f"{images:,} of {self._num_images:,} images{speed}"
        self._tell(told, news=first == (now, images) or images >= self._num_images)

    def _tell(self, text: str, *, news: bool = True) -> None:
        self._line.update(f"{self._label}: {text}", news=news)
