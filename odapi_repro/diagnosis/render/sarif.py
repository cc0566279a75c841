"""Diagnoses as SARIF 2.1.0 (OASIS), which code scanning services and editors show in the file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import odapi_repro
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.outcome import Diagnosis
from odapi_repro.diagnosis.render.as_json import as_json_value
from odapi_repro.diagnosis.render.rule_pages import page_markdown
from odapi_repro.diagnosis.rule import RuleBase

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {
    Severity.FATAL: "error",
    Severity.CRITICAL: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "note",
    Severity.INERT: "note",
}
_PLACE = re.compile(r"^(?P<file>.+):(?P<line>\d+):(?P<column>\d+)$")


def render_sarif(diagnoses: Sequence[Diagnosis], rules: Sequence[RuleBase]) -> str:
    """Gives one run with a result for each finding of all configs.

    Args:
        diagnoses: of the configs, in the order given.
        rules: all that could have fired; those that did are described.
    """
    fired = {finding.code for diagnosis in diagnoses for finding in diagnosis.findings}
    described = [rule for rule in rules if rule.code in fired]
    indices = {rule.code: index for index, rule in enumerate(described)}
    run = {
        "tool": {
            "driver": {
                "name": "odapi_repro",
                "semanticVersion": odapi_repro.__version__,
                "rules": [_rule(rule) for rule in described],
            }
        },
        "columnKind": "unicodeCodePoints",
        "artifacts": [{"location": _location(diagnosis.path)} for diagnosis in diagnoses],
        "results": [
            _result(rank, finding, diagnosis, indices)
            for diagnosis in diagnoses
            for rank, finding in enumerate(diagnosis.findings, start=1)
        ],
    }
    content = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _rule(rule: RuleBase) -> dict[str, Any]:
    page = rule.page()
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": page.splitlines()[0]},
        "help": {"text": page, "markdown": page_markdown(rule)},
        "properties": {"causes": list(rule.causes)},
    }


def _result(
    rank: int, finding: Finding, diagnosis: Diagnosis, indices: dict[str, int]
) -> dict[str, Any]:
    text = f"{finding.found}. Expected: {finding.expected}. {finding.why}"
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [{"physicalLocation": _physical(finding.where, diagnosis.path)}],
        "properties": {
            "cause": finding.cause,
            "severity": finding.severity.word,
            "rank_in_file": rank,
            "fields": list(finding.fields),
            "evidence": [
                {"effect_ap": as_json_value(one.effect_ap), "source": one.source}
                for one in finding.evidence
            ],
        },
    }
    if finding.code in indices:
        result["ruleIndex"] = indices[finding.code]
    if finding.count > 1:
        result["occurrenceCount"] = finding.count
    if finding.examples:
        result["properties"]["examples"] = list(finding.examples)
    return result


def _physical(where: str, path: str) -> dict[str, Any]:
    """Gives the place of a finding; the first line where only the file is known."""
    match = _PLACE.match(where)
    region = {"startLine": 1}
    if match is not None:
        path = match["file"]
        region = {"startLine": max(1, int(match["line"])), "startColumn": int(match["column"])}
    return {"artifactLocation": _location(path), "region": region}


def _location(path: str) -> dict[str, str]:
    """Gives a URI: relative to where the command is run, or of the file for an absolute path."""
    # As bytes, because a path of bytes that are no UTF-8 is no text; a colon in the first step of a
    # relative reference would read as a scheme, so it is quoted.
    if os.path.isabs(path):
        return {"uri": "file://" + quote(os.fsencode(path.replace(os.sep, "/")))}
    return {"uri": quote(os.fsencode(os.path.normpath(path).replace(os.sep, "/")))}
