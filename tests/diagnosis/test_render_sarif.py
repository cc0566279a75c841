"""SARIF 2.1.0: rules by index, levels, places; the structure that the standard asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_diagnosis import ALL, FakeRule, diagnosis, finding

from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.outcome import Diagnosis
from odapi_repro.diagnosis.render.diagnosis_json import render_sarif


def run_of(*diagnoses: Diagnosis) -> dict[str, Any]:
    told = json.loads(render_sarif(diagnoses, [FakeRule()]))
    assert told["version"] == "2.1.0"
    assert told["$schema"].endswith("sarif-2.1.0.json")
    (run,) = told["runs"]
    return dict(run)


def test_results_point_to_their_rules_and_lines() -> None:
    run = run_of(diagnosis(*ALL))
    driver = run["tool"]["driver"]
    assert driver["name"] == "odapi_repro"
    (rule,) = driver["rules"]
    assert rule["id"] == "FAK001"
    assert rule["shortDescription"]["text"] == "Reports what it was given."
    assert "**Anti-pattern**" in rule["help"]["markdown"]
    first = run["results"][0]
    assert driver["rules"][first["ruleIndex"]]["id"] == first["ruleId"]
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my.config"
    assert place["region"]["startLine"] > 1
    assert place["region"]["startColumn"] >= 1
    assert first["message"]["text"].startswith("reads 1 of 100 training shards")
    assert first["properties"]["severity"] == "critical"


def test_every_result_has_what_code_scanning_asks_for() -> None:
    placeless = diagnosis(finding(fields=("nowhere.at_all",)))
    for result in run_of(diagnosis(*ALL), placeless)["results"]:
        assert result["message"]["text"]
        assert result["level"] in ("error", "warning", "note")
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1


@pytest.mark.parametrize(
    ("severity", "level"),
    [
        (Severity.FATAL, "error"),
        (Severity.CRITICAL, "error"),
        (Severity.WARNING, "warning"),
        (Severity.INFO, "note"),
        (Severity.INERT, "note"),
    ],
)
def test_severities_have_levels(severity: Severity, level: str) -> None:
    (result,) = run_of(diagnosis(finding(severity=severity)))["results"]
    assert result["level"] == level


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("configs/my run.config", "configs/my%20run.config"),
        ("./a.config", "a.config"),
        ("/data/ä#1.config", "file:///data/%C3%A4%231.config"),
        ("x:1.config", "x%3A1.config"),
    ],
)
def test_paths_are_uris(path: str, uri: str) -> None:
    run = run_of(diagnosis(finding(), path=path))
    assert run["artifacts"] == [{"location": {"uri": uri}}]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == uri


def test_several_configs_are_artifacts_of_one_run() -> None:
    one, other = diagnosis(finding(), path="a.config"), diagnosis(finding(count=3), path="b.config")
    run = run_of(one, other)
    assert [one["location"]["uri"] for one in run["artifacts"]] == ["a.config", "b.config"]
    assert [one.get("occurrenceCount") for one in run["results"]] == [None, 3]


def test_a_finding_in_another_file_points_there() -> None:
    run = run_of(diagnosis(finding(where="data/label_map.pbtxt:7:3")))
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "data/label_map.pbtxt"},
        "region": {"startLine": 7, "startColumn": 3},
    }
