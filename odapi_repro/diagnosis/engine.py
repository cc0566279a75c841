"""Makes a subject of a config, runs the rules over it and ranks what they find."""

from __future__ import annotations

from collections.abc import Iterable

from odapi_repro.diagnosis.config_text import read_config_text
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Circumstances
from odapi_repro.reference import Reference, reference_for

_UNREADABLE = frozenset({"syntax_error", "unknown_proto_field", "not_utf8", "windows_path_escape"})


def subject_of(
    text: str,
    path: str,
    *,
    reference: Reference | None = None,
    circumstances: Circumstances | None = None,
) -> Subject:
    """Gives the subject that a config's text makes.

    Where no reference is given it is the one that a comment of the text names, else the nearest.

    Never raises for a text: what does not parse becomes problems that a rule reports.
    """
    config, pipeline = read_config_text(text, path)
    why = ""
    if reference is None:
        reference, why = reference_for(text, pipeline)
    return Subject(config, pipeline, reference, circumstances or Circumstances(), why)


def diagnose(subject: Subject, rules: Iterable[Rule]) -> list[Finding]:
    """Gives the findings of all rules, ranked.

    Rules that need a pipeline run on what could be parsed, unless nothing could: a config
    without a model has no quantities worth a rule.
    """
    runnable = bool(subject.pipeline.meta_architecture)
    found = [
        finding
        for rule in rules
        if runnable or not rule.needs_pipeline
        for finding in rule.check(subject)
    ]
    return rank(found)


def rank(findings: Iterable[Finding]) -> list[Finding]:
    """Gives findings by severity, then by the AP they may cost, then by code.

    What keeps the text from being read comes first: no other finding was ever met by a run.
    """
    return sorted(
        findings,
        key=lambda one: (
            one.severity, one.cause not in _UNREADABLE, -one.loss_ap, one.code, one.fields
        ),
    )  # fmt: skip
