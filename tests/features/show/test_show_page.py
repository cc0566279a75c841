"""The page of `data show`: a file holds all that was found, a terminal what it has room for."""

from __future__ import annotations

import dataclasses

from split_reports import split_report

from odapi_repro.features.show.show_page import show_page
from odapi_repro.features.show.show_report import DrawsReport, ShowReport, SplitReport
from odapi_repro.page.markdown_page import markdown_page
from odapi_repro.page.terminal_page import terminal_page


def _both(split: SplitReport, *pictures: str) -> tuple[str, str]:
    """README.md, with every picture drawn, and what a terminal shows."""
    report = ShowReport("data show", "mine", "map.pbtxt", "", "", "", "", 0, (split,))
    page = show_page(report, {split.split: pictures})
    return markdown_page(page, pictures), terminal_page(page)


def test_a_terminal_has_ten_classes_and_a_file_all() -> None:
    readme, told = _both(split_report(None, 400, 14))
    assert [f"class {i} with" in readme for i in range(1, 15)] == [True] * 14
    assert told.count(" with a rather long name") == 10
    assert "... 4 more" in told
    assert "more" not in readme
    told = _both(split_report(None, 400, 10))[1]
    assert told.count(" with a rather long name") == 10
    assert "more" not in told


def test_the_draws_at_which_training_would_stop_have_their_messages() -> None:
    draws = DrawsReport(3, 2, 9, 4, 1, 2, ("*shape* (1,)", "no keypoints"))
    for text in _both(dataclasses.replace(split_report(None, 9), draws=draws)):
        after = text.split("Training would stop at 2 of these draws\n")[1]
        assert "shape" in after.split("no keypoints")[0]
    readme, told = _both(dataclasses.replace(split_report(None, 9), draws=None))
    assert "would stop" not in readme + told


def test_pictures_are_shown_in_the_file_alone() -> None:
    readme, told = _both(split_report(None, 9), "records_train.png")
    assert "![records train](records_train.png)" in readme
    assert "records_train" not in told
