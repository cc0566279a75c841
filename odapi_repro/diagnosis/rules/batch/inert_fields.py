"""Fields that were changed and that nothing reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.inert import inert_paths
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject


class InertFields(Rule):
    """A field was changed that has no effect under model_main_tf2.

    The protos serve two generations of the OD API, and many fields were for the first. A change to
    one of them is no deviation, however much it looks like one; and who relies on one, to freeze
    layers say, has something else than they think.

    Anti-pattern

        train_config {
          sync_replicas: false           # has no effect
          freeze_variables: "backbone"   # freezes nothing
          use_bfloat16: false            # on a GPU it is off anyway
        }

    Best practice

    Leave such fields as the reference has them, and look at the others.

    Source

    odapi_repro/diagnosis/inert.py says for each field where the OD API reads it, if it does; a
    test scans the OD API's source for it.
    """

    code: ClassVar[str] = "BAT005"
    name: ClassVar[str] = "config.inert_fields"
    causes: ClassVar[tuple[str, ...]] = ("inert_field",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Tells fields of one reason together, those set against a wish before those left out."""
        own = inert_paths(subject.pipeline)
        reference = inert_paths(subject.reference_pipeline)
        by_reason: dict[str, list[str]] = {}
        for path, reason in {**reference, **own}.items():
            before, now = subject.reference_fields.get(path), subject.fields.get(path)
            # Another model has no such field: that is the model's doing, not a change.
            absent = now is None and not _parent_is_set(subject, path)
            if before != now and not absent:
                by_reason.setdefault(reason, []).append(path)
        for reason, paths in by_reason.items():
            yield self.finding(
                "inert_field",
                Severity.INERT,
                fields=paths,
                found=_changes(subject, paths),
                expected=_expected(subject, paths),
                why=reason,
                # Ranks what was set above what was left out; costs nothing either way.
                loss_ap=0.01 if any(path in subject.fields for path in paths) else 0.0,
                count=len(paths),
            )


def _parent_is_set(subject: Subject, path: str) -> bool:
    parent = path.rpartition(".")[0]
    return not parent or any(other.startswith(f"{parent}.") for other in subject.fields)


def _changes(subject: Subject, paths: list[str]) -> str:
    shown = [_change(subject, path) for path in paths[:3]]
    rest = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(shown) + rest


def _change(subject: Subject, path: str) -> str:
    name = path.rpartition(".")[2]
    return f"{name} is {_value(subject.fields.get(path))}"


def _expected(subject: Subject, paths: list[str]) -> str:
    shown = ", ".join(_value(subject.reference_fields.get(path)) for path in paths[:3])
    return f"{shown} in the reference, to the same effect"


def _value(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
