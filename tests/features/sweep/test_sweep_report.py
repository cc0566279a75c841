"""The folder of a sweep without training, as a reader meets it."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from odapi_repro.analysis.level_effects import ImageEffect, judge_image_effects
from odapi_repro.factors.axes import Axis
from odapi_repro.features.sweep.sweep_page import (
    levels_table,
    sweep_headline,
    sweep_page,
    sweep_results,
)
from odapi_repro.features.sweep.sweep_record import SweepRecord
from odapi_repro.features.sweep.sweep_report import CheckpointLine, ForwardPass, PostHocReport
from odapi_repro.page.blocks import code
from odapi_repro.page.markdown_page import markdown_page
from odapi_repro.page.terminal_page import print_page

AXES = (
    Axis("nms_iou", "0.5", ("0.5", "0.3", "0.7")),
    Axis("flip_testing", "off", ("off", "union")),
)


def row(nms_iou: str, flip_testing: str, ap: float, **more: Any) -> dict[str, Any]:
    return {
        "trial_id": f"{nms_iou}-{flip_testing}",
        "study": "mine",
        "pipeline": "effdet_d3",
        "scale": "proxy",
        "seed": 1,
        "status": "succeeded",
        "nms_iou": nms_iou,
        "flip_testing": flip_testing,
        "AP": ap,
        "AP50": 2 * ap,
        "device": "cpu",
        "num_eval_images": 160,
        "num_detections": 1600,
        **more,
    }


def effect(factor: str, level: str, delta: float, se: float, metric: str = "AP") -> ImageEffect:
    origin = {axis.name: axis.reference_level for axis in AXES}[factor]
    low, high = delta - 1.96 * se, delta + 1.96 * se
    return ImageEffect(factor, origin, level, metric, delta, se, low, high, 160)


def make_report(**changes: Any) -> PostHocReport:
    rows = [
        row("0.5", "union", 21.5),
        row("0.7", "off", 20.1),
        row("0.5", "off", 20.0),
        row("0.3", "off", 18.0),
    ]
    effects = [
        effect("nms_iou", "0.3", -2.0, 0.4),
        effect("nms_iou", "0.7", 0.1, 0.6),
        effect("flip_testing", "union", 1.5, 0.3),
        effect("nms_iou", "0.3", -4.0, 0.4, "AP50"),
    ]
    report = PostHocReport(
        study="mine",
        command="python -m odapi_repro.run --ablate nms_iou,flip_testing --checkpoint runs/abc",
        pipeline="runs/abc/pipeline.config",
        scale="proxy",
        design="one_at_a_time",
        trials=pd.DataFrame(rows),
        axes=AXES,
        effects=tuple(judge_image_effects(effects, margin=0.5)),
        checkpoints=(CheckpointLine("runs/abc/ckpt-2", 220, "0123abcd"),),
        passes=(
            ForwardPass("plain-1", "as configured", 3, 72.3, True),
            ForwardPass("f", "flip", 1, 60.0, False),
        ),
        data="160 images of val",
        num_images=160,
        held=(f"{code('nms_iou')}: the rest is held.",),
    )
    return dataclasses.replace(report, **changes)


RECORD = SweepRecord({}, "a", {}, {}, {}, {}, {}, "one_at_a_time")


def write(report: PostHocReport, folder: Path) -> tuple[Path, ...]:
    return sweep_results(report, RECORD).write(folder)


def test_the_table_has_the_reference_first_and_each_factor_in_the_order_of_its_levels() -> None:
    table = levels_table(make_report())
    assert [line[:2] for line in table.rows] == [
        ("as configured", ""),
        ("nms_iou", "0.3"),
        ("nms_iou", "0.7"),
        ("flip_testing", "union"),
    ]
    column = dict(zip(table.header, table.rows[1], strict=True))
    assert column["AP"] == "18.0"
    assert column["difference"] == "-2.0"
    assert column["95 %"] == "-2.8 to -1.2"
    assert column["verdict"] == "loss"
    assert column["detections an image"] == "10.0"
    assert column["APs"] == "-"


def test_the_headline_names_the_largest_gain_and_the_largest_loss_that_were_resolved() -> None:
    assert sweep_headline(make_report().effects) == (
        "flip_testing union instead of off gains 1.5 AP [95 % interval for all 3 contrasts together"
        " +0.8 to +2.2, 160 images]; nms_iou 0.3 instead of 0.5 costs 2.0 AP [95 % interval for all"
        " 3 contrasts together -3.0 to -1.0, 160 images]"
        " (the largest resolved of 3 contrasts, chosen on the images that score them: 1 gain,"
        " 1 loss, 1 unresolved)."
    )
    unclear = judge_image_effects([effect("nms_iou", "0.7", 0.1, 0.6)], margin=0.5)
    assert sweep_headline(unclear) == (
        "nms_iou 0.7 instead of 0.5 is not resolved: AP changes by +0.1 [95 % interval -1.1 to"
        " +1.3, 160 images] (1 contrast: 1 unresolved)."
    )
    assert "Nothing to compare yet" in sweep_headline(())


def test_the_readme_says_what_a_reader_must_know() -> None:
    text = markdown_page(sweep_page(make_report()), ["effects.png"])
    for part in (
        "python -m odapi_repro.run --ablate nms_iou,flip_testing --checkpoint runs/abc",
        "paired bootstrap over the images",
        "`n` in [effects.csv](effects.csv) is the number of images",
        "not the noise between trainings",
        "`nms_iou`: the rest is held.",
        "Checkpoint 1: `runs/abc/ckpt-2`, step 220, digest 0123abcd.",
        "| as configured | 3 | 72 |",
        "Forward passes: 2, 2 min 12 s in all; the last command ran 1 of them.",
        "how large an effect is on COCO",
        "Do not conclude that an `unresolved` level has no effect.",
        "effects.png",
    ):
        assert part in text
    assert "how large an effect is on COCO" not in markdown_page(
        sweep_page(make_report(scale="full"))
    )


def test_masks_have_columns_of_their_own_only_where_they_were_measured() -> None:
    assert "mask AP" not in levels_table(make_report()).header
    rows = make_report().trials.assign(mask_AP=[1.0, 2.0, 3.0, math.nan], mask_AR100=5.0)
    table = levels_table(make_report(trials=rows))
    assert "mask AP" in table.header
    by_level = {line[:2]: dict(zip(table.header, line, strict=True)) for line in table.rows}
    assert by_level["nms_iou", "0.3"]["mask AP"] == "-"
    assert by_level["as configured", ""]["mask AP"] == "3.0"


def test_a_grid_has_a_row_a_cell() -> None:
    rows = pd.concat([make_report().trials, pd.DataFrame([row("0.3", "union", 19.0)])])
    report = make_report(trials=rows, design="grid")
    table = levels_table(report)
    assert table.header[:2] == ("nms_iou", "flip_testing")
    assert len(table.rows) == 5
    assert "where one factor alone is off the reference" in markdown_page(sweep_page(report))


def test_the_folder_holds_tables_that_read_back_and_a_plot(tmp_path: Path) -> None:
    written = write(make_report(), tmp_path / "mine")
    assert {path.name for path in written} == {
        *("sweep.json", "trials.csv", "effects.csv", "effects.png", "effects.svg", "README.md"),
    }
    effects = pd.read_csv(tmp_path / "mine" / "effects.csv")
    assert list(effects.columns[:10]) == [
        *("factor", "from", "to", "metric", "delta", "se", "low", "high", "n", "verdict"),
    ]
    assert set(effects["n"]) == {160}
    trials = pd.read_csv(tmp_path / "mine" / "trials.csv")
    assert list(trials.columns[:8]) == [
        *("trial_id", "study", "pipeline", "scale", "seed", "status", "nms_iou", "flip_testing"),
    ]
    before = {path: path.read_bytes() for path in written}
    write(make_report(), tmp_path / "mine")
    assert {path: path.read_bytes() for path in written} == before


def test_without_an_effect_there_is_no_plot(tmp_path: Path) -> None:
    written = write(make_report(effects=()), tmp_path / "mine")
    assert {path.name for path in written} == {
        "sweep.json",
        "trials.csv",
        "effects.csv",
        "README.md",
    }


def test_what_is_printed_is_ascii_unless_the_stream_takes_more() -> None:
    stream = io.StringIO()
    print_page(sweep_page(make_report()), stream)
    assert stream.getvalue().isascii()
    assert "flip_testing" in stream.getvalue()


def test_a_cell_that_appears_twice_is_refused() -> None:
    rows = pd.concat([make_report().trials, make_report().trials.assign(trial_id=list("abcd"))])
    with pytest.raises(ValueError, match="twice"):
        make_report(trials=rows)


@pytest.fixture
def broken_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr("odapi_repro.page.plot_style.encode", refuse)


@pytest.mark.usefixtures("broken_figures")
def test_a_plot_that_fails_leaves_the_tables(tmp_path: Path) -> None:
    write(make_report(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("README.md", "effects.csv", "sweep.json", "trials.csv")
    ]
    assert "effects could not be drawn" in (tmp_path / "README.md").read_text()


def test_levels_and_names_from_outside_are_text(tmp_path: Path) -> None:
    made = make_report(study="# $x$", pipeline="a`b\n|c", data="<img> two\nlines")
    write(made, tmp_path)
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("# \\# \\$x\\$\n")
    assert "``a`b\\n\\|c``" in readme
    assert "\\<img> two\\\\nlines" in readme
    stream = io.StringIO()
    print_page(sweep_page(made), stream)
    assert "\nlines" not in stream.getvalue()
