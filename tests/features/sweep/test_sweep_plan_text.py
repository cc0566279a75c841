"""What a person sees while a sweep runs."""

from __future__ import annotations

import io

from odapi_repro.features.sweep.sweep_plan_text import SweepProgress
from odapi_repro.features.sweep.sweep_runner import SweepEvent


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, *, seconds: float) -> None:
    """A pass of 100 images at 4 images a second, and a cell."""
    clock = Clock()
    progress = SweepProgress(100, stream=stream, clock=clock)
    progress(SweepEvent("starting", "", 1, 2))
    progress(SweepEvent("building", "", 1, 2))
    progress(SweepEvent("building", "ckpt-1", 1, 2))
    for images in range(4, 101, 4):
        clock.now += seconds
        progress(SweepEvent("detecting", "ckpt-1", 1, 2, images))
    progress(SweepEvent("scoring", "nms_iou 0.6", 2, 3))
    progress.end()


def test_a_log_gets_a_line_at_each_change_and_at_most_one_a_minute_between() -> None:
    stream = io.StringIO()
    run(stream, seconds=1.0)
    assert stream.getvalue().splitlines() == [
        "loading TensorFlow",
        "building the model",
        "[1/2] ckpt-1: weights restored",
        "[1/2] ckpt-1: 4/100 images",
        "[1/2] ckpt-1: 100/100 images, 4.0 images/s, 0 s left",
        "scoring 2/3: nms_iou 0.6",
    ]


def test_a_slow_pass_says_how_long_it_takes() -> None:
    stream = io.StringIO()
    run(stream, seconds=40.0)
    assert "[1/2] ckpt-1: 12/100 images, 0.1 images/s, 14 min 40 s left" in stream.getvalue()


def test_a_terminal_has_one_line_that_is_rewritten() -> None:
    stream = Terminal()
    run(stream, seconds=1.0)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text.count("\r") > 20
