"""The base of every rule, and how a rule reports."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.reference.effect_catalogue import PublishedEffect, effect

if TYPE_CHECKING:
    from odapi_repro.diagnosis.finished_run import RunHistory


# --- The base of every rule, and how a rule reports ---


def published(*keys: str) -> tuple[Evidence, ...]:
    """Gives the evidence of published effects by their keys in the catalogue.

    An effect on another metric than COCO's AP is told in words and has no `effect_ap`.
    """
    return tuple(_evidence(effect(key)) for key in keys)


def _evidence(one: PublishedEffect) -> Evidence:
    is_ap = one.metric in ("AP", "mask_AP")
    unit = "" if is_ap else f" {one.metric}"
    outcome = one.stated + (unit if one.stated else "")
    if one.before is not None and one.after is not None:
        outcome = f"{one.before:g} -> {one.after:g}{unit}"
    told = f" ({outcome})" if outcome else ""
    comparison = f"{one.change}{told}, {one.model}, {one.dataset}"
    return Evidence(one.delta if is_ap else None, one.source, comparison)


class RuleBase(ABC):
    """What rules about configs, finished runs and records share: identity, page, making findings.

    A subclass has a docstring of fixed shape, from which `diagnose --explain CODE` and
    docs/rules.md are made: a first line that names what is wrong, then sections headed
    `Anti-pattern`, `Best practice` and `Source` on lines of their own, each followed by
    paragraphs or an indented config snippet. A test holds the shape.

    Attributes:
        code: group letters and three digits, never reused.
        name: dotted, group first, e.g. `lr.too_high_for_batch`.
        causes: the causes that its findings may carry.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    causes: ClassVar[tuple[str, ...]]

    @classmethod
    def page(cls) -> str:
        """Gives the rule's docstring without its indentation."""
        return inspect.getdoc(cls) or ""

    def finding(
        self,
        cause: str,
        severity: Severity,
        *,
        fields: Sequence[str],
        found: str,
        expected: str,
        why: str,
        loss_ap: float = 0.0,
        evidence: Sequence[Evidence] = (),
        fix: Sequence[FieldFix] = (),
        where: str = "",
        count: int = 1,
        counted: str = "places",
        examples: Sequence[str] = (),
        mend: str = "",
    ) -> Finding:
        """Gives a finding of this rule; `cause` must be one that it declares."""
        if cause not in self.causes:
            raise ValueError(f"{self.code} does not declare the cause {cause}")
        return Finding(
            code=self.code,
            cause=cause,
            severity=severity,
            fields=tuple(fields),
            found=found,
            expected=expected,
            why=why,
            loss_ap=loss_ap,
            evidence=tuple(evidence),
            fix=tuple(fix),
            where=where,
            count=count,
            counted=counted,
            examples=tuple(examples),
            mend=mend,
        )


class Rule(RuleBase):
    """One rule about a config, or a tight family of rules that share their reasoning.

    Attributes:
        needs_pipeline: False for rules about the text, which also run when it does not parse.
    """

    needs_pipeline: ClassVar[bool] = True

    @abstractmethod
    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields what it finds; nothing for a pipeline that is well."""


# --- The base of the rules about finished runs, and what they look at ---


@dataclass(frozen=True)
class RunSubject:
    """A training folder under diagnosis.

    Attributes:
        history: what its files say.
        config: what it was trained with; None where nobody knows.
    """

    history: RunHistory
    config: Subject | None

    @property
    def num_steps(self) -> int | None:
        """Steps that the run was to take; None where no config says."""
        if self.config is None or not self.config.pipeline.meta_architecture:
            return None
        return self.config.quantities.num_steps

    @property
    def evaluates_coco(self) -> bool:
        """Whether the evaluation's file names are those of COCO's val2017, or shards of it."""
        if self.config is None or not self.config.pipeline.proto.eval_input_reader:
            return False
        reader = self.config.pipeline.proto.eval_input_reader[0]
        patterns = list(reader.tf_record_input_reader.input_path)
        return bool(patterns) and all("val2017" in p or "coco_val" in p for p in patterns)


class RunRule(RuleBase):
    """One rule about a run, or a tight family of rules that share their reasoning."""

    @abstractmethod
    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields what it finds; nothing for a run that went well."""
