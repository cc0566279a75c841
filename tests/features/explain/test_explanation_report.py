"""The folder of an explanation: whole, the same from the same files, read back or refused."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest
from fake_explanation import (
    cell_rows,
    evaluation_table,
    record,
    report,
    two,
)
from response_surface import ResponseSurface

from odapi_repro.analysis.attribution import ATTRIBUTION_COLUMNS
from odapi_repro.analysis.effect import joint_interval
from odapi_repro.errors import StudyMismatch, UserError
from odapi_repro.features.explain.report import explanation_results
from odapi_repro.features.explain.report.effect_wording import headline
from odapi_repro.features.explain.report.explanation_page import explanation_page
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.features.explain.report.explanation_results import read_report, write_report
from odapi_repro.page.markdown_page import markdown_page
from odapi_repro.page.terminal_page import Terminal, print_page, terminal_page


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExplanationReport]:
    folder = tmp_path_factory.mktemp("results") / "case"
    found = report(evaluation=evaluation_table())
    write_report(found, folder)
    return folder, found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def readme(found: ExplanationReport) -> str:
    files = ("waterfall.png", "waterfall.svg", "interactions.png")
    return markdown_page(explanation_page(found), files)


def test_the_folder_holds_what_is_promised(written: tuple[Path, ExplanationReport]) -> None:
    assert set(contents(written[0])) == {
        *("README.md", "trials.csv", "effects.csv", "explanation.json", "evaluation.csv"),
        *("waterfall.svg", "waterfall.png", "interactions.svg", "interactions.png"),
    }


def test_the_committed_files_give_the_same_bytes_again(
    written: tuple[Path, ExplanationReport], tmp_path: Path
) -> None:
    folder, found = written
    before = contents(folder)
    again = read_report(folder)
    paths = write_report(again, tmp_path / "again")
    assert paths[-1].name == "README.md"
    assert contents(tmp_path / "again") == before
    # As when a trial was deleted and run again: the rows come in another order.
    shuffled = found.trials.sample(frac=1, random_state=1)
    rerun = ExplanationReport(found.explanation, shuffled, found.evaluation)
    assert explanation_results.render_json(rerun) == explanation_results.render_json(again)
    assert readme(rerun) == readme(again)


def test_effects_csv_begins_with_the_columns_of_the_contract(
    written: tuple[Path, ExplanationReport],
) -> None:
    table = pd.read_csv(written[0] / "effects.csv")
    assert tuple(table.columns) == ATTRIBUTION_COLUMNS
    assert list(table.columns[:10]) == [
        *("factor", "from", "to", "metric", "delta", "se", "low", "high", "n", "verdict"),
    ]
    found = written[1]
    assert list(table["delta"]) == pytest.approx([one.row.delta for one in found.effects])


def test_effects_csv_has_the_rest_and_both_estimands() -> None:
    explanation = record(3, "both_ends")
    surface = ResponseSurface((-3.0, -2.0, -1.0), diverges=lambda cell: 0.5 * cell[0])
    found = report(explanation, surface)
    table = explanation_results.explanation_json(found)
    assert table["rest"]["factor"] == "not shared out"
    assert {one["given_convergence"]["estimand"] for one in table["shares"]} == {
        "given_convergence"
    }


def test_the_numbers_of_the_readme_are_those_of_the_attributions() -> None:
    text = readme(report())
    for one in report().effects:
        row = f"{one.row.delta:+.1f} | {one.row.low:+.1f} to {one.row.high:+.1f}"
        assert row.replace("+0.0", "0.0").replace("-0.0", "0.0") in text
    assert "| config | our training of the reference" in text
    assert f"+{-report().gap.row.delta:.1f}" in text


def test_the_readme_says_what_is_unknown_and_why() -> None:
    text = readme(two())
    evaluation = next(line for line in text.splitlines() if line.startswith("| evaluation |"))
    assert "unknown" in evaluation
    assert "our evaluation of the published checkpoint" in evaluation
    assert "must not be compared with the proxy AP" in text


def test_the_readme_has_the_commands_mapping_unvaried_deviations_and_cost() -> None:
    text = readme(two())
    assert two().explanation.command in text
    assert "python -m odapi_repro.explain --from results/issue_10530-shapley-proxy" in text
    assert "| train_shards | 100/100 → 1/100 | 8/8 → 1/8 | clipped: the ratio |" in text
    assert "| bfloat16 | has no effect |" in text
    assert "- Trials: 8 (8 succeeded)." in text
    assert "- Wall time of these trainings and evaluations: 26 min 40 s." in text


def test_both_estimands_are_labelled_where_anything_diverged() -> None:
    explanation = record(1, "both_ends")
    rows = cell_rows(explanation, {(0,): (30, 31, 32), (1,): (24, None, 27)})
    text = readme(ExplanationReport(explanation, pd.DataFrame(rows)))
    assert "## The same given convergence" in text
    assert "0% → 33%" in text
    assert "given convergence" not in readme(two()).lower()


def test_what_may_not_be_concluded_is_told_in_sentences() -> None:
    for found in (two(), report(record(4, "both_ends", seeds=(1,)))):
        section = readme(found).split("## What you cannot conclude\n\n")[1].split("\n\n")[0]
        assert all(line.startswith("- Do not conclude ") for line in section.splitlines())


def test_fewer_images_are_told_with_bias_and_spread_of_both_ends() -> None:
    text = readme(report(evaluation=evaluation_table()))
    assert "## Evaluated on fewer images" in text
    assert "| efficientdet_d3 | 20 of 160 | 2 | +1.5 | 3.0 |" in text
    assert "reads 0.9 AP higher on average" in text
    assert "fewer images\n" not in readme(report())


@pytest.mark.parametrize("size", [14, 17, 20, 23, 26, 60])
def test_a_loss_that_is_named_has_an_interval_without_0(size: int) -> None:
    """Holm's test finds more losses than intervals for all of them together do."""
    surface = ResponseSurface((-6.0, -size / 50, -size / 50, -size / 60))
    told = headline(report(record(4, "both_ends", seeds=(1, 2)), surface))
    assert " costs " in told
    for low in re.findall(r" costs [\d.]+ \[(-?[\d.]+) to", told):
        assert float(low) >= 0


