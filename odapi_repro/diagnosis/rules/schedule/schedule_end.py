"""Where the schedule ends against where the run does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.schedule.comparison import (
    BLOCK,
    compare_peaks,
    fitting_warmup,
    learning_rate_path,
    number,
    run_steps,
    start_of,
    steps_fix,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

_CONSTANT = Evidence(
    -1.5,
    "https://github.com/gau-nernst/centernet-lightning/blob/"
    "5d5f73dd873c20e96057c426479ac357f91fb9cf/docs/experiments.md",
    "a rate that rises and falls over the run -> a constant one, CenterNet R18-FPN, VOC 2012 (mAP)",
)
_SPENT = 0.01  # share of the peak below which an exponential or stepped rate trains no more


class ScheduleEnd(Rule):
    """The schedule is made for another number of steps than the run has.

    `--num_train_steps` changes num_steps and leaves total_steps as it is, so a short run with it
    ends long before the rate comes down.

    Anti-pattern

        num_steps: 30000
        optimizer { momentum_optimizer { learning_rate { cosine_decay_learning_rate {
          total_steps: 300000              # at step 30,000 the rate is still at 99 %
        } } } }

    Best practice

    total_steps equal to num_steps, and boundaries of manual steps inside the run.

    Source

    utils/learning_schedules: the cosine is 0 after total_steps, where only momentum's rest and the
    statistics of batch norm still change the model. model_main_tf2.py, config_util.py
    (_update_train_steps). A decay over the run against a constant rate: 1.5 mAP on VOC
    (experiment 3 in gau-nernst/centernet-lightning, docs/experiments.md).
    """

    code: ClassVar[str] = "LR004"
    name: ClassVar[str] = "lr.schedule_end"
    causes: ClassVar[tuple[str, ...]] = (
        "cosine_horizon_longer_than_run",
        "cosine_horizon_shorter_than_run",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the rate of the last step, then at the steps that are left without one."""
        schedule, steps = subject.schedule, run_steps(subject)
        if schedule.refusal or not schedule.kind or not steps:
            return
        peak = schedule.peak_within(steps)
        if not 0 < peak < math.inf:
            return
        idle = _idle_steps(subject, peak)
        if idle >= max(BLOCK, 0.01 * steps):
            yield self._shorter(subject, idle)
        elif schedule.at(steps - 1) > 0.01 * peak:
            yield from self._longer(subject, peak)

    def _longer(self, subject: Subject, peak: float) -> Iterator[Finding]:
        schedule, steps = subject.schedule, run_steps(subject)
        last, reference = schedule.at(steps - 1), subject.reference_quantities
        share = last / peak
        if reference.lr_last > 0.1 * reference.lr_peak:
            return
        told = _planned(subject)
        if not told and share <= 0.1:
            return
        # A constant or slowly falling rate is a choice that fine-tuning stands; a plan that the
        # run does not reach is a slip.
        slip = bool(told) or start_of(subject.pipeline) != "detector"
        warned = share >= 0.1 and slip
        peaks = compare_peaks(subject)
        high = peaks is not None and peaks.ratio > 2
        yield self.finding(
            "cosine_horizon_longer_than_run",
            Severity.WARNING if warned else Severity.INFO,
            fields=[_end_field(subject), "train_config.num_steps"],
            found=f"the last step trains at {number(last)}, {share:.0%} of the peak"
            + (f": {told}" if told else f": the rate is {_KINDS[schedule.kind]}"),
            expected="a rate that has come down to 0 by the last step"
            if reference.lr_last < 0.001 * reference.lr_peak
            else f"a rate of {number(reference.lr_last)} in the last step",
            why="The last AP comes while the rate falls: a model taken at a high rate still "
            "swings around what it could reach.",
            # Published: 1.5 mAP for no decay at all; judged: twice that where the rate is high.
            loss_ap=1.5 * share * (2.0 if high else 1.0) if warned else 0.2,
            evidence=[_CONSTANT],
            fix=_ends_with_run(subject, steps),
        )

    def _shorter(self, subject: Subject, idle: int) -> Finding:
        steps = run_steps(subject)
        share = idle / steps
        cosine = subject.schedule.kind == "cosine"
        rate = "0" if cosine else f"less than {_SPENT:.0%} of the peak"
        return self.finding(
            "cosine_horizon_shorter_than_run",
            Severity.WARNING if share >= 0.05 else Severity.INFO,
            fields=[_end_field(subject), "train_config.num_steps"],
            found=f"{number(idle)} of {number(steps)} steps ({share:.0%}) train at a learning "
            f"rate of {rate}",
            expected="a schedule that ends with the run",
            why="Those steps cost their time and change no weight; batch-norm statistics drift on."
            if cosine
            else "Those steps cost their time and hardly change a weight.",
            # Judged: AP is lost only in so far as the steps were wanted.
            loss_ap=3.0 * share if share >= 0.05 else 0.1,
            fix=_ends_with_run(subject, steps),
        )


