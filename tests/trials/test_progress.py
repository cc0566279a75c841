"""What a person sees while a study runs."""

from __future__ import annotations

import dataclasses
import io

import pytest
from fake_trials import fake_trial

from odapi_repro.page.live_line import LiveLine
from odapi_repro.page.numbers import duration
from odapi_repro.trials.study_progress import Progress

TRIAL = fake_trial()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(number: int, loss: object = 1.25) -> dict:
    return {"event": "step", "step": number, "loss": loss, "learning_rate": 0.01}


def ended(state: str, message: str = "") -> dict:
    return {"event": "trial_ended", "state": state, "message": message}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"), (7500, "2 h 05 min"), (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_a_duration_reads_as_a_person_would_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_log_file_gets_the_beginning_and_the_end_and_one_line_a_minute() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(2, 0, stream=stream, clock=clock)
    progress(TRIAL, {"event": "trial_started"})
    for number in range(1, 122):
        clock.now = float(number)
        progress(TRIAL, step(number))
    progress(TRIAL, ended("succeeded"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 2 + 1
    assert lines[0] == "[1/2] batch_size=4 seed=1: starting (4 steps)"
    assert "step 60/4" in lines[1]
    assert lines[-1].startswith("[1/2] batch_size=4 seed=1: succeeded after 2 min 01 s")
    assert "\r" not in stream.getvalue()


def test_a_step_says_loss_rate_speed_and_time_left(monkeypatch) -> None:
    monkeypatch.setattr(LiveLine, "_columns", lambda self: 120)
    stream, clock = Terminal(), Clock()
    progress = Progress(1, 0, stream=stream, clock=clock)
    progress(TRIAL, {"event": "trial_started"})
    for number in (1, 2):
        clock.now = 10.0 * number
        progress(TRIAL, step(number))
    shown = stream.getvalue().rpartition("\r")[2]
    # One step of four images in ten seconds; two steps are left.
    assert "step 2/4" in shown
    assert "loss 1.250" in shown
    assert "LR 0.01" in shown
    assert "0.4 images/s" in shown
    assert "step 2/4  20 s left" in shown


def test_a_terminal_gets_one_line_that_is_rewritten_and_never_left_longer() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(1, 0, stream=stream, clock=clock)
    progress(TRIAL, {"event": "trial_started"})
    for number in (1, 2, 3):
        clock.now = float(number)
        progress(TRIAL, step(number))
    progress(TRIAL, {"event": "trained"})
    progress(TRIAL, ended("succeeded"))
    assert stream.getvalue().count("\n") == 2
    widths = [len(part) for part in stream.getvalue().split("\n")[1].split("\r")[1:]]
    assert widths[-1] >= len(stream.getvalue().rpartition("\r")[2].rstrip())
    assert stream.getvalue().rstrip().rpartition("\r")[2].startswith("[1/1]")


def test_a_loss_that_is_no_number_is_shown_as_it_came() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(1, 0, stream=stream, clock=clock)
    progress(TRIAL, step(1, "nan"))
    assert "loss nan" in stream.getvalue()


def test_a_failed_trial_says_why_in_one_line_and_the_next_has_the_next_number() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(2, 0, stream=stream, clock=clock)
    progress(TRIAL, {"event": "trial_started"})
    progress(TRIAL, ended("failed", "ValueError:\nshapes differ"))
    progress(TRIAL, {"event": "trial_started"})
    lines = stream.getvalue().splitlines()
    assert "failed after 0 s: ValueError:" in lines[1]
    assert "shapes differ" not in stream.getvalue()
    assert [line.split()[0] for line in lines] == ["[1/2]", "[1/2]", "[2/2]"]


def test_trials_are_numbered_and_finished_ones_of_before_are_counted() -> None:
    stream = io.StringIO()
    progress = Progress(3, 1, stream=stream, clock=Clock())
    for _ in range(2):
        progress(TRIAL, {"event": "trial_started"})
        progress(TRIAL, ended("diverged", "loss nan at step 3 of 4"))
    heads = [line.split()[0] for line in stream.getvalue().splitlines()]
    assert heads == ["[2/3]", "[2/3]", "[3/3]", "[3/3]"]


def test_the_time_left_for_the_study_comes_from_its_own_trials() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(3, 0, stream=stream, clock=clock, expected_seconds=1000)
    progress(TRIAL, {"event": "trial_started"})
    clock.now = 100.0
    progress(TRIAL, ended("succeeded"))
    assert "(study: 3 min 20 s left)" in stream.getvalue()
    progress(TRIAL, {"event": "trial_started"})
    clock.now = 300.0
    progress(TRIAL, ended("failed"))
    # Two trials took 150 s each.
    assert "(study: 2 min 30 s left)" in stream.getvalue()


def test_notes_and_waits_are_lines_of_their_own_and_show_what_cannot_be_seen() -> None:
    stream = io.StringIO()
    progress = Progress(2, 0, stream=stream, clock=Clock())
    progress(TRIAL, {"event": "note", "text": "goes on from step 4\x1b[2J"})
    progress(TRIAL, {"event": "waiting"})
    assert stream.getvalue().splitlines() == [
        "[1/2] batch_size=4 seed=1: goes on from step 4\\x1b[2J",
        "[1/2] batch_size=4 seed=1: another process runs it; waiting for its end",
    ]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_levels_and_messages_of_a_trial_are_shown_as_text(stream: io.StringIO) -> None:
    odd = dataclasses.replace(TRIAL, cell={"batch_size": "4\x1b[2J\n5"})
    progress = Progress(1, 0, stream=stream, clock=Clock())
    progress(odd, {"event": "trial_started"})
    progress(odd, ended("failed", "no\x9b"))
    told = stream.getvalue()
    assert "batch_size=4\\x1b[2J\\n5" in told
    assert not {"\x1b", "\x9b"} & set(told)
