"""The Markdown is fit for an issue: nothing of a config is taken for a mark, a mention or HTML."""

from __future__ import annotations

import re

from fake_diagnosis import ALL, PAPER, diagnosis, finding, markdown_of

from odapi_repro.diagnosis.finding import Evidence, Severity


def test_the_verdict_comes_first_and_findings_by_rank_with_their_parts() -> None:
    text = markdown_of(diagnosis(*ALL))
    title, verdict, *_ = text.split("\n\n")
    assert title == "# my.config"
    assert verdict.startswith("**2 problems: reads 1 of 100 training shards")
    assert re.findall(r"^\*\*(\w+):\*\* (\w+) `(\w+)`$", text, re.MULTILINE) == [
        ("Critical", "FAK001", "single_train_shard"),
        ("Warning", "FAK002", "lr_too_high_for_batch"),
    ]
    assert f"- evidence: -30.9 AP: 100% -> 1% of train2017 ({PAPER})" in text
    assert "- fix: `train_config.batch_size: 128`\n- fix: `remove train_config.num_steps`" in text


def test_what_costs_nothing_is_folded_away() -> None:
    text = markdown_of(diagnosis(*ALL))
    folded = text[text.index("<details>") : text.index("</details>")]
    assert "<summary>1 for information, 1 without effect</summary>" in folded
    assert "`train_config.sync_replicas`" in folded
    assert "<details>" not in markdown_of(diagnosis(ALL[0]))


def test_rows_of_a_table_have_the_cells_of_its_head() -> None:
    lines = markdown_of(diagnosis(*ALL)).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    heads = {i: len(re.findall(r"(?<!\\)\|", line)) for i, line in enumerate(rows)}
    assert len(rows) >= 6
    assert set(heads.values()) == {4}


def test_marks_mentions_and_html_are_defused() -> None:
    nasty = "<img src=x> *bold* `code` | @someone [a](b) under_score _it_\n# heading"
    text = markdown_of(diagnosis(finding(found=nasty, evidence=(Evidence(None, nasty),))))
    assert "\n# heading" not in text
    assert "@someone" not in text
    assert "<img" not in text.replace("\\<img", "")
    assert "under_score \\_it\\_" in text


def test_backticks_in_a_code_span_get_a_longer_fence() -> None:
    text = markdown_of(diagnosis(finding(cause="single_train_shard", where="a`b``c:1:1")))
    assert "```a`b``c:1:1```" in text


def test_inert_findings_alone_are_a_clean_verdict() -> None:
    verdict = markdown_of(diagnosis(ALL[0].at(Severity.INERT))).split("\n\n")[1]
    assert verdict == "**Nothing found that costs AP against efficientdet_d3; 1 without effect**"
