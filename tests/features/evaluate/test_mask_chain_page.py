"""The chain of recall on the page: its tables sum up, and its sentences name the right stage."""

from __future__ import annotations

import dataclasses

import pytest
from chain_scenes import FAR, OBJECT, SETTINGS, Scene, chain_of, filled

from odapi_repro.evaluation.mask_chain.recall_chain import ChainReport
from odapi_repro.factors import FACTORS, POST_HOC_FACTORS
from odapi_repro.features.evaluate.evaluation_plots import render_chain
from odapi_repro.features.evaluate.evaluation_tables import (
    chain_findings,
    chain_rows,
    chain_section,
    chain_table,
    proposal_table,
)
from odapi_repro.page.blocks import Page
from odapi_repro.page.markdown_page import markdown_page
from odapi_repro.page.terminal_page import terminal_page

MASKS = dataclasses.replace(SETTINGS, mask_size=(15, 15))


def page_of(report: ChainReport) -> Page:
    return Page("x", (chain_section(report, figure="recall_chain.png"),))


def written(report: ChainReport, *files: str) -> str:
    return markdown_page(page_of(report), files)


STAGES = [
    *("anchor", "rpn_nms", "proposal", "refined_box", "score", "class", "nms", "detection"),
    *("own_detection", "mask_grid", "mask_box", "mask"),
]


@pytest.fixture(scope="module")
def report() -> ChainReport:
    """Four objects: two found, one without a proposal, one whose mask is a quarter of it."""
    well = {"masks": [filled(OBJECT)], "detection_masks": [filled(OBJECT)]}
    bad = {**well, "detection_masks": [filled((40, 40, 20, 80))]}
    nowhere = {
        "rpn": ((FAR, 0.5),),
        "proposals": ((FAR, 0.5),),
        "candidates": (),
        "detections": (),
    }
    return chain_of(
        Scene(**well), Scene(**well), Scene(**bad), Scene(**nowhere, **well), settings=MASKS
    )


def test_a_column_of_the_table_sums_to_a_hundred(report: ChainReport) -> None:
    table = chain_table(report)
    assert [row[0] for row in table.rows] == [*STAGES, "found"]
    for column in range(2, len(table.header)):
        cells = [row[column] for row in table.rows]
        if cells[0] == "-":
            assert set(cells) == {"-"}
        else:
            assert sum(map(float, cells)) == pytest.approx(100.0, abs=0.5)
    shown = {row[0]: row[2] for row in table.rows}
    assert (shown["anchor"], shown["mask"], shown["found"]) == ("25.0", "25.0", "50.0")


def test_a_factor_that_takes_a_training_is_marked(report: ChainReport) -> None:
    factors = {row[0]: row[1] for row in chain_table(report).rows}
    assert factors["anchor"] == "anchors *"
    assert factors["proposal"] == "proposals"
    assert factors["mask_grid"] == "mask_size"


def test_the_section_says_why_and_by_what(report: ChainReport) -> None:
    section = written(report, "recall_chain.png")
    assert section.startswith("# x\n\n## Where 4 objects are lost\n\n![")
    assert "(recall_chain.png)" in section
    assert "| detection | its boxes came after the last detection kept | detections_per_" in section
    assert "![" not in written(report)


def test_the_terminal_gets_the_same_numbers_and_no_line_is_too_long(report: ChainReport) -> None:
    text = terminal_page(page_of(report))
    assert text.startswith("Where 4 objects are lost")
    assert max(map(len, text.splitlines())) <= 100
    assert text.isascii()


def test_the_findings_name_the_stage_and_its_factor(report: ChainReport) -> None:
    told = " ".join(chain_findings(report))
    assert told.startswith("Found: 50.0 % of the objects on average")
    assert "at anchor (25.0 %" in told
    assert "; anchors of the config sets it, for which run --ablate has no factor." in told
    assert "0.0 % are lost on average where a setting" in told
    assert "grid of 15x15" in told


def test_without_masks_nothing_is_said_of_them() -> None:
    report = chain_of(Scene())
    assert "mask" not in written(report)
    assert "Most are lost" not in " ".join(chain_findings(report))


def test_without_objects_the_findings_say_so() -> None:
    report = chain_of(Scene(objects=()))
    assert chain_findings(report) == ["There is no object to find."]
    assert {row[2] for row in chain_table(report).rows} == {"-"}
    assert render_chain(report).render()["recall_chain.png"].startswith(b"\x89PNG")


def test_proposals_are_counted_from_few_to_all(report: ChainReport) -> None:
    assert [row[0] for row in proposal_table(report).rows] == ["1", "2"]


def test_the_tidy_table_holds_every_share_once(report: ChainReport) -> None:
    rows = chain_rows(report)
    assert len(rows) == (len(STAGES) + 1) * 4 * 11
    assert not rows.duplicated(["stage", "size", "threshold"]).any()
    everything = rows[(rows["size"] == "all") & (rows["threshold"] == 0.5)]
    assert everything["share"].sum() == pytest.approx(100.0)
    assert rows[rows["size"] == "small"]["share"].isna().all()


def test_the_picture_is_the_same_for_the_same_report(report: ChainReport) -> None:
    first, second = render_chain(report).render(), render_chain(report).render()
    assert sorted(first) == ["recall_chain.png", "recall_chain.svg"]
    assert first == second
    for stage in STAGES:
        assert f">{stage}<".encode() in first["recall_chain.svg"]


def test_what_is_no_factor_of_run_is_not_called_one_until_it_is(
    report: ChainReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = chain_rows(report)
    factors = set(rows["factor"]) - {""}
    assert "proposals" in factors
    assert factors <= {*FACTORS, *POST_HOC_FACTORS}
    anchor = rows[rows["stage"] == "anchor"]
    assert (set(anchor["set_by"]), set(anchor["factor"])) == ({"anchors"}, {""})
    assert "no factor for anchors, image_size" in written(report)
    monkeypatch.setitem(FACTORS, "anchors", FACTORS["batch_size"])
    assert "its factor is anchors" in " ".join(chain_findings(report))
    assert "no factor for image_size" in written(report)
