"""`diagnose --format json` holds the contract: schema 1, ranked, no number that JSON lacks."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from fake_diagnosis import ALL, INPUT_PATH, diagnosis, finding
from hypothesis import given
from hypothesis import strategies as st

from odapi_repro.diagnosis.finding import Evidence, FieldFix
from odapi_repro.diagnosis.render.diagnosis_json import as_json_value, render_json
from odapi_repro.pipeline import quantity_definitions


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def check_contract(told: dict[str, Any]) -> None:
    """Asserts the shape that other programs rely on."""
    assert told["schema"] == 1
    assert isinstance(told["pipeline"], str)
    assert isinstance(told["reference"], str)
    for number in told["reported"]:
        assert {"metric", "value", "source", "protocol"} <= number.keys()
        assert isinstance(number["value"], (int, float))
    for quantity in told["quantities"].values():
        assert quantity.keys() == {"pipeline", "reference", "unit"}
        assert isinstance(quantity["unit"], str)
    for rank, found in enumerate(told["findings"], start=1):
        assert found["rank"] == rank
        assert found["severity"] in ("fatal", "critical", "warning", "info", "inert")
        for key in ("code", "cause", "found", "expected", "why"):
            assert isinstance(found[key], str)
            assert found[key]
        assert all(isinstance(field, str) for field in found["fields"])
        for evidence in found["evidence"]:
            assert isinstance(evidence["effect_ap"], (int, float, type(None)))
            assert isinstance(evidence["source"], str)
        for fix in found["fix"]:
            assert fix.keys() == {"field", "value"}
        assert found["count"] >= 1


def test_one_config_is_one_object_of_the_contract() -> None:
    told = strict(render_json([diagnosis(*ALL)]))
    check_contract(told)
    assert (told["pipeline"], told["reference"]) == ("my.config", "efficientdet_d3")
    assert told["reported"][0]["value"] == 45.4
    assert list(told["quantities"]) == list(quantity_definitions())
    assert [one["code"] for one in told["findings"]] == ["FAK001", "FAK002", "FAK003", "FAK004"]
    first = told["findings"][0]
    assert first["evidence"][0]["effect_ap"] == -30.9
    assert first["fix"] == [{"field": INPUT_PATH, "value": "train.record-?????-of-00100"}]
    assert first["where"].startswith("my.config:")


def test_several_configs_are_an_array_in_the_order_given() -> None:
    told = strict(render_json([diagnosis(path="a"), diagnosis(*ALL, path="b")]))
    assert [one["pipeline"] for one in told] == ["a", "b"]
    for one in told:
        check_contract(one)


def test_a_text_that_is_no_pipeline_keeps_the_contract() -> None:
    told = strict(render_json([diagnosis(finding(), text="}{ no pipeline")]))
    check_contract(told)
    assert told["quantities"] == {}


def test_floats_have_the_digits_that_the_protos_hold() -> None:
    told = strict(render_json([diagnosis()]))
    assert told["quantities"]["lr_base"]["reference"] == 0.08
    assert as_json_value(0.07999999821186066) == 0.08


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4)
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    mappings = st.dictionaries(st.text(), inner, max_size=2)
    return st.lists(inner, max_size=3) | st.tuples(inner) | mappings


@given(st.recursive(scalars, nested, max_leaves=8))
def test_any_value_becomes_strict_json(value: object) -> None:
    strict(json.dumps(as_json_value(value), allow_nan=False))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_null(number: float) -> None:
    odd = finding(evidence=(Evidence(number, "x"),), fix=(FieldFix("a", [number, 1.0]),))
    (told,) = strict(render_json([diagnosis(odd)]))["findings"]
    assert told["evidence"][0]["effect_ap"] is None
    assert told["fix"] == [{"field": "a", "value": [None, 1.0]}]


def test_the_value_of_a_field_to_remove_is_null() -> None:
    (told,) = strict(render_json([diagnosis(finding(fix=(FieldFix("a.b", None),)))]))["findings"]
    assert told["fix"] == [{"field": "a.b", "value": None}]
