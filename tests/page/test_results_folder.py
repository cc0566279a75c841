"""Numbers are on the disk before a figure is drawn, and no figure can lose them."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from fake_study import batch_rows, study
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.study_page import study_results
from odapi_repro.features.ablate.study_plots import ap_figure
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.page import blocks, canvas
from odapi_repro.page.blocks import Page
from odapi_repro.page.plot_style import drawing, encode, legible, plot_style
from odapi_repro.page.results_folder import Drawing, Results, drawn

ODD_NAMES = (
    *("$\\frac{$", "$a$ $b$", "a_b^c", "_under", "two\nlines", "a\x1b[31m", "", " "),
    *("L" * 5000, "人物 😀", "\u202eevil", "עברית", "e\u0301" * 300, "<img src=x>", "\ud800"),
)


def broken(error: Exception) -> Callable[[], dict[str, bytes]]:
    def render() -> dict[str, bytes]:
        raise error

    return render


PAGE = Page("page", tuple(blocks.Figure(f"{name}.png", name) for name in ("plot", "good", "bad")))


def write(folder: Path, *drawings: Drawing, told: list[str] | None = None) -> tuple[Path, ...]:
    results = Results(PAGE, {"trials.csv": b"a,b\n"}, lambda: drawings)
    return results.write(folder, tell=(told if told is not None else []).append)


def test_tables_and_readme_are_there_when_the_first_figure_is_drawn(tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def render() -> dict[str, bytes]:
        seen.append({path.name for path in tmp_path.iterdir()})
        return {"plot.png": b"png"}

    written = write(tmp_path, Drawing("plot", render))
    assert seen == [{"trials.csv", "README.md"}]
    assert [path.name for path in written] == ["trials.csv", "plot.png", "README.md"]
    assert "plot.png" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    "error", [ValueError("x\n\x1b[31m"), MemoryError(), RecursionError("deep"), UserError("no")]
)
def test_a_figure_that_fails_is_left_out_and_the_others_are_there(
    tmp_path: Path, error: Exception
) -> None:
    told: list[str] = []
    whole = Drawing("good", lambda: {"good.png": b"png"})
    write(tmp_path, Drawing("bad", broken(error)), whole, told=told)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("README.md", "good.png", "trials.csv")
    ]
    (line,) = told
    assert line.startswith(f"bad could not be drawn and is left out: {type(error).__name__}: ")
    assert "\n" not in line
    assert "\x1b" not in line
    readme = (tmp_path / "README.md").read_text()
    assert "good.png" in readme
    assert "## Figures that are left out\n\n- bad could not be drawn" in readme


def test_drawings_that_cannot_be_listed_lose_nothing(tmp_path: Path) -> None:
    def drawings() -> Iterator[Drawing]:
        yield Drawing("good", lambda: {"good.png": b"png"})
        raise ImportError("no matplotlib")

    told: list[str] = []
    Results(PAGE, {}, drawings).write(tmp_path, tell=told.append)
    assert (tmp_path / "good.png").exists()
    assert told == [
        "a figure could not be drawn and is left out: ImportError: no matplotlib",
    ]


def test_a_signal_while_a_figure_is_drawn_leaves_tables_and_readme(tmp_path: Path) -> None:
    def render() -> dict[str, bytes]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, Drawing("plot", render))
    assert (tmp_path / "trials.csv").exists()
    assert (tmp_path / "README.md").exists()


def test_figures_of_an_earlier_report_go_where_they_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"of an earlier one")
    drawings = [Drawing("bad", broken(ValueError("x")))]
    Results(PAGE, {}, lambda: drawings, earlier=("bad.png",)).write(tmp_path)
    assert not (tmp_path / "bad.png").exists()


def test_a_folder_that_cannot_be_made_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((UserError, EnvironmentMissing)):
        write(tmp_path / "file" / "results")


def odd_axis(*levels: str) -> Axis:
    return Axis("batch_size", levels[0], levels)


def odd_study(*levels: str, **changes: object) -> StudyReport:
    """A study with a trial a level, the first the reference."""
    rows = odd_rows(levels)
    curves = {row["trial_id"]: [(1, 10.0, 2.0), (2, 20.0, 1.0)] for row in rows}
    content = {"trials": pd.DataFrame(rows), "axes": (odd_axis(*levels),), "loss_curves": curves}
    return dataclasses.replace(study(), **(content | changes))  # type: ignore[arg-type]


def odd_rows(levels: tuple[str, ...]) -> list[dict]:
    rows = batch_rows(seeds=1)
    return [
        {**rows[i % len(rows)], "batch_size": level, "trial_id": f"t{i}", "seed": i}
        for i, level in enumerate(levels)
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:12])
def test_a_study_with_an_odd_name_and_level_is_drawn(tmp_path: Path, name: str) -> None:
    found = odd_study(name, "16", study=name, data=name, pipeline=name, command=name)
    written = {path.name for path in study_results(found).write(tmp_path)}
    assert written == {
        *("trials.csv", "effects.csv", "README.md", "loss_curves.png"),
        *("ap_by_batch_size.png", "ap_by_batch_size.svg"),
    }
    with Image.open(tmp_path / "ap_by_batch_size.png") as picture:
        assert picture.width < 3000


def test_names_are_drawn_as_they_are_and_not_as_mathematics() -> None:
    with plot_style():
        figure = ap_figure(odd_study("$x$", "16", study="$y$"), odd_axis("$x$", "16"))
        assert isinstance(figure, Figure)
        svg = encode(figure, "svg").decode()
    assert "$x$" in svg
    assert "$y$: AP by" in svg


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e308, 5e-324])
def test_values_that_no_axis_takes_lose_nothing(
    tmp_path: Path, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = {f"t{i}": [(1, 10.0, value), (2, value, 1.0)] for i in range(2)}
    found = odd_study("16", "2", loss_curves=curves)
    written = {path.name for path in study_results(found).write(tmp_path)}
    assert {"trials.csv", "effects.csv", "README.md"} <= written
    told = capsys.readouterr().err
    assert all("could not be drawn and is left out" in line for line in told.splitlines())


def test_a_name_in_a_legend_may_begin_with_an_underscore() -> None:
    with plot_style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = Figure()
        axes = figure.add_subplot()
        axes.plot([0], [0], label=legible("_background"))
        axes.legend()
        (text,) = axes.get_legend().get_texts()
    assert text.get_text() == " _background"


def test_a_long_name_keeps_its_ends() -> None:
    assert legible("a" * 50 + "b" * 50, 11) == "aaaaa…bbbbb"
    assert legible("short") == "short"


def test_a_drawing_without_a_figure_has_no_files_and_no_problem() -> None:
    assert drawn(drawing("nothing", lambda: None)) == ({}, "")


@pytest.mark.parametrize("is_tight", [False, True])
@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:12])
def test_a_picture_takes_any_name(name: str, is_tight: bool) -> None:
    picture = Image.new("RGB", (120, 80))
    label = ((10.0, 30.0, 60.0, 60.0), name, (255, 0, 0))
    canvas.Canvas(picture).labels([label], is_tight=is_tight)
    assert (255, 0, 0) in {colour for _, colour in picture.getcolors() or ()}
    short = canvas.fitted(name, 100, 12)
    assert "\n" not in short
    assert ImageDraw.Draw(picture).textlength(short, font=canvas.font(12)) <= 100


def test_a_table_that_holds_a_carriage_return_comes_back_row_by_row() -> None:
    from odapi_repro.page.study_tables import csv_bytes

    table = pd.DataFrame({"class": ["c\rd", "two\nlines", '"'], "AP": [1.5, 2.0, 3.0]})
    read = pd.read_csv(io.BytesIO(csv_bytes(table)))
    assert list(read["class"]) == list(table["class"])
    assert list(read["AP"]) == [1.5, 2.0, 3.0]
