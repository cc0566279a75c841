"""A diagnosis for programs: `diagnose --format json`, schema 1."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.outcome import Diagnosis
from odapi_repro.diagnosis.render.run_summary import run_json
from odapi_repro.diagnosis.render.wording import verdict

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
        from odapi_repro.diagnosis.render.data_summary import data_json

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
