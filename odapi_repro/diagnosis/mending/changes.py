"""What was changed and why, and what is left for the user to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.pipeline import Pipeline, field_differences


@dataclass(frozen=True)
class FieldChange:
    """One field before and after; None where it is unset."""

    path: str
    old: object
    new: object


@dataclass(frozen=True)
class Reason:
    """Why a field was changed.

    Attributes:
        text: a clause.
        code: of the rule whose finding it mends; None where no finding asked for it.
    """

    text: str
    code: str | None = None


@dataclass(frozen=True)
class Change:
    """Fields that were changed for one reason."""

    fields: tuple[FieldChange, ...]
    reason: str
    code: str | None = None


@dataclass(frozen=True)
class NotMendable:
    """Something that no config mends.

    Attributes:
        cause: of the finding.
        code: of its rule; empty where it is no finding.
        severity: of the finding.
        found: what is the matter.
        what_to_do: what mends it instead.
    """

    cause: str
    code: str
    severity: Severity
    found: str
    what_to_do: str


class Ledger:
    """Keeps why each field was last changed, and sums it up from the first config to the last."""

    def __init__(self, first: Pipeline) -> None:
        self._first = first
        self._reasons: dict[str, Reason] = {}

    def note(
        self, before: Pipeline, after: Pipeline, reason: Reason | Callable[[str], Reason]
    ) -> None:
        """Notes that every difference of the two is for this reason, or what it gives a path."""
        if before is after:
            return
        for path, _, _ in _differences(before, after):
            self._reasons[path] = reason if isinstance(reason, Reason) else reason(path)

    def changes(
        self, last: Pipeline, findings: Sequence[Finding], *, since: Pipeline | None = None
    ) -> tuple[Change, ...]:
        """Gives the changes, those first that mend the worst of the ranked findings.

        They are those from the first config, or from `since`.
        """
        rank: dict[str, int] = {}
        for position, finding in enumerate(findings):
            rank.setdefault(finding.code, position)
        fields: dict[str, list[FieldChange]] = {}
        codes: dict[str, str | None] = {}
        for path, old, new in _differences(since or self._first, last):
            reason = self._reasons.get(path, Reason("follows from the other changes"))
            fields.setdefault(reason.text, []).append(FieldChange(path, old, new))
            found = [code for code in (codes.get(reason.text), reason.code) if code]
            codes[reason.text] = min(
                found, key=lambda code: rank.get(code, len(rank)), default=None
            )
        changes = [Change(tuple(fields[text]), text, codes[text]) for text in fields]
        return tuple(sorted(changes, key=lambda one: rank.get(one.code or "", len(findings))))


def _differences(one: Pipeline, other: Pipeline) -> list[tuple[str, object, object]]:
    """As `field_differences`, but for a NaN that is there on both sides."""
    return [
        difference
        for difference in field_differences(one.proto, other.proto)
        if repr(difference[1]) != repr(difference[2])
    ]
