"""A whole diagnosis: what was looked at, what it amounts to, and the ranked findings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from odapi_repro.diagnosis.config_text import ParseProblem, read_config_text
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule, RunRule, RunSubject
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Circumstances, quantity_definitions
from odapi_repro.pipeline.text_tree import Places, TextWalk
from odapi_repro.reference import Reference, reference_for

if TYPE_CHECKING:
    from odapi_repro.datasets.census.split_census import DataFacts
    from odapi_repro.diagnosis.finished_run import RunHistory
    from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject


# --- Makes a subject of a config, runs the rules over it and ranks what they find ---


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


# --- What a diagnosis says of a text that could be read in part only ---


# A Windows path and letters that are not UTF-8 are read as they were meant: nothing is lost.
_LOSES_TEXT = frozenset({"syntax", "encoding", "unknown_field"})
_PARSE_ERRORS = frozenset({"syntax_error", "unknown_proto_field"})
_ABOUT_THE_TEXT = _PARSE_ERRORS | {"field_given_twice", "not_utf8", "windows_path_escape"}
# What costs AP is weighed by the steps and the images seen; what stops the OD API is not.
_LENGTH_OF_THE_RUN = frozenset({"train_config.num_steps", "train_config.batch_size"})
_NEVER_CLOSED = re.compile(r"'.*' is never closed")
_INDEX = re.compile(r"\[[^\]]*\]")


def without_consequences(findings: Sequence[Finding], subject: Subject) -> list[Finding]:
    """Leaves out what may only be found because the rest of the text could not be read.

    A finding stays where every field that shows it was read, and lies in no message of which a
    part was not. The parse error, which stands first, tells how many were left out.
    """
    losses = [one for one in subject.text.problems if one.kind in _LOSES_TEXT]
    if not losses or not any(one.cause in _PARSE_ERRORS for one in findings):
        return list(findings)  # nothing is left out but beside what it comes of
    read = _ReadPart(subject, losses)
    length_known = not read.lossy & _LENGTH_OF_THE_RUN
    kept = [
        one
        for one in findings
        if one.cause in _ABOUT_THE_TEXT
        or (all(map(read.holds, one.fields)) and (length_known or one.severity is Severity.FATAL))
    ]
    left_out = len(findings) - len(kept)
    if not left_out:
        return kept
    told = "1 finding that may only come of it is" if left_out == 1 else (
        f"{left_out} findings that may only come of it are"
    )  # fmt: skip
    first = next(number for number, one in enumerate(kept) if one.cause in _PARSE_ERRORS)
    kept[first] = replace(
        kept[first], why=f"{kept[first].why} {told} left out until the text parses."
    )
    return kept


class _ReadPart:
    """What was read; paths are without indices.

    Attributes:
        paths: of all fields that were read, and of the messages around them.
        repeated: those of fields that may stand several times.
        lossy: messages of which something could not be read, and fields whose value may go on in
            what could not: `0,01` is read as 0.
        unclosed: messages that the end of the text cuts short.
    """

    def __init__(self, subject: Subject, losses: Sequence[ParseProblem]) -> None:
        self.paths: set[str] = set()
        self.repeated: set[str] = set()
        self.lossy: set[str] = set()
        self.unclosed: set[str] = set()
        for path, value in subject.fields.items():
            ends = _ends(path)
            if value == "{}" and len(ends) == 1:
                continue  # of a block of the config itself nothing was read
            self.paths.update(map(_bare, ends))
            self.repeated.update(_bare(end) for end in ends if end.endswith("]"))
        lines = subject.text.mended.split("\n")
        walk = TextWalk(subject.text.mended)
        for one in losses:
            begin = sum(map(len, lines[: one.line - 1])) + one.line - 1
            walk.to(begin + min(one.column - 1, len(lines[one.line - 1])))
            field = walk.statement
            if one.kind == "syntax" and field is not None and field.start >= begin:
                self.lossy.add(".".join([*walk.names, field.name]))
            names = walk.names
            if _NEVER_CLOSED.fullmatch(one.message):
                names.append(one.message.split("'")[1])
                self.unclosed.update(_ends(".".join(names)))
            self.lossy.update(_ends(".".join(names)))

    def holds(self, path: str) -> bool:
        """Whether a field was read, and all that may belong to it."""
        path = _bare(path)
        owner = path.rpartition(".")[0]
        return (
            path in self.paths
            and path not in self.lossy
            and not (path in self.repeated and owner in self.lossy)
            and owner not in self.unclosed
        )


def _bare(path: str) -> str:
    return _INDEX.sub("", path)


def _ends(path: str) -> list[str]:
    """Gives a path and the paths of all messages around it."""
    steps = path.split(".") if path else []
    return [".".join(steps[:end]) for end in range(1, len(steps) + 1)]


# --- A whole diagnosis: what was looked at, what it amounts to, and the ranked findings ---


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
