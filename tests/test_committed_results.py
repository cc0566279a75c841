"""The committed pages of results say first what the rules say of the tables beside them."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from odapi_repro.analysis.level_effects import Contrast, ImageEffect
from odapi_repro.features.ablate.study_page import study_headline
from odapi_repro.features.explain.report.effect_wording import headline as explanation_headline
from odapi_repro.features.explain.report.explanation_results import read_report
from odapi_repro.features.sweep.sweep_page import sweep_headline
from odapi_repro.page.blocks import Headline, Page
from odapi_repro.page.markdown_page import markdown_page

ROOT = Path(__file__).parents[1]

FOLDERS = sorted(path.parent for path in ROOT.glob("results/*/README.md"))

MASK_RECALL = ROOT / "results" / "mask_rcnn-mask_recall-proxy"


def effects(path: Path, kind: type) -> list[Any]:
    """The rows of an effects.csv as what they were written from."""
    columns = {"from": str, "to": str, "held": str}
    table = pd.read_csv(path, dtype=columns, keep_default_na=False, na_values=[""])
    table = table.rename(columns={"from": "from_level", "to": "to_level"})
    if "held" in table:
        table["held"] = table["held"].fillna("")
    names = [field.name for field in dataclasses.fields(kind)]
    return [kind(**{name: row[name] for name in names}) for row in table.to_dict("records")]


def columns_of(folder: Path) -> list[str]:
    with (folder / "effects.csv").open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def expected(folder: Path) -> str | None:
    """The headline that follows from the committed tables; None where there is no rule for it."""
    if (folder / "explanation.json").exists():
        return explanation_headline(read_report(folder))
    if not (folder / "effects.csv").exists() or folder == MASK_RECALL:
        return None
    if "estimand" in columns_of(folder):
        scale = "proxy" if folder.name.endswith("-proxy") else "full"
        return study_headline(effects(folder / "effects.csv", Contrast), scale=scale)
    return sweep_headline(effects(folder / "effects.csv", ImageEffect))


def test_there_are_pages_of_each_kind() -> None:
    kinds = [expected(folder) is not None for folder in FOLDERS]
    assert sum(kinds) >= 9
    assert len(FOLDERS) >= 13


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_page_begins_with_what_its_tables_allow(folder: Path) -> None:
    told = expected(folder)
    if told is None:
        pytest.skip("written by hand, or not of effects")
    first = next(
        line for line in (folder / "README.md").read_text("utf-8").splitlines()[1:] if line
    )
    sentence = markdown_page(Page("x", (Headline(told),))).split("**")[1]
    assert first in (f"**{sentence}**", f"**{sentence[:1].upper()}{sentence[1:]}**")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_page_gives_a_run_in_per_cent(folder: Path) -> None:
    text = (folder / "README.md").read_text("utf-8")
    assert not re.search(r"\b100 ?% of the runs|diverged in \d+ ?%|\(0% and 100% diverged", text)


def mask_effects() -> dict[tuple[str, str], Any]:
    rows = effects(MASK_RECALL / "effects.csv", ImageEffect)
    return {(one.factor, one.to_level): one for one in rows if one.metric == "mask_AR100"}


def test_what_the_page_of_mask_recall_calls_a_loss_is_one() -> None:
    page = (MASK_RECALL / "README.md").read_text("utf-8")
    found = mask_effects()
    head = " ".join(page[: page.index("Pipeline `")].split())
    said = {
        ("score_threshold", "0.5"): "-17.2",
        ("score_threshold", "0.3"): "-11.2",
        ("crop_size", "4"): "-9.5",
        ("proposals", "8"): "-7.1",
        ("detections_per_image", "5"): "-6.7",
        ("mask_size", "7"): "-5.1",
        ("nms_iou", "0.3"): "-4.8",
    }
    for key, size in said.items():
        assert found[key].verdict == "loss"
        assert f"{found[key].delta:.1f}" == size
        assert size in head
    by_factor: dict[str, float] = {}
    for (factor, _), one in found.items():
        by_factor[factor] = min(by_factor.get(factor, 0.0), one.delta)
    worst = sorted(by_factor.values())
    assert [f"{value:.1f}" for value in worst[:3]] == ["-17.2", "-9.5", "-7.1"]
    assert f"{len(found)} settings" in head


def test_what_the_page_of_mask_recall_leaves_open_is_open() -> None:
    page = (MASK_RECALL / "README.md").read_text("utf-8")
    found = mask_effects()
    assert found[("mask_size", "30")].verdict == "unresolved"
    assert (found[("mask_size", "60")].verdict, f"{found[('mask_size', '60')].delta:.1f}") == (
        "loss",
        "-0.9",
    )
    assert found[("detections_per_image", "60")].verdict == "unresolved"
    assert found[("detections_per_image", "300")].verdict == "equivalent"
    assert "30x30 is not resolved (-0.3), 60x60 costs 0.9 points" in page
    for factor, told in (("proposals", "-7.1 to +5.0"), ("rpn_nms_iou", "-4.0 to +3.5")):
        deltas = [one.delta for (name, _), one in found.items() if name == factor]
        assert f"{min(deltas):.1f} to +{max(deltas):.1f}" == told
        assert told in page
    with (MASK_RECALL / "rois_per_image.csv").open(encoding="utf-8", newline="") as file:
        seeds = [row["seed"] for row in csv.DictReader(file)]
    assert seeds == ["1"] * 3
    assert "one run each, which resolves nothing" in page
    for gone in ("matter least", "costs nothing", "up to 8 points", "RoIs per image costs"):
        assert gone not in page


def test_recall_and_ap_go_apart_as_the_page_of_mask_recall_says() -> None:
    rows = effects(MASK_RECALL / "effects.csv", ImageEffect)
    found = {(one.factor, one.to_level, one.metric): one.verdict for one in rows}
    for level in ("0.3", "0.4", "0.5"):
        assert found["nms_iou", level, "mask_AR100"] == "loss"
        assert found["nms_iou", level, "AP"] == "gain"
    for level in ("0.7", "0.8", "0.9"):
        assert found["nms_iou", level, "mask_AR100"] == "gain"
        assert found["nms_iou", level, "AP"] == "loss"
    for level, ap in (("64", "unresolved"), ("128", "loss"), ("300", "loss")):
        assert found["proposals", level, "mask_AR100"] == "gain"
        assert found["proposals", level, "AP"] == ap


def _numbers(line: str) -> tuple[float, ...]:
    return tuple(map(float, re.findall(r"[+-]?\d+\.\d+", line)))


@pytest.mark.parametrize(
    ("page", "studies"),
    [
        ("docs/post_hoc.md", ("effdet_d3-post_hoc-proxy", "mask_rcnn-mask_recall-proxy")),
        ("docs/mask_recall.md", ("mask_rcnn-mask_recall-proxy",)),
    ],
)
def test_docs_repeat_the_intervals_and_stages_of_the_committed_page(
    page: str, studies: tuple[str, ...]
) -> None:
    tables = [(ROOT / "results" / study / "README.md").read_text("utf-8") for study in studies]
    committed = re.sub(r"[|`]", " ", "\n".join(tables))
    known = {_numbers(line) for line in committed.splitlines()}
    rows = [
        _numbers(re.sub(r"\([\d.]+\)", "", line))
        for line in (ROOT / page).read_text("utf-8").splitlines()
        if re.search(r"\| (loss|gain|equivalent|unresolved) \|$", line)
        or re.match(r"  \w+ +.*(\d+\.\d +){4}", line)
    ]
    assert len(rows) >= 10
    for row in rows:
        assert any(set(row) <= set(one) for one in known), row
