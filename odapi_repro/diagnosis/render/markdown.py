"""A diagnosis as Markdown, fit to be pasted into an issue."""

from __future__ import annotations

import re
from collections.abc import Iterator

import odapi_repro
from odapi_repro.diagnosis.finding import Evidence, Finding, Severity
from odapi_repro.diagnosis.outcome import COSTLY, Diagnosis
from odapi_repro.diagnosis.render.data_summary import data_rows
from odapi_repro.diagnosis.render.run_summary import run_facts
from odapi_repro.diagnosis.render.wording import (
    effect_text,
    fix_text,
    plain,
    quantities_shown,
    rest_text,
    value_text,
    verdict,
)
from odapi_repro.foreign_text import markdown, markdown_code

__all__ = ["escaped", "render_markdown"]


def render_markdown(diagnosis: Diagnosis) -> str:
    """Gives the verdict as the heading, tables for numbers, a numbered list of findings."""
    blocks = [
        f"### {escaped(verdict(diagnosis))}",
        _about(diagnosis),
        _table(("metric", "reported", "source", "protocol"), list(_reported(diagnosis))),
        "\n".join(_disputes(diagnosis)),
        _table(("the run", ""), _run(diagnosis)),
        _data(diagnosis),
        _table(("quantity", "this config", "reference", "unit"), list(_quantities(diagnosis))),
        *(
            _finding(rank, finding)
            for rank, finding in enumerate(diagnosis.of_severity(*COSTLY), start=1)
        ),
        _folded(diagnosis),
        f"<sub>odapi_repro {odapi_repro.__version__}</sub>",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def escaped(text: str) -> str:
    """Gives the text with Markdown's marks and mentions defused, on one line."""
    return markdown(plain(text))


def _code(text: str) -> str:
    return markdown_code(plain(text))


def _about(diagnosis: Diagnosis) -> str:
    reference = diagnosis.reference
    if reference is None:
        return _code(diagnosis.path)
    why = f" ({escaped(diagnosis.reference_why)})" if diagnosis.reference_why else ""
    return f"{_code(diagnosis.path)} against {_code(reference.name)}{why}"


def _reported(diagnosis: Diagnosis) -> Iterator[tuple[str, ...]]:
    for number in diagnosis.reference.reported if diagnosis.reference else ():
        yield (
            escaped(number.metric),
            f"{number.value:.1f}",
            escaped(number.source),
            escaped(number.protocol),
        )


def _disputes(diagnosis: Diagnosis) -> Iterator[str]:
    for dispute in diagnosis.reference.disputes if diagnosis.reference else ():
        yield f"- Disputed: {escaped(dispute.what)} ({escaped(dispute.source)})"


def _run(diagnosis: Diagnosis) -> list[tuple[str, ...]]:
    return [(label, escaped(text)) for label, text in run_facts(diagnosis)]


def _data(diagnosis: Diagnosis) -> str:
    if diagnosis.data is None:
        return ""
    head, *rows = data_rows(diagnosis.data)
    shown = [(escaped(name.strip()), *map(escaped, cells)) for name, *cells in rows]
    notes = [
        *diagnosis.data.compared,
        *(f"not looked at: {one}" for one in diagnosis.data.not_looked_at),
    ]
    listed = "".join(f"\n- {escaped(note)}" for note in notes)
    return _table(("records", *head[1:]), shown) + (f"\n{listed}" if listed else "")


def _quantities(diagnosis: Diagnosis) -> Iterator[tuple[str, ...]]:
    for pair in quantities_shown(diagnosis.quantities):
        unit = "" if pair.unit in ("1", "name", "names", "mode") else pair.unit
        own, other = value_text(pair.pipeline), value_text(pair.reference)
        yield (_code(pair.name), escaped(own), escaped(other), escaped(unit))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _finding(rank: int, finding: Finding) -> str:
    place = f" in {_code(finding.where)}" if finding.where else ""
    times = f", {finding.count:,} {finding.counted}" if finding.count > 1 else ""
    lines = [
        f"{rank}. **{finding.severity.word}** {finding.code} {_code(finding.cause)}{times}{place}",
        f"   - found: {escaped(finding.found)}",
        f"   - expected: {escaped(finding.expected)}",
        f"   - why: {escaped(finding.why)}",
        *(f"   - evidence: {_evidence(one)}" for one in finding.evidence),
        *(f"   - mend: {_code(fix_text(fix))}" for fix in finding.fix),
        *([f"   - mend: {escaped(finding.mend)}"] if finding.mend else []),
        *([f"   - examples: {escaped(', '.join(finding.examples))}"] if finding.examples else []),
    ]
    return "\n".join(lines)


def _evidence(evidence: Evidence) -> str:
    source = plain(evidence.source)
    link = source if re.fullmatch(r"https?://[^\s<>|]+", source) else escaped(source)
    return f"{escaped(effect_text(evidence))} ({link})"


def _folded(diagnosis: Diagnosis) -> str:
    lines = [
        f"- {one.code} {_code(one.cause)}: {escaped(one.found)}"
        for one in diagnosis.of_severity(Severity.INFO)
    ]
    inert = diagnosis.of_severity(Severity.INERT)
    fields = dict.fromkeys(field for one in inert for field in one.fields)
    if fields:
        lines.append(f"- without effect: {', '.join(_code(field) for field in fields)}")
    if not lines:
        return ""
    listed = "\n".join(lines)
    return f"<details><summary>{rest_text(diagnosis)}</summary>\n\n{listed}\n\n</details>"
