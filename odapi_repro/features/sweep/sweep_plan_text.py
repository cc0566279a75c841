"""A sweep in words before it runs, and the line that shows how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from odapi_repro.features.sweep.sweep import Sweep, checkpoint_label
from odapi_repro.features.sweep.sweep_runner import SweepEvent
from odapi_repro.foreign_text import shown
from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import count_of, duration

__all__ = ["SweepProgress", "post_hoc_plan_text"]


def post_hoc_plan_text(sweep: Sweep, *, study: str, warnings: Sequence[str] = ()) -> str:
    """The plan of a sweep, as `--dry_run` prints it."""
    plan = sweep.plan
    lines = [
        f"study {study}: {len(plan.cells)} cells without training",
        f"pipeline: {sweep.pipeline.path}",
        *(f"warning: {warning}" for warning in warnings),
        *(
            f"checkpoint {index}: {checkpoint_label(source)}"
            + (f", step {source.step:,}" if source.step is not None else "")
            for index, source in enumerate(sweep.sources, start=1)
        ),
        f"data: {sweep.data.description}",
        "",
        "factors (the pipeline's own level first):",
    ]
    for axis in plan.axes:
        labels = ", ".join(level.label for level in axis.levels)
        lines += [f"  {axis.factor.name}: {labels}", f"    held: {axis.factor.holds}"]
    lines += [f"  {_text(levels)} is the same as {_text(into)}" for levels, into in plan.merged]
    lines += ["", f"forward passes over {sweep.truth.num_images:,} images each:"]
    lines += [
        f"  {sweep.about(one)}: {count_of(len(one.variants), 'post-processing')}"
        for one in plan.passes
    ]
    lines.append("")
    lines.append(
        f"{len(plan.passes)} forward passes in one process, without those that earlier commands"
        f" have made; then {len(plan.cells)} cells are scored and compared on the same images"
    )
    return "\n".join(map(shown, lines))


class SweepProgress:
    """Shows how far a sweep is: a line that is rewritten on a terminal, few plain ones elsewhere.

    Args:
        num_images: of a pass.
        stream: where to; stderr by default.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        num_images: int,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._num_images = num_images
        self._line = LiveLine(stream, clock=clock)
        self._clock = clock
        self._at = ("", "")
        self._began = (clock(), 0)

    def __call__(self, event: SweepEvent) -> None:
        """Takes one event."""
        now, at = self._clock(), (event.stage, event.what)
        news = at != self._at
        if news:
            self._at, self._began = at, (now, event.images)
        self._line.update(self._told(event, now), news=news or event.images >= self._num_images)

    def end(self) -> None:
        """Ends the line on a terminal."""
        self._line.end()

    def _told(self, event: SweepEvent, now: float) -> str:
        if event.stage == "scoring":
            return f"scoring {event.index}/{event.total}: {event.what}"
        if event.stage == "starting":
            return "loading TensorFlow"
        if not event.what:
            return "building the model"
        head = f"[{event.index}/{event.total}] {event.what}"
        if event.stage == "building":
            return f"{head}: weights restored"
        text = f"{head}: {event.images}/{self._num_images} images"
        seconds, images = now - self._began[0], event.images - self._began[1]
        if seconds > 0 and images > 0:
            rate = images / seconds
            left = duration((self._num_images - event.images) / rate)
            text += f", {rate:.1f} images/s, {left} left"
        return text


def _text(levels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {label}" for name, label in levels.items())
