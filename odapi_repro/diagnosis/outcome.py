"""A whole diagnosis: what was looked at, what it amounts to, and the ranked findings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from odapi_repro.diagnosis.engine import diagnose, rank, subject_of
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.run_rule import RunRule, RunSubject
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Circumstances, quantity_definitions
from odapi_repro.pipeline.text_tree import Places
from odapi_repro.reference import Reference

if TYPE_CHECKING:
    from odapi_repro.datasets.census.facts import DataFacts
    from odapi_repro.diagnosis.finished_run import RunHistory
    from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject


# What a config lets expect and a run that took steps has settled: whether it would start with this
# feature extractor (a trial of ours has one of its own), and which steps it would save.
_SETTLED_BY_A_RUN = frozenset({"feature_extractor_unknown", "last_checkpoint_not_saved"})

# What records settle that a config only lets suspect: they were counted.
_SETTLED_BY_RECORDS = frozenset({"max_boxes_truncates_gt", "crowd_trained_as_positive"})
# What a config tells as well, with the evidence of others: not told twice.
_TOLD_BY_A_CONFIG = {
    "partial_shards": frozenset({"partial_shards", "single_train_shard", "single_eval_shard"}),
    "input_pattern_matches_nothing": frozenset({"input_pattern_matches_nothing"}),
    "label_map_malformed": frozenset({"label_map_malformed"}),
    "train_eq_eval": frozenset({"train_eq_eval"}),
    "train_subsampled": frozenset({"train_subsampled"}),
    "eval_subsampled": frozenset({"eval_subsampled"}),
}

#: The severities of findings that stop a training, void its numbers or cost AP.
COSTLY = (Severity.FATAL, Severity.CRITICAL, Severity.WARNING)


@dataclass(frozen=True)
class QuantityPair:
    """One quantity of a config beside its reference's; None where it does not apply."""

    name: str
    unit: str
    pipeline: object
    reference: object

    @property
    def differs(self) -> bool:
        """Whether the two differ by more than float32 rounds."""
        one, other = self.pipeline, self.reference
        if isinstance(one, float) and isinstance(other, float):
            both_nan = math.isnan(one) and math.isnan(other)
            return not both_nan and not math.isclose(one, other, rel_tol=1e-6)
        return one != other


@dataclass(frozen=True)
class Diagnosis:
    """What a diagnosis gives, for the renderers.

    Attributes:
        path: of the config; of the run's folder where there is no config.
        findings: ranked, each with its place in the text where that is known.
        subject: the config; None for a run without one.
        reference_why: why this reference was inferred; empty where the user named it.
        history: what the finished run's files say; None without a run.
        data: what the records hold; None where nobody looked.
    """

    path: str
    findings: tuple[Finding, ...]
    subject: Subject | None = None
    reference_why: str = ""
    history: RunHistory | None = None
    data: DataFacts | None = None

    @property
    def reference(self) -> Reference | None:
        """The catalogue entry that the config is compared with."""
        return self.subject.reference if self.subject else None

    @property
    def quantities(self) -> tuple[QuantityPair, ...]:
        """All quantities, side by side; none for a text in which no model was found."""
        subject = self.subject
        if subject is None or not subject.pipeline.meta_architecture:
            return ()
        own, other = subject.quantities.as_dict(), subject.reference_quantities.as_dict()
        return tuple(
            QuantityPair(name, unit, own[name], other[name])
            for name, (unit, _) in quantity_definitions().items()
        )

    def at_or_above(self, severity: Severity) -> tuple[Finding, ...]:
        """Gives the findings that are at least this severe."""
        return tuple(one for one in self.findings if one.severity <= severity)

    def of_severity(self, *severities: Severity) -> tuple[Finding, ...]:
        """Gives the findings of these severities, in their rank."""
        return tuple(one for one in self.findings if one.severity in severities)

    def only(self, codes: Iterable[str]) -> Diagnosis:
        """Gives the diagnosis with the findings of these rules alone."""
        wanted = set(codes)
        return replace(self, findings=tuple(one for one in self.findings if one.code in wanted))


def examine(
    text: str,
    path: str,
    *,
    rules: Sequence[Rule],
    reference: Reference | None = None,
    circumstances: Circumstances | None = None,
) -> Diagnosis:
    """Diagnoses the text of a config; the nearest reference is inferred where none is given.

    Never raises for a text: what does not parse is a finding, and what may only be found because
    the rest could not be read is left out.
    """
    subject = subject_of(text, path, reference=reference, circumstances=circumstances)
    findings = diagnose(subject, rules)
    if subject.text.problems:
        from odapi_repro.diagnosis.unread_rest import without_consequences  # of few configs

        findings = without_consequences(findings, subject)
    return Diagnosis(path, _placed(findings, text, path), subject, subject.reference_why)


def examine_run(
    history: RunHistory,
    model_dir: str,
    *,
    rules: Sequence[RunRule],
    config: Diagnosis | None = None,
) -> Diagnosis:
    """Adds what a finished run's files say to the diagnosis of its config, if there is one.

    Findings of the config about what the run has settled since are left out.
    """
    subject = config.subject if config else None
    looked_at = RunSubject(history, subject)
    found = [finding for rule in rules for finding in rule.check(looked_at)]
    if config is None or subject is None:
        return Diagnosis(model_dir, tuple(rank(found)), history=history)
    settled = _SETTLED_BY_A_RUN if history.steps_reached else frozenset()
    kept = [one for one in config.findings if one.cause not in settled]
    placed = _placed(found, subject.text.text, config.path)
    return replace(config, findings=tuple(rank([*kept, *placed])), history=history)


def examine_records(
    records: RecordSubject,
    data: DataFacts,
    *,
    rules: Sequence[RecordRule],
    config: Diagnosis | None = None,
) -> Diagnosis:
    """Adds what records hold to the diagnosis of the config that is to read them, if there is one.

    Findings of the config about what the records settle are left out, and so are those of the
    records that the config has as well.
    """
    found = [finding for rule in rules for finding in rule.check(records)]
    subject = records.config
    if subject is not None:
        found = list(_placed(found, subject.text.text, subject.text.path))
    if config is None:
        path = subject.text.path if subject is not None else data.name
        return Diagnosis(path, tuple(rank(found)), subject=None, data=data)
    kept = [one for one in config.findings if one.cause not in _SETTLED_BY_RECORDS]
    told = {one.cause for one in kept}
    new = [one for one in found if not told & _TOLD_BY_A_CONFIG.get(one.cause, frozenset())]
    return replace(config, findings=tuple(rank([*kept, *new])), data=data)


def _placed(findings: Iterable[Finding], text: str, path: str) -> tuple[Finding, ...]:
    """Gives the findings with the place of their telling field, where they have none."""
    places = Places(text)
    placed = []
    for one in findings:
        place = places.of(one.fields[0]) if one.fields and not one.where else None
        placed.append(replace(one, where=f"{path}:{place}") if place else one)
    return tuple(placed)
