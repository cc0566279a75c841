"""A study's folder says what was found, how far it holds, and the same thing twice."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import BATCH_SIZE, LR_SCALING, batch_rows, study, trial
from matplotlib.figure import Figure

from odapi_repro.analysis.trial_table import BOX_METRICS
from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.study_page import headline, study_page, study_results
from odapi_repro.features.ablate.study_plots import ap_figure, smoothed
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.page.markdown_page import markdown_page
from odapi_repro.page.numbers import number
from odapi_repro.page.study_tables import csv_bytes, read_trials
from odapi_repro.page.terminal_page import Terminal, print_page, terminal_page


def readme(report: StudyReport) -> str:
    return markdown_page(study_page(report))


def screen(report: StudyReport) -> str:
    return terminal_page(study_page(report), Terminal(ascii_only=False))


def with_divergence() -> list[dict]:
    rows = batch_rows()
    for row in rows:
        if row["batch_size"] == "2" and row["seed"] != 1:
            row.update(status="diverged", **dict.fromkeys(BOX_METRICS, np.nan))
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "batch_size_d3"
    study_results(study(with_divergence())).write(path)
    return path


def test_the_folder_holds_tables_plots_and_readme(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "ap_by_batch_size.png",
        "ap_by_batch_size.svg",
        "effects.csv",
        "loss_curves.png",
        "trials.csv",
    ]


def test_the_same_trials_in_another_order_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for path in study_results(study(with_divergence()[::-1])).write(tmp_path):
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_trials_csv_comes_back_as_it_was_written(folder: Path) -> None:
    written = study(with_divergence()).table
    read = read_trials(folder / "trials.csv")
    assert list(read.columns) == list(written.columns)
    assert list(read["batch_size"]) == list(written["batch_size"])
    np.testing.assert_allclose(read["AP"], written["AP"], rtol=1e-9)
    assert csv_bytes(read) == (folder / "trials.csv").read_bytes()


def test_levels_called_none_survive_the_csv(tmp_path: Path) -> None:
    rows = [trial(20, batch_size="2", lr_scaling=name) for name in ("none", "None", "nan")]
    report = study(rows, axes=(BATCH_SIZE, LR_SCALING))
    (tmp_path / "trials.csv").write_bytes(csv_bytes(report.table))
    read = read_trials(tmp_path / "trials.csv")
    assert set(read["lr_scaling"]) == {"none", "None", "nan"}


def test_csv_keeps_ten_digits_and_no_minus_zero() -> None:
    text = csv_bytes(pd.DataFrame({"AP": [27.913847293847, -0.0, np.nan], "n": [1, 2, 3]}))
    assert text == b"AP,n\n27.91384729,1\n0,2\n,3\n"


def test_readme_sections_come_in_order(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "Levels",
        "Effects",
        "Plots",
        "What was held constant",
        "Levels of the pipeline and of these trials",
        "Scale: proxy",
        "What is reported for efficientdet_d3",
        "What you cannot conclude",
        "Run it again",
        "What it cost",
    ]
    assert "must not be compared with the proxy AP" in text
    assert "2 diverged, 1 succeeded" in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert (folder / line.split("(")[1].rstrip(")")).exists()


def test_headline_names_the_largest_resolved_effect() -> None:
    assert headline(study()).startswith(
        "batch_size 2 instead of 16 costs 9.0 AP [95 % interval for all 4 contrasts together -"
    )


def test_headline_of_one_seed_claims_no_interval() -> None:
    text = headline(study(batch_rows(1)))
    assert "scored 9.4 AP lower (the largest of 4 differences, 1 run each: no interval)" in text
    assert "costs" not in text


def test_headline_tells_divergence_first() -> None:
    text = headline(study(with_divergence()))
    assert text.startswith(
        "batch_size 2: 2 of 3 runs diverged (at 16: 0 of 3); counted as 0, AP is"
    )
    assert "%" not in text.replace("95 %", "")


def test_one_run_that_diverged_is_one_run_and_not_100_percent() -> None:
    rows = [
        trial(0.0, batch_size="2", status="diverged"),
        trial(25.0, batch_size="4"),
        trial(18.9, batch_size="16"),
    ]
    one = study(rows, axes=(Axis("batch_size", "16", ("2", "4", "16")),), seeds=(0,))
    assert headline(one) == (
        "batch_size 2: its 1 run diverged (at 16: 0 of 1); counted as 0, AP is 18.9 lower (1 run "
        "each: no interval), at proxy scale; the other contrast: 1 without an interval."
    )
    assert "100%" not in readme(one) + screen(one)
    assert "given convergence (0 of 1 and 1 of 1 diverged)" in readme(one)


def test_headline_of_a_smoke_run_has_no_number() -> None:
    assert not any(letter.isdigit() for letter in headline(study(scale="smoke")))


def test_a_study_in_which_nothing_has_run_can_be_reported(tmp_path: Path) -> None:
    rows = [{**row, "status": "planned", "AP": np.nan} for row in batch_rows()]
    for row in rows:
        row.update(dict.fromkeys(BOX_METRICS, np.nan), final_loss=np.nan, wall_seconds=np.nan)
    paths = study_results(study(rows, loss_curves={})).write(tmp_path)
    assert [path.name for path in paths] == ["trials.csv", "effects.csv", "README.md"]
    assert "Nothing to compare yet" in paths[-1].read_text()


def test_the_terminal_tells_the_answer_then_levels_then_effects() -> None:
    text = screen(study())
    assert text.startswith("batch_size 2 instead of 16 costs 9.0 AP [95 % interval for all 4")
    assert text.index("16 (reference)") < text.index("batch_size 16 → 2 ")
    assert re.search(r"batch_size 16 → 2 +-9.0 +-10.5 to -7.5 +3 +loss", text)
    assert "Do not conclude" not in text
    assert text.endswith("Proxy scale: read the differences only; its AP is not COCO's.\n")


def test_masks_have_their_interval_and_verdict() -> None:
    rows = [{**row, "mask_AP": row["AP"] - 2} for row in batch_rows()]
    assert "-9.0 (-10.5 to -7.5, loss)" in screen(study(rows))


def test_what_may_not_be_concluded_reads_as_sentences() -> None:
    section = readme(study(with_divergence())).split("## What you cannot conclude\n\n")[1]
    lines = section.split("\n\n")[0].split("\n")
    assert len(lines) == 6
    assert all(line.startswith("- Do not conclude ") for line in lines)


def test_a_pipe_gets_ascii() -> None:
    stream = io.StringIO()
    print_page(study_page(study()), stream)
    assert stream.getvalue().isascii()
    assert "16 (reference)" in stream.getvalue()
    assert "±" in screen(study())


def test_the_terminal_does_not_wait_for_matplotlib_or_scipy_stats() -> None:
    code = (
        "import sys, odapi_repro.features.ablate;"
        "print([m for m in ('matplotlib', 'scipy.stats', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_numeric_levels_lie_on_a_log2_axis() -> None:
    figure = ap_figure(study(), BATCH_SIZE)
    assert isinstance(figure, Figure)
    axes = figure.axes[0]
    assert list(axes.get_xticks()) == [1, 2, 3, 4, 5]
    assert axes.get_ylabel() == "AP on 80 shapes images (points)"


def test_smoothing_remembers_images_not_steps() -> None:
    loss = np.array([1.0, 3.0])
    assert smoothed(np.array([0.0, 100.0]), loss, 1e9)[1] == pytest.approx(2.0)
    assert smoothed(np.array([0.0, 100.0]), loss, 1.0)[1] == pytest.approx(3.0)


def test_numbers_have_no_minus_zero() -> None:
    assert (number(-0.04, 1), number(float("nan"), 1)) == ("0.0", "-")


@pytest.fixture
def broken_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr("odapi_repro.page.plot_style.encode", refuse)


@pytest.mark.usefixtures("broken_figures")
def test_plots_that_fail_leave_the_tables_and_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_results(study()).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("README.md", "effects.csv", "trials.csv")
    ]
    text = (tmp_path / "README.md").read_text()
    assert "- ap_by_batch_size could not be drawn and is left out: RuntimeError: no ink." in text
    assert "](ap_by" not in text
    assert len(capsys.readouterr().err.splitlines()) == 2
