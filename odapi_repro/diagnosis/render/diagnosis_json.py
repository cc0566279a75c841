"""A diagnosis for programs: JSON and SARIF."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import odapi_repro
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.outcome import Diagnosis
from odapi_repro.diagnosis.render.diagnosis_wording import verdict
from odapi_repro.diagnosis.render.rule_pages import page_markdown
from odapi_repro.diagnosis.render.summaries import run_json
from odapi_repro.diagnosis.rule import RuleBase

# --- A diagnosis for programs: `diagnose --format json`, schema 1 ---


SCHEMA = 1


def render_json(diagnoses: Sequence[Diagnosis]) -> str:
    """Gives one object for one config, and an array in the order given for several."""
    values = [diagnosis_json(diagnosis) for diagnosis in diagnoses]
    content = values[0] if len(values) == 1 else values
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def diagnosis_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Gives the diagnosis of one config as JSON values.

    No number is NaN or infinite: such a one is null. Floats have 7 significant digits, as many as
    the protos' float32 hold.
    """
    reference = diagnosis.reference
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "pipeline": _pipeline(diagnosis),
        "reference": reference.name if reference else None,
        "reference_inferred": diagnosis.reference_why or None,
        "verdict": verdict(diagnosis),
        "reported": [
            {
                "metric": number.metric,
                "value": number.value,
                "source": number.source,
                "protocol": number.protocol,
            }
            for number in (reference.reported if reference else ())
        ],
        "disputes": [
            {"what": dispute.what, "source": dispute.source}
            for dispute in (reference.disputes if reference else ())
        ],
        "quantities": {
            pair.name: {
                "pipeline": as_json_value(pair.pipeline),
                "reference": as_json_value(pair.reference),
                "unit": pair.unit,
            }
            for pair in diagnosis.quantities
        },
        "findings": [
            _finding(rank, finding) for rank, finding in enumerate(diagnosis.findings, start=1)
        ],
    }
    if diagnosis.history is not None:
        content["run"] = as_json_value(run_json(diagnosis.history))
    if diagnosis.data is not None:
        from odapi_repro.diagnosis.render.summaries import data_json

        content["data"] = as_json_value(data_json(diagnosis.data))
    return content


def _pipeline(diagnosis: Diagnosis) -> str | None:
    if diagnosis.subject is not None:
        return diagnosis.path
    return diagnosis.data.pipeline or None if diagnosis.data else None


def _finding(rank: int, finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "cause": finding.cause,
        "severity": finding.severity.word,
        "rank": rank,
        "fields": list(finding.fields),
        "found": finding.found,
        "expected": finding.expected,
        "why": finding.why,
        "evidence": [
            {
                "effect_ap": as_json_value(one.effect_ap),
                "source": one.source,
                "comparison": one.comparison,
            }
            for one in finding.evidence
        ],
        "fix": [{"field": one.field, "value": as_json_value(one.value)} for one in finding.fix],
        "where": finding.where or None,
        "count": finding.count,
        "counted": finding.counted,
        "examples": list(finding.examples),
        "mend": finding.mend or None,
    }


def as_json_value(value: object) -> Any:
    """Gives a value that JSON has: NaN and infinities as None, floats to 7 significant digits."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): as_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json_value(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


# --- Diagnoses as SARIF 2.1.0 (OASIS), which code scanning services and editors show in the file
# ---


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
