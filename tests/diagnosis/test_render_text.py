"""The text for a terminal: the verdict first, within 100 columns, nothing a terminal would obey."""

from __future__ import annotations

import pytest
from fake_diagnosis import ALL, CONFIG, diagnosis, finding, text_of

from odapi_repro.diagnosis.finding import FieldFix, Severity
from odapi_repro.diagnosis.render.diagnosis_wording import (
    fix_text,
    shortened,
    value_text,
    verdict,
)


def test_the_first_line_is_the_verdict_with_what_costs_and_how_much() -> None:
    first = " ".join(text_of(diagnosis(*ALL)).split("\n\n")[0].split())
    assert first == (
        "2 problems: reads 1 of 100 training shards, about 1,183 images (critical), "
        "8 times the linear rule (warning)"
    )


def test_a_verdict_names_three_and_counts_the_rest() -> None:
    told = diagnosis(*(finding(found=f"finding {i}") for i in range(5)))
    assert verdict(told) == (
        "5 problems: finding 0 (critical), finding 1 (critical), finding 2 (critical), 2 more"
    )


def test_a_verdict_says_when_something_stops_the_training() -> None:
    told = diagnosis(finding(severity=Severity.FATAL, found="no model"))
    assert verdict(told) == "1 problem that stops the run or voids its numbers: no model (fatal)"


def test_a_verdict_of_what_stops_it_and_what_costs_says_both() -> None:
    told = diagnosis(finding(severity=Severity.FATAL, found="no model"), finding(found="batch 1"))
    assert (
        verdict(told)
        == "2 problems that stop the run or cost AP: no model (fatal), batch 1 (critical)"
    )


def test_a_verdict_of_a_config_that_is_well_says_so() -> None:
    assert verdict(diagnosis()) == "Nothing found that costs AP against efficientdet_d3"
    assert verdict(diagnosis(*ALL[2:])).endswith("; 1 for information, 1 without effect")


def test_a_long_clause_is_cut_in_the_verdict_and_whole_below_it() -> None:
    long = "the learning rate is eight times what the batch allows; " + "and so on " * 30
    text = text_of(diagnosis(finding(found=long)))
    assert text.split("\n\n")[0].endswith("what the batch allows (critical)")
    assert "and so on" in text


def test_a_list_at_the_beginning_of_a_clause_is_not_cut_after_its_first_item() -> None:
    told = diagnosis(
        finding(found="lines 50, 100, 150 and 9 more of the config cannot be parsed at all")
    )
    assert "lines 50, 100, 150 and 9 more of the config cannot ... (critical)" in verdict(told)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_lines_keep_within_the_terminal_but_for_single_words(width: int) -> None:
    told = diagnosis(*ALL, finding(found="x " * 300, fix=(FieldFix("a" * 120, "b"),)))
    for line in text_of(told, width=width).splitlines():
        assert len(line) <= width or len(line.split()) <= 2, "more than a label and one word"


def test_findings_that_cost_come_by_rank_with_all_their_parts() -> None:
    text = text_of(diagnosis(*ALL))
    parts = [
        "critical: FAK001 single_train_shard",
        "found     reads 1 of 100 training shards",
        "expected  all 100 shards",
        "evidence  -30.9 AP: 100% -> 1% of train2017 (https://example.org/paper)",
        'input_path: "train.record-?????-of-00100"',
        "where     my.config:",
        "warning: FAK002 lr_too_high_for_batch",
        "evidence  diverged for two people (a thread)",
        "fix       train_config.batch_size: 128",
        "remove train_config.num_steps",
        "1 for information, 1 without effect",
        "FAK003  reads 1 of 100 training shards",
        "FAK004  changed, without effect under model_main_tf2",
        "train_config.use_bfloat16,",
        "train_config.sync_replicas",
    ]
    findings = text[text.index(parts[0]) :]
    places = [findings.index(part) for part in parts]
    assert places == sorted(places)


def test_reported_numbers_stand_with_their_source_and_what_disputes_them() -> None:
    text = text_of(diagnosis())
    assert "reported  AP 45.4: TF2 detection zoo" in text
    assert "disputed " in text


def test_only_quantities_that_differ_or_always_matter_are_shown() -> None:
    changed = CONFIG.replace("batch_size: 128", "batch_size: 2")
    rows = text_of(diagnosis(text=changed)).splitlines()
    (batch,) = [row for row in rows if row.startswith("global_batch")]
    assert batch.split() == ["global_batch", "(images)", "2", "128"]
    assert any(row.startswith("lr_base") for row in rows)
    assert not any(row.startswith("momentum") for row in rows)


def test_colours_are_there_when_asked_for_only() -> None:
    assert "\x1b[31mcritical:\x1b[0m" in text_of(diagnosis(*ALL), coloured=True)
    assert "\x1b" not in text_of(diagnosis(*ALL))


def test_control_characters_of_a_config_do_not_reach_the_terminal() -> None:
    nasty = finding(found="path '\x1b]0;owned\x07\x9b2J'\r\n", fields=("a\x1b[2Jb",))
    text = text_of(diagnosis(nasty, nasty.at(Severity.INFO), nasty.at(Severity.INERT)))
    assert not set(text) & {"\x1b", "\x07", "\x9b", "\r"}
    assert "\\x1b]0;owned" in text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "-"),
        (1183, "1,183"),
        (38_400_000, "38,400,000"),
        (0.07999999821186066, "0.08"),
        (1014.37, "1,014"),
        (float("nan"), "nan"),
        (("a", "b"), "a, b"),
        ((), "none"),
        (True, "true"),
        ("cosine", "cosine"),
    ],
)
def test_values_read_as_a_person_writes_them(value: object, told: str) -> None:
    assert value_text(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("data/ckpt-0", 'a.b: "data/ckpt-0"'),
        ('C:\\x "y"', 'a.b: "C:\\\\x \\"y\\""'),
        ("V2", "a.b: V2"),
        ("{}", "a.b: {}"),
        (True, "a.b: true"),
        (0.00125, "a.b: 0.00125"),
        (["x", "y"], 'a.b: ["x", "y"]'),
        (None, "remove a.b"),
    ],
)
def test_a_fix_reads_as_the_text_proto_has_it(value: object, told: str) -> None:
    assert fix_text(FieldFix("a.b", value)) == told


def test_a_cut_is_made_at_a_word() -> None:
    assert shortened("one two three four", 14) == "one two ..."
    assert shortened("short", 10) == "short"
    assert len(shortened("x" * 50, 20)) <= 20
