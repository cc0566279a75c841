"""Warm-ups that the run does not finish, and warm-ups that are hardly one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.schedule.comparison import (
    compare_peaks,
    fitting_warmup,
    learning_rate_path,
    number,
    rounded,
    run_steps,
    start_of,
    steps_fix,
)
from odapi_repro.diagnosis.subject import Subject

# Share of a run; the reference configs have 0 to 0.1.
_LONGEST = 0.25
_FIELDS = {"cosine": "warmup_steps", "exponential": "burnin_steps", "manual_step": "warmup"}


class WarmupLength(Rule):
    """The warm-up does not fit the run.

    One that is longer than the run makes the learning rate climb all the time: training ends at
    its highest and noisiest rate, and never anneals. One that is cut short lets a high rate meet
    heads that are still random. Between both, one of a quarter of the run and more is what is left
    of a longer run's.

    Anti-pattern

        num_steps: 3000
        optimizer { momentum_optimizer { learning_rate { cosine_decay_learning_rate {
          warmup_steps: 5000               # left from a run of 200,000 steps
        } } } }

    Best practice

    Warm up for 1 to 10 % of the run, as the zoo's configs do, and no fewer than some hundred steps
    where the rate is the reference's.

    Source

    utils/learning_schedules.cosine_decay_with_warmup; Goyal et al. 2017, arXiv 1706.02677, section
    2.2. No usable number for the length of a warm-up on COCO was found: it is to be measured.
    """

    code: ClassVar[str] = "LR003"
    name: ClassVar[str] = "lr.warmup_length"
    causes: ClassVar[tuple[str, ...]] = ("warmup_not_finished", "warmup_too_short")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Holds the warm-up against the run's steps, then against the reference's images."""
        if subject.schedule.refusal or not subject.schedule.kind or not run_steps(subject):
            return
        if subject.schedule.warmup_steps >= _LONGEST * run_steps(subject):
            yield self._not_finished(subject)
        else:
            yield from self._too_short(subject)

    def _not_finished(self, subject: Subject) -> Finding:
        warmup, steps = subject.schedule.warmup_steps, run_steps(subject)
        unfinished = warmup >= steps
        peaks = compare_peaks(subject)
        high = peaks is not None and peaks.fails
        severity = Severity.CRITICAL if high else Severity.WARNING
        reached = subject.schedule.at(steps - 1)
        return self.finding(
            "warmup_not_finished",
            severity if unfinished else Severity.WARNING,
            fields=[_field(subject), "train_config.num_steps"],
            found=f"warm-up takes {number(warmup)} steps, the run {number(steps)}: it ends at "
            f"{number(reached)}, its highest learning rate"
            if unfinished
            else f"warm-up takes {number(warmup)} of {number(steps)} steps",
            expected=f"{_share(subject):.0%} of the run, as in the reference",
            why="The learning rate climbs until the last step, so the weights never settle."
            if unfinished
            else "Until then the rate is below its base, and the rest is so much shorter.",
            # Judged: more than a missing decay (1.5 AP on VOC), most where the rate is too high.
            loss_ap=6.0 if unfinished and high else 2.5 if unfinished else 0.5,
            fix=_shortened(subject, steps),
        )

    def _too_short(self, subject: Subject) -> Iterator[Finding]:
        own, reference = subject.quantities, subject.reference_quantities
        before, now = _rising_images(subject, reference=True), _rising_images(subject)
        if not before or now >= 0.24 * before:
            return
        peaks = compare_peaks(subject)
        # As many steps of a smaller batch are as long a warm-up, for a rate cut with the batch; a
        # rate that was not cut is another rule's finding.
        if now and own.warmup_steps >= 0.5 * reference.warmup_steps:
            return
        if peaks is None or (peaks.ratio <= 1.1 and start_of(subject.pipeline) == "detector"):
            return
        risky = peaks.ratio > 1.1 and peaks.peak >= 0.5 * peaks.reference_peak
        length = f"{number(own.warmup_steps)} steps, {number(now)} images" if now else "none"
        yield self.finding(
            "warmup_too_short",
            Severity.WARNING if risky else Severity.INFO,
            fields=[_field(subject)],
            found=f"the warm-up to {number(peaks.peak)} is {length}",
            expected=f"{number(reference.warmup_steps)} steps, {number(before)} images",
            why="The first steps at a high rate go wherever random heads send them; where they "
            "do not diverge, they cost the pretrained weights."
            if risky
            else "In images it is shorter than the reference's; at a rate that was cut with the "
            "batch that does little.",
            loss_ap=1.5 if risky else 0.1,  # judged: nothing usable is published
            fix=_as_the_references(subject),
        )


def _rising_images(subject: Subject, *, reference: bool = False) -> int:
    """Images during warm-up; 0 for one that starts at nine tenths of the base rate or above."""
    quantities = subject.reference_quantities if reference else subject.quantities
    rises = quantities.lr_start < 0.9 * quantities.lr_base
    return quantities.warmup_images if rises else 0


def _field(subject: Subject) -> str:
    path = learning_rate_path(subject.pipeline)
    name = _FIELDS.get(subject.schedule.kind)
    return f"{path}.{name}" if name else path


def _share(subject: Subject) -> float:
    reference = subject.reference_quantities
    share = reference.warmup_steps / reference.num_steps if reference.num_steps else 0.0
    return share if 0 < share < 0.5 else 0.02


def _as_the_references(subject: Subject) -> list[FieldFix]:
    own, reference = subject.quantities, subject.reference_quantities
    if subject.schedule.kind != "cosine" or own.num_steps <= 4 * reference.warmup_steps:
        return []
    rate = rounded(own.lr_base * reference.lr_start / reference.lr_base)
    field = f"{learning_rate_path(subject.pipeline)}.warmup_learning_rate"
    return [*steps_fix(_field(subject), reference.warmup_steps), FieldFix(field, rate)]


def _shortened(subject: Subject, steps: int) -> list[FieldFix]:
    if subject.schedule.kind not in ("cosine", "exponential"):
        return []
    return steps_fix(_field(subject), fitting_warmup(subject, steps))
