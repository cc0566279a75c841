"""What is said on stderr while a checkpoint is evaluated."""

from __future__ import annotations

import io

from odapi_repro.trials.evaluations.checkpoint_evaluation import EvaluationProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(stream: io.StringIO) -> list[str]:
    """Feeds 60 batches of 8 images at 4 images/s after a first batch of 30 seconds."""
    clock = Clock()
    progress = EvaluationProgress("ckpt-7", 480, stream=stream, clock=clock)
    progress({"event": "started", "pid": 1})
    progress({"event": "imported", "seconds": 15.0})
    progress({"event": "restored", "build_seconds": 1.0})
    clock.now = 30.0
    for batch in range(1, 61):
        progress({"event": "evaluating", "images": 8 * batch})
        clock.now += 2.0
    progress({"event": "pass_done", "pass": "plain"})
    return stream.getvalue().replace("\r", "\n").split("\n")


def test_a_log_has_a_line_every_twenty_seconds_with_the_rate_past_the_first_batch() -> None:
    lines = shown(io.StringIO())
    assert lines[:4] == [
        "ckpt-7: starting TensorFlow",
        "ckpt-7: building the model",
        "ckpt-7: tracing the first batch",
        "ckpt-7: 8 of 480 images",
    ]
    assert lines[4] == "ckpt-7: 88 of 480 images, 4.0 images/s, 1 min 38 s left"
    assert 5 < len(lines) < 12


def test_a_terminal_has_one_line_that_is_rewritten_and_ended() -> None:
    stream = Terminal()
    lines = shown(stream)
    assert lines[-2].strip() == "ckpt-7: 480 of 480 images, 4.0 images/s, 0 s left"
    assert stream.getvalue().count("\n") == 1


def test_a_label_is_shown_as_text() -> None:
    stream = io.StringIO()
    EvaluationProgress("ckpt\x1b[2J\n7", 480, stream=stream)({"event": "started"})
    assert stream.getvalue() == "ckpt\\x1b[2J\\n7: starting TensorFlow\n"
