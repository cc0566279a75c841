"""Rates and steps that nobody set, so that the proto's own defaults train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.schedule.comparison import (
    learning_rate_path,
    number,
    rounded,
    run_steps,
    steps_fix,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend


@dataclass(frozen=True)
class _Default:
    """A field whose default in object_detection/protos/optimizer.proto fits no run by itself."""

    field: str
    counts_steps: bool
    matters: bool = True


_DEFAULTS = {
    "cosine": (
        _Default("learning_rate_base", counts_steps=False),
        _Default("total_steps", counts_steps=True),
        _Default("warmup_steps", counts_steps=True),
        _Default("warmup_learning_rate", counts_steps=False, matters=False),
    ),
    "exponential": (
        _Default("initial_learning_rate", counts_steps=False),
        _Default("decay_steps", counts_steps=True),
    ),
    "manual_step": (_Default("initial_learning_rate", counts_steps=False),),
    "constant": (_Default("learning_rate", counts_steps=False),),
}


class OptimizerDefaults(Rule):
    """The learning rate, or the steps of its schedule, are the proto's defaults.

    They were chosen for no model: 0.002 for every rate, 4,000,000 steps for a cosine and for a
    decay, 10,000 steps of warm-up.

    Anti-pattern

        optimizer { momentum_optimizer { learning_rate { cosine_decay_learning_rate {
          learning_rate_base: 0.01         # and total_steps is 4,000,000
        } } } }

    Best practice

    Set every rate and every number of steps of the schedule.

    Source

    object_detection/protos/optimizer.proto. Without an optimizer or a learning rate,
    optimizer_builder raises ValueError.
    """

    code: ClassVar[str] = "OPT002"
    name: ClassVar[str] = "optimizer.defaults"
    causes: ClassVar[tuple[str, ...]] = ("optimizer_left_at_proto_defaults",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for an optimizer, for a schedule, and for its fields."""
        if not subject.schedule.kind:
            yield self._nothing(subject)
            return
        path = learning_rate_path(subject.pipeline)
        schedule = descend(subject.pipeline.proto, path)
        unset = [
            default
            for default in _DEFAULTS[subject.schedule.kind]
            if not schedule.HasField(default.field)
        ]
        telling = [default for default in unset if default.matters and _hurts(subject, default)]
        if not telling:
            return
        shown = ", ".join(
            f"{default.field} {number(getattr(schedule, default.field))}" for default in telling
        )
        yield self.finding(
            "optimizer_left_at_proto_defaults",
            Severity.WARNING,
            fields=[f"{path}.{default.field}" for default in telling],
            found=f"not set, and so the proto's default: {shown}",
            expected="every rate and every number of steps set",
            why=_why(telling),
            loss_ap=2.0 * len(telling),  # judged
            fix=[edit for default in telling for edit in _from_reference(subject, path, default)],
            count=len(telling),
        )

    def _nothing(self, subject: Subject) -> Finding:
        train = subject.pipeline.proto.train_config
        kind = train.optimizer.WhichOneof("optimizer")
        return self.finding(
            "optimizer_left_at_proto_defaults",
            Severity.FATAL,
            fields=[learning_rate_path(subject.pipeline)],
            found=f"train_config has {subject.schedule.refusal}",
            expected="an optimizer with a learning rate, as the reference's "
            f"{subject.reference_quantities.optimizer} with a "
            f"{subject.reference_quantities.lr_schedule} schedule",
            why=f"The OD API raises ValueError: {'Learning_rate' if kind else 'Optimizer'} None "
            "not supported.",
        )


def _hurts(subject: Subject, default: _Default) -> bool:
    """Whether the default is far from what the run or the reference has."""
    schedule = descend(subject.pipeline.proto, learning_rate_path(subject.pipeline))
    value = float(getattr(schedule, default.field))
    if default.counts_steps:
        # A tenth of the run for a warm-up, and twice the run for the rest, do harm.
        most = 0.1 if default.field == "warmup_steps" else 2.0
        return value > most * run_steps(subject)
    expected = subject.reference_quantities.lr_base
    return bool(expected) and abs(value - expected) > 0.01 * expected


def _why(telling: list[_Default]) -> str:
    steps = [default.field for default in telling if default.counts_steps]
    if not steps:
        return "The default rate was chosen for no model."
    return "A run is shorter than that, so " + (
        "the rate never comes down." if steps != ["warmup_steps"] else "much of it is warm-up."
    )


def _from_reference(subject: Subject, path: str, default: _Default) -> list[FieldFix]:
    own, reference = subject.quantities, subject.reference_quantities
    if default.field == "total_steps":
        return steps_fix(f"{path}.total_steps", own.num_steps)
    if default.field == "warmup_steps" and reference.num_steps:
        share = min(0.5, reference.warmup_steps / reference.num_steps)
        return steps_fix(f"{path}.warmup_steps", share * own.num_steps)
    if default.counts_steps or not reference.global_batch:
        return []
    scaled = reference.lr_base * own.global_batch / reference.global_batch
    return [FieldFix(f"{path}.{default.field}", rounded(scaled))]
