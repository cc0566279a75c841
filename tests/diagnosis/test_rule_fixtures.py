"""Every rule fires on its fixtures and keeps silent on the others.

A fixture file is `fixtures/<CODE>.yml`:

    rule: LR001
    fires:
      - title: batch 2 at the learning rate of batch 128
        reference: efficientdet_d3           # a reference's pipeline is the starting point
        set: {train_config.batch_size: 2}    # dotted paths; null clears a field
        circumstances: {train_images: 1000}  # num_train_steps, train_images, num_replicas
        files: {label_map.pbtxt: "item {...}"}  # written to a folder; `{dir}` in values names it
        text: "model { ssd {} }"             # instead of `set`: the text itself
        replace: {"from": "to"}              # or edits of the reference's text
        expect: {cause: lr_too_high_for_batch, severity: critical, count: 1}
    passes:
      - title: the reference itself
        reference: efficientdet_d3

Placeholder paths are replaced with `data/` unless `keep_placeholders: true`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.outcome import subject_of
from odapi_repro.diagnosis.rules import RULES, rules_named
from odapi_repro.pipeline import Circumstances, set_field
from odapi_repro.pipeline.fields import PLACEHOLDER
from odapi_repro.reference import reference_named

FIXTURES = Path(__file__).parent / "fixtures"
FILES = sorted(FIXTURES.glob("*.yml"))


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def findings(code: str, case: dict[str, Any], folder: Path) -> list[Finding]:
    for name, content in case.get("files", {}).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    reference = reference_named(case["reference"])

    def here(value: Any) -> Any:
        if isinstance(value, list):
            return [here(item) for item in value]
        return value.replace("{dir}", str(folder)) if isinstance(value, str) else value

    if "text" in case:
        text = here(case["text"])
    else:
        pipeline = reference.pipeline()

        def edit(proto: Any) -> None:
            for path, value in case.get("set", {}).items():
                set_field(proto, path, here(value))

        text = pipeline.edited(edit).to_text()
        for old, new in case.get("replace", {}).items():
            assert old in text, f"'{old}' is not in the text"
            text = text.replace(old, new)
    if not case.get("keep_placeholders"):
        text = text.replace(PLACEHOLDER, "data")
    subject = subject_of(
        text,
        str(folder / "pipeline.config"),
        reference=reference,
        circumstances=Circumstances(**case.get("circumstances", {})),
    )
    (rule,) = rules_named(code)
    return list(rule.check(subject))


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(path.stem, case, id=f"{path.stem}-{case['title']}")
        for path in FILES
        for case in load(path).get(kind, [])
    ]


@pytest.mark.parametrize(("code", "case"), cases("fires"))
def test_a_rule_fires_on_what_it_is_about(code: str, case: dict[str, Any], tmp_path: Path) -> None:
    found = findings(code, case, tmp_path)
    expected = case["expect"]
    alike = [one for one in found if one.cause == expected["cause"]]
    assert alike, f"found {[one.cause for one in found]}"
    assert alike[0].severity.word == expected.get("severity", alike[0].severity.word)
    assert alike[0].count == expected.get("count", alike[0].count)
    assert expected.get("found", "") in alike[0].found
    if "fix" in expected:
        assert {one.field: one.value for one in alike[0].fix} == expected["fix"]


@pytest.mark.parametrize(("code", "case"), cases("passes"))
def test_a_rule_is_silent_where_nothing_is_wrong(
    code: str, case: dict[str, Any], tmp_path: Path
) -> None:
    assert findings(code, case, tmp_path) == []


def test_every_rule_has_fixtures_of_both_kinds() -> None:
    whole = {
        path.stem
        for path in FILES
        if {"fires", "passes"} <= {k for k, v in load(path).items() if v}
    }
    assert {rule.code for rule in RULES} == whole


def test_every_cause_of_a_rule_has_a_fixture_that_fires() -> None:
    shown = {(path.stem, case["expect"]["cause"]) for path in FILES for case in load(path)["fires"]}
    assert {(rule.code, cause) for rule in RULES for cause in rule.causes} <= shown


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rules_page_has_its_parts(rule: Any) -> None:
    lines = rule.page().splitlines()
    assert lines[0].endswith(".")
    for heading in ("Anti-pattern", "Best practice", "Source"):
        assert heading in lines, f"{rule.code} has no '{heading}'"
        following = lines[lines.index(heading) + 1 :]
        assert any(line.strip() for line in following[:2])


def test_codes_and_names_are_unique() -> None:
    for words in ([rule.code for rule in RULES], [rule.name for rule in RULES]):
        assert len(set(words)) == len(words)
