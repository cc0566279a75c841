"""What a person sees while a sweep runs."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from odapi_repro.features.sweep.sweep_runner import SweepProgress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, *, seconds: float) -> None:
    """A pass of 100 images at 4 images a second, and two cells, one of which cannot be scored."""
    clock = Clock()
    passes = [SimpleNamespace(name="p1"), SimpleNamespace(name="p2")]
    own, other = (SimpleNamespace(levels={"nms_iou": label}) for label in ("0.5", "0.6"))
    sweep: Any = SimpleNamespace(
        plan=SimpleNamespace(passes=passes, cells=[own, other]),
        truth=SimpleNamespace(num_images=100),
        reference=own,
        about=lambda one: {"p1": "ckpt-1", "p2": "ckpt-2"}[one.name],
    )
    progress = SweepProgress(sweep, stream=stream, clock=clock)
    progress({"event": "started"})
    progress({"event": "imported"})
    progress({"event": "restored", "pass": "p1"})
    for images in range(4, 101, 4):
        clock.now += seconds
        progress({"event": "evaluating", "pass": "p1", "images": images})
    for cell, state in ((own, "succeeded"), (other, "failed")):
        unit: Any = SimpleNamespace(trial_id="a", cell=cell)
        progress.of_cell(unit, {"event": "trial_started"})
        progress.of_cell(unit, {"event": "trial_ended", "state": state, "message": "no luck"})
    progress.line.end()


def test_a_log_gets_a_line_at_each_change_and_at_most_three_a_minute_between() -> None:
    stream = io.StringIO()
    run(stream, seconds=1.0)
    assert stream.getvalue().splitlines() == [
        "starting TensorFlow",
        "building the model",
        "[1/2] ckpt-1: tracing the first batch",
        "[1/2] ckpt-1: 4 of 100 images",
        "[1/2] ckpt-1: 84 of 100 images, 4.0 images/s, 4 s left",
        "[1/2] ckpt-1: 100 of 100 images, 4.0 images/s, 0 s left",
        "scoring 1/2: as configured",
        "scoring 2/2: nms_iou 0.6",
        "nms_iou 0.6: failed: no luck",
    ]


def test_a_slow_pass_says_how_long_it_takes() -> None:
    stream = io.StringIO()
    run(stream, seconds=40.0)
    assert "[1/2] ckpt-1: 12 of 100 images, 0.1 images/s, 14 min 40 s left" in stream.getvalue()


def test_a_terminal_has_one_line_that_is_rewritten_and_one_for_what_failed() -> None:
    stream = Terminal()
    run(stream, seconds=1.0)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("nms_iou 0.6: failed: no luck\n")
    assert text.count("\r") > 20
