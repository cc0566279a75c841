"""How far a sweep is, on the live line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from odapi_repro.features.sweep.sweep import Sweep
from odapi_repro.features.sweep.sweep_runner import SweepCell
from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import duration


class SweepProgress:
    """Shows the forward passes of a sweep, then the scoring of its cells.

    Args:
        sweep: that is run.
        stream: stderr by default.
        clock: for tests.
    """

    def __init__(
        self,
        sweep: Sweep,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sweep = sweep
        self._passes = {one.name: sweep.about(one) for one in sweep.plan.passes}
        self._begun: list[str] = []
        self._at = ("", "")
        self._line = LiveLine(stream, clock=clock)
        self._clock = clock
        self._scored = 0
        self._since = (clock(), 0)

    def of_child(self, event: dict[str, Any]) -> None:
        """Takes an event of the child that detects."""
        kind, name = event["event"], str(event.get("pass", ""))
        if name and name not in self._begun:
            self._begun.append(name)
        news, self._at = (kind, name) != self._at, (kind, name)
        head = f"[{len(self._begun)}/{len(self._passes)}] {self._passes.get(name, '')}"
        if kind == "started":
            self._line.update("loading TensorFlow", news=True)
        elif kind in ("imported", "restored"):
            told = f"{head}: weights restored" if name else "building the model"
            self._line.update(told, news=True)
        elif kind == "evaluating":
            self._evaluating(head, int(event["images"]), news=news)

    def of_cell(self, unit: SweepCell, event: dict[str, Any]) -> None:
        """Takes an event of a cell."""
        total, kind = len(self._sweep.plan.cells), event["event"]
        label = _differing(unit, self._sweep)
        if kind == "trial_started":
            self._line.update(f"scoring {self._scored + 1}/{total}: {label}", news=True)
        elif kind == "trial_ended":
            self._scored += 1
            if event["state"] != "succeeded":
                self._line.line(f"{label}: {event['state']}: {event['message']}")

    def end(self) -> None:
        """Ends the line on a terminal."""
        self._line.end()

    def _evaluating(self, head: str, images: int, *, news: bool) -> None:
        total, now = self._sweep.truth.num_images, self._clock()
        if news:
            self._since = (now, images)
        text = f"{head}: {images}/{total} images"
        seconds, done = now - self._since[0], images - self._since[1]
        if seconds > 0 and done > 0:
            rate = done / seconds
            text += f", {rate:.1f} images/s, {duration((total - images) / rate)} left"
        self._line.update(text, news=news or images >= total)


def _differing(unit: SweepCell, sweep: Sweep) -> str:
    own, levels = sweep.reference.levels, unit.cell.levels
    changed = [f"{name} {level}" for name, level in levels.items() if level != own[name]]
    return ", ".join(changed) or "as configured"