def test_the_headline_is_no_stronger_than_the_intervals() -> None:
    row = report().shares[0].row
    low, high = joint_interval(row, contrasts=len(report().shares))
    told = f"train_shards costs {-row.delta:.1f} [{-high:.1f} to {-low:.1f}]"
    assert told in headline(report())
    assert "(intervals for all 4 together)" in headline(report())
    single = report(record(4, "both_ends", seeds=(1,)))
    assert " costs " not in headline(single)
    assert "no interval" in headline(single)
    nothing = report(record(2), ResponseSurface((0.0, 0.0)))
    assert headline(nothing).startswith("No gap between my.config and efficientdet_d3")
    assert headline(report(rows=[])).startswith("Nothing to explain yet")
    unscored = report(record(2, metric="APl"), ResponseSurface((-4.0, -2.0)))
    empty = ExplanationReport(unscored.explanation, unscored.trials.assign(APl=math.nan))
    assert headline(empty) == "Nothing to explain: APl could not be scored at both ends."


def test_an_unfinished_study_reports_what_is_there(tmp_path: Path) -> None:
    found = report(record(4, "both_ends"), most=17)
    names = {path.name for path in write_report(found, tmp_path)}
    assert "README.md" in names
    assert "waterfall.png" not in names
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "13 trials still to run" in text
    assert "not measured yet" in text
    path = report(record(4, "path", order_seeds=(9,)), most=4)
    assert "Cells\n" in terminal_page(explanation_page(path))
    assert "Cells\n" not in terminal_page(explanation_page(found))


def test_a_figure_that_there_is_no_longer_is_removed(tmp_path: Path) -> None:
    write_report(two(), tmp_path)
    assert (tmp_path / "waterfall.svg").exists()
    write_report(report(rows=[]), tmp_path)
    assert not (tmp_path / "waterfall.svg").exists()


def test_the_terminal_gets_ascii_and_the_same_numbers() -> None:
    stream = io.StringIO()
    found = report()
    print_page(explanation_page(found), stream)
    text = stream.getvalue()
    assert text.isascii()
    assert "?" not in text
    assert "8/8 -> 1/8" in text
    assert f"{found.shares[0].row.delta:.1f}" in text
    assert text.startswith(headline(found)[:60])
    assert "not known: our evaluation of" in text
    assert max(map(len, text.splitlines())) <= 100


