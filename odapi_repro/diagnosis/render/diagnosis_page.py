"""A diagnosis as a page: the verdict first, then the findings by rank, then the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import odapi_repro
from odapi_repro.diagnosis.finding import Evidence, Finding, Severity
from odapi_repro.diagnosis.outcome import COSTLY, Diagnosis
from odapi_repro.diagnosis.render.diagnosis_wording import (
    fix_text,
    labelled,
    quantities_shown,
    quantity_label,
    reported_text,
    rest_text,
    value_text,
    verdict,
)
from odapi_repro.diagnosis.render.summaries import data_section, run_facts
from odapi_repro.page.blocks import (
    Block,
    Facts,
    Headline,
    Note,
    Page,
    Paragraph,
    Section,
    Table,
    code,
    marked,
)
from odapi_repro.page.terminal_page import print_pages, print_text

_WIDEST_VALUE = 26


def diagnosis_page(diagnosis: Diagnosis) -> Page:
    """Gives the page of a config, a run, records, or what there is of them."""
    return Page(
        diagnosis.path,
        (
            Headline(verdict(diagnosis)),
            Facts(tuple(_about(diagnosis))),
            *map(_finding, diagnosis.of_severity(*COSTLY)),
            Facts(tuple(_reported(diagnosis))),
            *_quantities(diagnosis),
            Section("The run", [Facts(tuple(run_facts(diagnosis)))]),
            *([data_section(diagnosis.data)] if diagnosis.data else []),
            Section(rest_text(diagnosis), _rest(diagnosis), folded=True),
            Section("", [Paragraph(f"odapi_repro {odapi_repro.__version__}")], "file"),
        ),
    )


def print_diagnoses(diagnoses: Sequence[Diagnosis], form: str) -> None:
    """Prints diagnoses as `text`, `markdown`, `json` or `sarif`; imports what that needs only."""
    if form == "json":
        from odapi_repro.diagnosis.render.diagnosis_json import render_json

        print_text(render_json(diagnoses))
    elif form == "sarif":
        from odapi_repro.diagnosis.render.diagnosis_json import render_sarif
        from odapi_repro.diagnosis.rules import all_rules

        of_records = any(diagnosis.data is not None for diagnosis in diagnoses)
        print_text(render_sarif(diagnoses, all_rules(of_records=of_records)))
    else:
        print_pages(map(diagnosis_page, diagnoses), form)


def _about(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    reference = diagnosis.reference
    if reference is None:
        return
    yield "config", code(diagnosis.path)
    why = f" (inferred: {diagnosis.reference_why})" if diagnosis.reference_why else ""
    yield "against", f"{code(reference.name)}{why}"


def _reported(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    reference = diagnosis.reference
    if reference is None:
        return
    yield from labelled("reported", reported_text(reference))
    if reference.reported:
        disputes = [f"{one.what} ({one.source})" for one in reference.disputes]
        yield from labelled("disputed", disputes)


def _quantities(diagnosis: Diagnosis) -> Iterator[Block]:
    """Gives a table of the quantities that are short, and the others as sentences."""
    rows = [
        (
            quantity_label(pair.name, pair.unit),
            value_text(pair.pipeline),
            value_text(pair.reference),
        )
        for pair in quantities_shown(diagnosis.quantities)
    ]
    fitting = tuple(row for row in rows if max(map(len, row[1:])) <= _WIDEST_VALUE)
    yield Table(("quantity", "this config", "reference"), fitting)
    yield Facts(
        tuple(
            (name, f"{own}; reference: {other}")
            for name, own, other in rows
            if (name, own, other) not in fitting
        )
    )


def _finding(finding: Finding) -> Note:
    times = f" ({finding.count:,} {finding.counted})" if finding.count > 1 else ""
    facts = [
        ("found", finding.found),
        ("expected", finding.expected),
        ("why", finding.why),
        *labelled("evidence", [_evidence(one) for one in finding.evidence]),
        *labelled("fix", [*(code(fix_text(fix)) for fix in finding.fix), finding.mend]),
        *labelled("examples", [", ".join(finding.examples)]),
        *labelled("where", [code(finding.where) if finding.where else _named(finding.fields)]),
    ]
    return Note(finding.severity.word, f"{finding.code} {code(finding.cause)}{times}", tuple(facts))


def _evidence(evidence: Evidence) -> str:
    told = evidence.comparison
    if evidence.effect_ap is not None:
        told = f"{evidence.effect_ap:+.1f} AP" + (f": {told}" if told else "")
    return f"{told or 'an outcome without a number'} ({evidence.source})"


def _named(fields: Sequence[str]) -> str:
    return ", ".join(map(code, dict.fromkeys(fields)))


def _rest(diagnosis: Diagnosis) -> list[Block]:
    """Gives what costs nothing; inert fields that are alike share their lines."""
    information = diagnosis.of_severity(Severity.INFO)
    inert = diagnosis.of_severity(Severity.INERT)
    rows = [(one.code, f"{one.found} ({code(one.cause)})") for one in information]
    for name in dict.fromkeys(one.code for one in inert):
        fields = [field for one in inert if one.code == name for field in one.fields]
        rows.append((name, f"changed, without effect under model_main_tf2: {_named(fields)}"))
    if not rows:
        return []
    more = f"`diagnose --explain {rows[0][0]}` says more; `--format json` has every detail."
    return [Facts(tuple(rows)), Section("", [Paragraph(marked(more))], "terminal")]
