"""Schedules that the OD API refuses, or whose rate is not a number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.schedule.learning_rate import (
    fitting_warmup,
    learning_rate_path,
    number,
    rounded,
    run_steps,
    steps_fix,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

_BOUNDARIES = ".schedule"


class ScheduleRefused(Rule):
    """The learning rate schedule stops the training, or makes its weights NaN.

    Anti-pattern

        cosine_decay_learning_rate {
          learning_rate_base: 0.01         # lowered from 0.04 ...
          warmup_learning_rate: 0.013333   # ... and this was not
          total_steps: 2000
          warmup_steps: 2000               # equal: the cosine divides by zero
        }

    Best practice

    Scale both rates together, and keep warmup_steps below total_steps.

    Source

    utils/learning_schedules.cosine_decay_with_warmup raises ValueError when total_steps is below
    warmup_steps (while the optimizer is built) and when learning_rate_base is below
    warmup_learning_rate (in the first step). Where both steps are equal it computes 0 / 0 in the
    step with that number. manual_stepping refuses boundaries that do not increase.
    """

    code: ClassVar[str] = "LR002"
    name: ClassVar[str] = "lr.refused"
    causes: ClassVar[tuple[str, ...]] = (
        "warmup_lr_above_base",
        "warmup_longer_than_schedule",
        "warmup_equals_schedule",
        "schedule_boundaries_refused",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the fields that the OD API checks, in its order."""
        if subject.schedule.kind == "cosine":
            yield from self._cosine(subject)
        elif subject.schedule.kind == "manual_step" and subject.schedule.refusal:
            path = learning_rate_path(subject.pipeline)
            yield self.finding(
                "schedule_boundaries_refused",
                Severity.FATAL,
                fields=[path + _BOUNDARIES],
                found=f"the manual steps are refused: {subject.schedule.refusal}",
                expected="at least one boundary, each above the one before and the first above 0",
                why="The OD API raises ValueError while it builds the optimizer.",
            )

    def _cosine(self, subject: Subject) -> Iterator[Finding]:
        path = learning_rate_path(subject.pipeline)
        cosine = descend(subject.pipeline.proto, path)
        total, warmup = int(cosine.total_steps), int(cosine.warmup_steps)
        hold = int(cosine.hold_base_rate_steps)
        base, start = float(cosine.learning_rate_base), float(cosine.warmup_learning_rate)
        steps = [f"{path}.warmup_steps", f"{path}.total_steps"]
        shorter = steps_fix(f"{path}.warmup_steps", fitting_warmup(subject, total))
        if total < warmup:
            yield self.finding(
                "warmup_longer_than_schedule",
                Severity.FATAL,
                fields=steps,
                found=f"warm-up takes {number(warmup)} of {number(total)} steps"
                + _where_unset(cosine, "warmup_steps"),
                expected="warmup_steps below total_steps",
                why="The OD API raises ValueError while it builds the optimizer.",
                fix=shorter,
            )
        elif total == warmup and not hold:
            yield from self._divides_by_zero(subject, steps, total, shorter)
        if warmup and base < start:
            yield self.finding(
                "warmup_lr_above_base",
                Severity.FATAL,
                fields=[f"{path}.warmup_learning_rate", f"{path}.learning_rate_base"],
                found=f"warm-up starts at {number(start)}, above the {number(base)} it leads to"
                + _where_unset(cosine, "warmup_learning_rate"),
                expected=f"at most {number(base)}",
                why="The OD API raises ValueError in the first step: learning_rate_base must be "
                "larger or equal to warmup_learning_rate.",
                fix=[FieldFix(f"{path}.warmup_learning_rate", _start_that_fits(subject, base))],
            )

    def _divides_by_zero(
        self, subject: Subject, steps: list[str], total: int, shorter: list[FieldFix]
    ) -> Iterator[Finding]:
        reached = run_steps(subject) > total
        yield self.finding(
            "warmup_equals_schedule",
            Severity.FATAL if reached else Severity.WARNING,
            fields=steps,
            found=f"warmup_steps and total_steps are both {number(total)}, and the run makes "
            f"{number(run_steps(subject))} steps",
            expected="warmup_steps below total_steps",
            why=f"The cosine after the warm-up is divided by its length of 0: the learning rate "
            f"of step {number(total)} is NaN, and so is every weight from then on."
            if reached
            else "The learning rate only climbs; one more step would have divided by zero and "
            "made every weight NaN.",
            loss_ap=3.0,  # judged: a run that ends at its highest rate
            fix=shorter if total else steps_fix(steps[1], max(1, run_steps(subject))),
        )


def _where_unset(message: object, name: str) -> str:
    is_set = message.HasField(name)  # type: ignore[attr-defined]
    return "" if is_set else f" ({name} is not set, so that is the proto's default)"


def _start_that_fits(subject: Subject, base: float) -> float:
    reference = subject.reference_quantities
    share = reference.lr_start / reference.lr_base if reference.lr_base else 0.1
    return rounded(base * (share if 0 <= share <= 1 else 0.1))