def test_json_has_null_for_what_is_not_known() -> None:
    found = json.loads(explanation_results.render_json(report(rows=[])))
    assert found["schema"] == 1
    assert found["gap"]["delta"] is None
    assert found["ends"] == {"user": None, "reference": None}
    whole = json.loads(explanation_results.render_json(report()))
    assert sum(one["delta"] for one in whole["shares"]) == pytest.approx(whole["gap"]["delta"])
    assert {part["name"] for part in whole["parts"]} == {
        *("evaluation", "environment", "config", "theirs"),
    }
    assert not any(math.isnan(one["delta"]) for one in whole["shares"])


@pytest.mark.parametrize("name", ["explanation.json", "trials.csv"])
def test_a_missing_file_is_named(
    name: str, written: tuple[Path, ExplanationReport], tmp_path: Path
) -> None:
    for one in ("explanation.json", "trials.csv"):
        if one != name:
            (tmp_path / one).write_bytes((written[0] / one).read_bytes())
    with pytest.raises(UserError, match=name):
        read_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("explanation.json", b"{", "cannot be read"),
        ("explanation.json", b'{"version": 99}', "format 99"),
        ("trials.csv", b"", "damaged"),
        ("trials.csv", b"a,b\n1,2\n", "damaged"),
        ("trials.csv", b"\xff\xfe\x00", "damaged"),
        ("evaluation.csv", b"cell,seed\nuser,x\n", "damaged"),
    ],
)
def test_damaged_and_newer_files_are_refused(
    name: str, content: bytes, said: str, written: tuple[Path, ExplanationReport], tmp_path: Path
) -> None:
    for one in ("explanation.json", "trials.csv"):
        (tmp_path / one).write_bytes((written[0] / one).read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StudyMismatch, match=said):
        read_report(tmp_path)


def test_trials_of_another_study_are_refused(
    written: tuple[Path, ExplanationReport], tmp_path: Path
) -> None:
    for one in ("explanation.json", "trials.csv"):
        (tmp_path / one).write_bytes((written[0] / one).read_bytes())
    text = (tmp_path / "trials.csv").read_text(encoding="utf-8")
    (tmp_path / "trials.csv").write_text(text.replace("batch_size", "anchors", 1), encoding="utf-8")
    with pytest.raises(StudyMismatch, match="do not fit the record"):
        read_report(tmp_path)


def test_the_results_of_something_else_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("another study", encoding="utf-8")
    with pytest.raises(UserError, match=r"README\.md without explanation\.json"):
        write_report(two(), tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "another study"


@pytest.mark.parametrize("design", ["both_ends", "factorial", "grid"])
def test_no_number_is_told_that_is_not_there(design: str) -> None:
    words = re.findall(r"\w+", readme(report(record(4, design))))
    assert not {"nan", "None", "inf"} & set(words)


def test_an_explanation_of_a_config_with_an_odd_path_is_drawn(tmp_path: Path) -> None:
    found = report()
    record = dataclasses.replace(
        found.explanation, pipeline="$a$ $\\b{\n|.config", data="$x$ <img>", study="# $z$"
    )
    written = write_report(dataclasses.replace(found, explanation=record), tmp_path / "one")
    names = {path.name for path in written}
    assert {"waterfall.png", "waterfall.svg", "interactions.svg"} <= names
    readme = (tmp_path / "one" / "README.md").read_text()
    assert readme.startswith("# \\# \\$z\\$\n")
    assert "\n|.config" not in readme


@pytest.fixture
def broken_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr("odapi_repro.page.plot_style.encode", refuse)


@pytest.mark.usefixtures("broken_figures")
def test_figures_that_fail_leave_what_can_be_read_back(tmp_path: Path) -> None:
    write_report(report(), tmp_path / "one")
    assert set(contents(tmp_path / "one")) == {
        *("README.md", "trials.csv", "effects.csv", "explanation.json"),
    }
    assert "waterfall could not be drawn" in (tmp_path / "one" / "README.md").read_text()
    assert read_report(tmp_path / "one").explanation == report().explanation


def test_a_terminal_gets_the_names_of_a_record_as_text(tmp_path: Path) -> None:
    found = report()
    record = dataclasses.replace(
        found.explanation, pipeline="a\x1b[2J\nb.config", reference="c\x9b", data="d\u202e"
    )
    for ascii_only in (True, False):
        page = explanation_page(dataclasses.replace(found, explanation=record))
        told = terminal_page(page, Terminal(ascii_only=ascii_only))
        assert not {"\x1b", "\x9b", "\u202e"} & set(told)
    found = dataclasses.replace(found, explanation=record)
    assert not {"\x1b", "\x9b", "\u202e"} & set(readme(found))
