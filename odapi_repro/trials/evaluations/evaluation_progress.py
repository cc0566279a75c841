"""How far an evaluation of checkpoints is, on the live line."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import duration

_QUIET_SECONDS = 20.0


class EvaluationProgress:
    """Shows the events of the child that evaluates as they come in.

    Args:
        label: what is evaluated; empty where each pass is named.
        num_images: evaluated in a pass.
        passes: names of the passes -> what they are.
        stream: stderr by default.
        clock: for tests.
    """

    def __init__(
        self,
        label: str,
        num_images: int,
        *,
        passes: Mapping[str, str] | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.line = LiveLine(stream, quiet_seconds=_QUIET_SECONDS, clock=clock)
        self._label = label
        self._num_images = num_images
        self._passes = passes or {}
        self._begun: dict[str, tuple[float, int]] = {}
        self._clock = clock

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes one event of the child process."""
        kind, name = event["event"], str(event.get("pass", ""))
        if kind == "started":
            self._tell("", "starting TensorFlow")
        elif kind == "imported":
            self._tell("", "building the model")
        elif kind == "restored":
            self._tell(name, "tracing the first batch")
        elif kind == "evaluating":
            self._evaluating(name, int(event["images"]))
        elif kind == "pass_done":
            # Of a rewritten line; elsewhere the result says it.
            self.line.end()

    def _evaluating(self, name: str, images: int) -> None:
        now = self._clock()
        # The first batch holds the tracing; the rate is that of the others.
        first = self._begun.setdefault(name, (now, images))
        elapsed, done = now - first[0], images - first[1]
        speed = ""
        if elapsed > 0 and done:
            left = (self._num_images - images) * elapsed / done
            speed = f", {done / elapsed:.1f} images/s, {duration(left)} left"
        told = f"{images:,} of {self._num_images:,} images{speed}"
        self._tell(name, told, news=first == (now, images) or images >= self._num_images)

    def _tell(self, name: str, text: str, *, news: bool = True) -> None:
        head = self._label
        if name in self._passes:
            place = len(self._begun) + (name not in self._begun)
            head = f"[{place}/{len(self._passes)}] {self._passes[name]}"
        self.line.update(f"{head}: {text}" if head else text, news=news)
