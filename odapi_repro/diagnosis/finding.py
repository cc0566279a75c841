"""What a rule says about a pipeline."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class Severity(enum.IntEnum):
    """How much a finding matters; findings are ranked by it first."""

    FATAL = 0  #: the OD API will stop, or what it measures is meaningless
    CRITICAL = 1  #: known to cost most of the gap, or to diverge
    WARNING = 2  #: known to cost something, or likely to
    INFO = 3  #: worth knowing, costs nothing by itself
    INERT = 4  #: changed by the user, and without effect under model_main_tf2

    @property
    def word(self) -> str:
        """`fatal`, `critical`, `warning`, `info` or `inert`."""
        return self.name.lower()


@dataclass(frozen=True)
class Evidence:
    """A published number that stands beside a finding.

    Attributes:
        effect_ap: AP points that the change moved a published model by; None where the source
            tells an outcome without a number.
        source: URL, or file and function.
        comparison: what was compared, e.g. `100% -> 1% of train2017, Faster R-CNN R50`.
    """

    effect_ap: float | None
    source: str
    comparison: str = ""


@dataclass(frozen=True)
class FieldFix:
    """One edit that mends a finding: a dotted field path and the value it should have.

    None as the value means that the field should be removed.
    """

    field: str
    value: object


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        code: the rule's, e.g. `LR001`.
        cause: from the project's vocabulary of causes (docs/rules.md).
        severity: see `Severity`.
        fields: dotted paths of the fields that show it, the telling one first.
        found: what the config does, with its numbers; a clause without a full stop.
        expected: what the reference or the OD API has instead.
        why: what that does to training or evaluation, in one or two sentences.
        loss_ap: AP points that it may cost, for ranking findings of one severity: published
            where `evidence` has a number, judged by the rule otherwise.
        evidence: published numbers and outcomes.
        fix: edits that mend it; empty where no config can.
        where: `file:line:column`, when the place in the text is known.
        count: how many alike are told by this one.
        counted: what `count` counts, in the plural.
        examples: the first few of them by name; of images their source ids.
        mend: what to do where no field of a config mends it.
    """

    code: str
    cause: str
    severity: Severity
    fields: tuple[str, ...]
    found: str
    expected: str
    why: str
    loss_ap: float = 0.0
    evidence: tuple[Evidence, ...] = ()
    fix: tuple[FieldFix, ...] = ()
    where: str = ""
    count: int = 1
    counted: str = "places"
    examples: tuple[str, ...] = ()
    mend: str = ""

    def at(self, severity: Severity) -> Finding:
        """Gives the same finding at another severity."""
        return replace(self, severity=severity)