_KINDS = {
    "constant": "constant",
    "exponential": "falling too slowly",
    "manual_step": "not stepped down further",
    "cosine": "held until the end",
}


def _idle_steps(subject: Subject, peak: float) -> int:
    """Steps at the end of the run that are trained at (next to) no rate."""
    schedule, steps = subject.schedule, run_steps(subject)
    if schedule.kind == "cosine":
        return max(0, steps - (schedule.end_step or 0))
    if schedule.at(steps - 1) > _SPENT * peak:
        return 0
    # The rate only falls once the warm-up is over, so the last step above is found by halving.
    low, high = min(schedule.warmup_steps, steps - 1), steps - 1
    while low < high:
        middle = (low + high) // 2
        if schedule.at(middle) > _SPENT * peak:
            low = middle + 1
        else:
            high = middle
    # Manual steps end low by design: the zoo's CenterNet takes its last seventh at 1 %.
    idle = steps - low
    return idle if schedule.kind == "exponential" or idle > 0.5 * steps else 0


def _planned(subject: Subject) -> str:
    """What the schedule would still have done after the run; empty where nothing."""
    schedule, steps = subject.schedule, run_steps(subject)
    if schedule.kind == "cosine" and (schedule.end_step or 0) > steps:
        return f"total_steps is {number(schedule.end_step or 0)}, the run has {number(steps)}"
    if schedule.kind == "manual_step":
        beyond = [step for step in schedule.corners if step >= steps]
        if beyond:
            return (
                f"{len(beyond)} of {len(schedule.corners)} boundaries lie beyond the run, the "
                f"next at step {number(beyond[0])}"
            )
    return ""


def _end_field(subject: Subject) -> str:
    path = learning_rate_path(subject.pipeline)
    name = {"cosine": ".total_steps", "exponential": ".decay_steps", "manual_step": ".schedule"}
    return path + name.get(subject.schedule.kind, "")


def _ends_with_run(subject: Subject, steps: int) -> list[FieldFix]:
    path = learning_rate_path(subject.pipeline)
    num_steps = subject.quantities.num_steps
    if subject.schedule.kind == "cosine":
        edits = steps_fix(f"{path}.total_steps", num_steps)
        if subject.schedule.warmup_steps >= num_steps:  # total_steps below it would be refused
            edits += steps_fix(f"{path}.warmup_steps", fitting_warmup(subject, num_steps))
        return edits
    if subject.schedule.kind == "manual_step":
        last = max(subject.schedule.corners, default=0)
        entries = descend(subject.pipeline.proto, path).schedule
        # As a share of the run, the last boundary where the zoo's manual schedules have it: 6/7.
        moved = [max(1, int(entry.step * steps * 6 / 7 / last)) for entry in entries if last]
        if len(set(moved)) == len(entries) and moved == sorted(moved):
            return [
                FieldFix(f"{path}.schedule[{index}].step", step) for index, step in enumerate(moved)
            ]
    return []
