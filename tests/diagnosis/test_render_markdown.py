"""The Markdown is fit for an issue: nothing of a config is taken for a mark, a mention or HTML."""

from __future__ import annotations

import re

from fake_diagnosis import ALL, PAPER, diagnosis, finding

from odapi_repro.diagnosis.finding import Evidence, Severity
from odapi_repro.diagnosis.render.markdown import escaped, render_markdown


def test_the_verdict_is_the_heading_and_findings_are_a_numbered_list() -> None:
    text = render_markdown(diagnosis(*ALL))
    assert text.startswith("### 2 findings that cost: reads 1 of 100 training shards")
    assert re.findall(r"^(\d+)\. \*\*(\w+)\*\*", text, re.MULTILINE) == [
        ("1", "critical"),
        ("2", "warning"),
    ]
    assert f"- evidence: -30.9 AP: 100% -> 1% of train2017 ({PAPER})" in text
    assert "`train_config.batch_size: 128`" in text


def test_what_costs_nothing_is_folded_away() -> None:
    text = render_markdown(diagnosis(*ALL))
    folded = text[text.index("<details>") : text.index("</details>")]
    assert "<summary>1 for information, 1 without effect</summary>" in folded
    assert "`train_config.sync_replicas`" in folded
    assert "<details>" not in render_markdown(diagnosis(ALL[0]))


def test_rows_of_a_table_have_the_cells_of_its_head() -> None:
    lines = render_markdown(diagnosis(*ALL)).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    heads = {i: len(re.findall(r"(?<!\\)\|", line)) for i, line in enumerate(rows)}
    assert len(rows) > 8
    assert set(heads.values()) == {5}


def test_marks_mentions_and_html_are_defused() -> None:
    nasty = "<img src=x> *bold* `code` | @someone [a](b) under_score _it_\n# heading"
    told = escaped(nasty)
    assert "@someone" not in told
    assert "<img" not in told.replace("\\<img", "")
    assert "\n" not in told
    assert "under_score \\_it\\_" in told
    text = render_markdown(diagnosis(finding(found=nasty, evidence=(Evidence(None, nasty),))))
    assert "\n# heading" not in text
    assert "@someone" not in text


def test_backticks_in_a_code_span_get_a_longer_fence() -> None:
    text = render_markdown(diagnosis(finding(cause="single_train_shard", where="a`b``c:1:1")))
    assert "```a`b``c:1:1```" in text


def test_inert_findings_alone_are_a_clean_verdict() -> None:
    first = render_markdown(diagnosis(ALL[0].at(Severity.INERT))).splitlines()[0]
    assert first == "### Nothing found that costs AP against efficientdet_d3; 1 without effect"
