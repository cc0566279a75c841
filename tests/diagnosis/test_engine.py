"""The engine ranks, infers the reference, gives every finding its place, and never raises."""

from __future__ import annotations

from fake_diagnosis import ALL, CONFIG, INPUT_PATH, FakeRule, diagnosis, finding
from hypothesis import given
from hypothesis import strategies as st

from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.outcome import QuantityPair, diagnose, rank, subject_of
from odapi_repro.pipeline import Circumstances
from odapi_repro.reference import reference_named

severities = st.sampled_from(Severity)


@given(st.lists(st.builds(finding, severity=severities, loss_ap=st.floats(0, 50)), max_size=8))
def test_findings_rank_by_severity_then_by_what_they_may_cost(findings: list) -> None:
    ranked = rank(findings)
    keys = [(one.severity, -one.loss_ap) for one in ranked]
    assert keys == sorted(keys)
    assert len(ranked) == len(findings)


def test_rank_does_not_depend_on_the_order_of_rules() -> None:
    assert rank(ALL) == rank(reversed(ALL))


def test_rules_about_pipelines_are_not_run_on_a_text_without_a_model() -> None:
    about_text = FakeRule(finding(code="FAK009"), needs_pipeline=False)
    subject = subject_of("train_config { batch_size: 2 }", "a.config")
    found = diagnose(subject, [FakeRule(finding()), about_text])
    assert [one.code for one in found] == ["FAK009"]


def test_the_reference_is_inferred_and_why_is_told_unless_it_is_named() -> None:
    inferred = diagnosis()
    assert inferred.reference is reference_named("efficientdet_d3")
    assert "ssd_efficientnet-b3_bifpn_keras" in inferred.reference_why


def test_a_finding_gets_the_place_of_its_telling_field() -> None:
    (found,) = diagnosis(finding()).findings
    path, line, _ = found.where.split(":")
    assert path == "my.config"
    assert "input_path" in CONFIG.splitlines()[int(line) - 1]


def test_a_place_that_the_rule_knows_is_kept() -> None:
    (found,) = diagnosis(finding(where="label_map.pbtxt:3:1")).findings
    assert found.where == "label_map.pbtxt:3:1"


def test_quantities_stand_beside_the_references_and_follow_the_circumstances() -> None:
    told = diagnosis(circumstances=Circumstances(num_train_steps=1000, train_images=500))
    pairs = {pair.name: pair for pair in told.quantities}
    assert (pairs["num_steps"].pipeline, pairs["num_steps"].reference) == (1000, 300_000)
    assert pairs["epochs"].pipeline == 1000 * 128 / 500
    assert pairs["lr_base"].differs is False


def test_a_text_without_a_model_has_no_quantities() -> None:
    assert diagnosis(text="nonsense {").quantities == ()


def test_quantities_differ_by_more_than_float32_rounds() -> None:
    assert not QuantityPair("lr_base", "1", 0.08, 0.07999999821186066).differs
    assert not QuantityPair("lr_base", "1", float("nan"), float("nan")).differs
    assert QuantityPair("lr_base", "1", float("nan"), 0.08).differs
    assert QuantityPair("epochs", "epochs", None, 300.0).differs


def test_a_diagnosis_is_cut_down_to_rules_and_severities() -> None:
    told = diagnosis(*ALL)
    assert [one.code for one in told.only(["FAK002"]).findings] == ["FAK002"]
    assert len(told.at_or_above(Severity.WARNING)) == 2
    assert [one.code for one in told.of_severity(Severity.INERT)] == ["FAK004"]
    assert told.findings[0].fields == (INPUT_PATH,)
