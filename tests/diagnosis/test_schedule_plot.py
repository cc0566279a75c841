"""The plot of learning rates: which lines it has, and over which images."""

from __future__ import annotations

from pathlib import Path

import pytest

from odapi_repro.diagnosis.outcome import subject_of
from odapi_repro.diagnosis.render.schedule_plot import schedule_figure, write_schedule_plot
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.errors import UserError
from odapi_repro.reference import reference_named

REFERENCE = reference_named("efficientdet_d3")


def subject(**replaced: str) -> Subject:
    text = REFERENCE.config_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return subject_of(text, "a.config", reference=REFERENCE)


def lines(of: Subject) -> dict[str, list[tuple[float, float]]]:
    (axes,) = schedule_figure(of).axes
    return {
        str(line.get_label()): list(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }


def test_lines_are_the_configs_the_references_and_what_the_linear_rule_makes_of_it() -> None:
    drawn = lines(subject(**{"batch_size: 128": "batch_size: 2"}))
    reference, rule, own = drawn.values()
    assert list(drawn) == [
        "efficientdet_d3: batch 128, 38.4 million images, peak 0.08",
        "the reference's rate at batch 2 by the linear rule: peak 0.00125",
        "this config: batch 2, 600,000 images, peak 0.08",
    ]
    assert (own[-1][0], reference[-1][0]) == (299_999 * 2, 299_999 * 128)
    assert max(rate for _, rate in rule) == pytest.approx(0.08 * 2 / 128)
    assert max(own, key=lambda point: point[1])[0] == 2500 * 2


def test_at_the_references_batch_there_is_no_rule_to_draw() -> None:
    assert len(lines(subject())) == 2


def test_what_was_planned_after_the_end_of_the_run_is_drawn_apart() -> None:
    drawn = lines(subject(**{"num_steps: 300000": "num_steps: 50000"}))
    planned = drawn["planned after the end of the run"]
    assert (planned[0][0], planned[-1][0]) == (50_000 * 128, 300_000 * 128)


def test_without_a_step_there_is_nothing_to_plot(tmp_path: Path) -> None:
    of = subject(**{"num_steps: 300000": "num_steps: 0"})
    with pytest.raises(UserError, match="no learning rate to plot: no step is taken"):
        write_schedule_plot(of, None, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_the_same_config_gives_the_same_bytes(tmp_path: Path) -> None:
    one = write_schedule_plot(subject(), None, tmp_path / "a.svg").read_bytes()
    other = write_schedule_plot(subject(), None, tmp_path / "b.svg").read_bytes()
    assert one == other
