"""The files of results/<name>/ of a sanity run, and what a terminal shows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from odapi_repro.errors import StudyMismatch
from odapi_repro.features.sanity.sanity_page import sanity_page, sanity_results
from odapi_repro.features.sanity.sanity_plot import render_curves
from odapi_repro.features.sanity.sanity_record import SANITY_FILE, SanityRecord
from odapi_repro.features.sanity.sanity_verdict import Change, Outcome, Point, Run, Score
from odapi_repro.page.markdown_page import markdown_page
from odapi_repro.page.terminal_page import Terminal, terminal_page


def run(name: str, *aps: float, status: str = "succeeded", rate: float = 0.2) -> Run:
    points = tuple(Point(20 * i, ap) for i, ap in enumerate(aps))
    return Run(
        name=name,
        trial_id=f"{name:0<12}",
        status=status,
        message="loss nan at step 7 of 40" if status == "diverged" else "",
        steps_done=15,
        num_steps=40,
        global_batch_size=16,
        peak_rate=rate,
        known_rate=0.2,
        rate_note=f"the rate of {name}",
        points=points,
        losses=((10, 8.0), (20, 2.0), (30, 1.0)),
        wall_seconds=90.0,
    )


OUTCOME = Outcome(
    scale="proxy",
    checkpoint="the proxy reference",
    own_ap=25.0,
    on_eval=Score(25.0, 1.5, 160),
    on_train=Score(27.0, 1.5, 160),
    hold=run("hold", 25.0, 25.5, 26.0, rate=0.002),
    hold_change=Change(1.0, -0.3, 2.3),
    overfit=run("overfit", 30.0, status="diverged", rate=4.0),
    overfit_safe=run("overfit_safe", 30.0, 45.0, 70.0, rate=0.05),
)


@pytest.fixture(scope="module")
def record() -> SanityRecord:
    return SanityRecord(
        study="mine",
        pipeline="effdet_d3",
        command="python -m odapi_repro.run --sanity",
        seed=1,
        foundation={"data": "embedded", "schedule": "learning_rate = 4"},
        outcome=OUTCOME,
    )


def test_the_readme_begins_with_the_verdict_and_ends_with_the_command(
    record: SanityRecord,
) -> None:
    text = markdown_page(sanity_page(record), ["curves.png"])
    assert text.startswith("# mine\n\n**The schedule is wrong")
    assert "`schedule`" in text
    assert "![AP and loss by step](curves.png)" in text
    assert text.endswith("```\npython -m odapi_repro.run --sanity\n```\n")


def test_every_number_of_the_curves_is_in_a_table(record: SanityRecord) -> None:
    for text in (markdown_page(sanity_page(record)), terminal_page(sanity_page(record))):
        for value in ("25.5", "26.0", "45.0", "70.0", "27.0"):
            assert value in text


def test_a_terminal_without_unicode_gets_ascii(record: SanityRecord) -> None:
    page = sanity_page(record)
    assert terminal_page(page).isascii()
    assert "±" in terminal_page(page, Terminal(ascii_only=False))


@pytest.fixture(scope="module")
def folder(record: SanityRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report as it is written."""
    path = tmp_path_factory.mktemp("report")
    sanity_results(record).write(path)
    return path


def test_the_files_of_a_report(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "curve.csv", "curves.png", "sanity.json", "trials.csv"]
    trials = pd.read_csv(folder / "trials.csv")
    assert trials["check"].tolist() == ["hold", "overfit", "overfit_safe"]
    assert trials["status"].tolist() == ["succeeded", "diverged", "succeeded"]
    curve = pd.read_csv(folder / "curve.csv")
    assert curve[curve["check"] == "hold"]["AP"].tolist() == [25.0, 25.5, 26.0]
    written = json.loads((folder / "sanity.json").read_text())
    assert written["verdict"]["causes"] == ["schedule"]


def test_the_same_outcome_gives_the_same_bytes(
    record: SanityRecord, folder: Path, tmp_path: Path
) -> None:
    sanity_results(record).write(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_a_run_without_anything_has_a_report_and_no_picture(
    record: SanityRecord, tmp_path: Path
) -> None:
    empty = dataclasses.replace(record, outcome=Outcome(scale="proxy", no_hold="no checkpoint"))
    sanity_results(empty).write(tmp_path)
    assert not (tmp_path / "curves.png").exists()
    assert "Undecided" in (tmp_path / "README.md").read_text()


def test_there_is_a_panel_for_each_thing_that_was_measured(folder: Path) -> None:
    whole = (folder / "curves.png").read_bytes()
    (drawing,) = render_curves(dataclasses.replace(OUTCOME, hold=None))
    alone = drawing.render()["curves.png"]
    assert width(whole) > width(alone) > 0


def width(png: bytes) -> int:
    """From the header of a PNG: bytes 16 to 20."""
    assert png.startswith(b"\x89PNG")
    return int.from_bytes(png[16:20], "big")


def test_a_record_of_other_data_refuses_to_be_overwritten(
    record: SanityRecord, tmp_path: Path
) -> None:
    SANITY_FILE.write(tmp_path, record.fields)
    SANITY_FILE.check_same(tmp_path, record.foundation)
    with pytest.raises(StudyMismatch, match="data"):
        SANITY_FILE.check_same(tmp_path, {"data": "mine"})
    assert SANITY_FILE.read(tmp_path) == record


@pytest.mark.parametrize("content", ["", "[]", '{"version": 99, "foundation": {}}'])
def test_a_record_that_does_not_read_is_one_message(
    record: SanityRecord, tmp_path: Path, content: str
) -> None:
    (tmp_path / "sanity.json").write_text(content)
    with pytest.raises(StudyMismatch, match=r"sanity\.json"):
        SANITY_FILE.check_same(tmp_path, record.foundation)


@pytest.fixture
def broken_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr("odapi_repro.page.plot_style.encode", refuse)


@pytest.mark.usefixtures("broken_figures")
def test_curves_that_fail_leave_the_verdict(record: SanityRecord, tmp_path: Path) -> None:
    sanity_results(record).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("README.md", "curve.csv", "sanity.json", "trials.csv")
    ]
    assert "curves could not be drawn" in (tmp_path / "README.md").read_text()


def test_names_from_outside_are_text(record: SanityRecord) -> None:
    odd = dataclasses.replace(
        record,
        study="# $x$",
        pipeline="a`b\n|c",
        command="run\n```\n# heading",
        foundation={"data": "<img src=x>\x1b[2J"},
    )
    text = markdown_page(sanity_page(odd))
    assert text.startswith("# \\# \\$x\\$\n")
    assert "``a`b\\n\\|c``" in text
    assert "- data: \\<img src=x>\\\\x1b[2J" in text
    assert text.endswith("````\nrun\n```\n# heading\n````\n")
    assert "\x1b" not in text
