"""The sum of the learning rate over the run against the reference's, at this batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.comparison import (
    PeakComparison,
    compare_peaks,
    epsilon_of,
    learning_rate_path,
    number,
    peak_field,
    run_steps,
    scaled_rates,
    start_of,
    trains_on_coco,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import read_schedule

# A share counts as under a bound from 5 % below it: recipes name round shares.
_SLACK = 0.95
# A reference with a higher peak is taken at this one: ssd_mobilenet_v2_320 has 0.8, 2.5 times the
# rate per image of the zoo's others. Judged: that it needs so much nobody has shown.
_BOLD = 0.3
# The usual rate of Adam for detectors, and sums of its rate over a run: under the first no weight
# of a new head gets further than it is from 0 at the start, the second is judged.
_ADAM_RATE = 1e-4
_MOVED = (0.01, 0.05)


class LowRate(Rule):
    """The learning rate is too low, or falls too early, to move the weights.

    What is compared is the sum of the rate over the run, with the reference's scaled to the batch,
    for as many images: how many images a run sees is another finding. So a peak that is too low
    and a schedule that falls in the first steps are one thing. A run that is longer than the
    reference's may be as much lower. Fine-tuning a detector wants less: a tenth is a recipe.

    Anti-pattern

        train_config {
          batch_size: 8                    # the reference's 0.08 at 128 is 0.005 here
          num_steps: 2000
          optimizer { momentum_optimizer { learning_rate { manual_step_learning_rate {
            initial_learning_rate: 0.0002
            schedule { step: 1000 learning_rate: 0.00002 }
          } } } }
        }

    Best practice

    The reference's rate, scaled to the batch; a tenth to a third of that to fine-tune a detector.
    Boundaries of manual steps in the last third of the run.

    Source

    Goyal et al. 2017, arXiv 1706.02677, section 2.1: k small steps move the weights about as far as
    one of their summed rate. Kingma and Ba 2015, arXiv 1412.6980, section 2.1: a step of Adam is
    about its rate at most. The bounds are judged. In tensorflow/models issue 10555 a fine-tuned
    detector finds nothing: at 1/24, if its batch was 8, which the issue does not state.
    """

    code: ClassVar[str] = "LR006"
    name: ClassVar[str] = "lr.low"
    causes: ClassVar[tuple[str, ...]] = ("lr_too_low_for_batch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding that is as severe as the share of the reference's sum is small."""
        peaks = compare_peaks(subject)
        if peaks is None:
            yield from self._none(subject)
            yield from self._of_adam(subject)
            return
        fine_tuned = start_of(subject.pipeline) == "detector"
        same_task = trains_on_coco(subject) and not fine_tuned
        share, peak_share = _share_of_sum(subject, peaks), max(peaks.ratio, peaks.sqrt_ratio)
        severity = _severity(share, fine_tuned=fine_tuned)
        if same_task and peak_share <= 1 / 2.1:
            told = Severity.WARNING if peak_share <= 1 / 3.9 else Severity.INFO
            severity = told if severity is None else min(severity, told)
        if severity is None:
            return
        if not subject.same_architecture:
            severity = max(severity, Severity.WARNING)
        lost = min(peak_share, share) if same_task else share  # a share that is NaN loses
        wanted = 1.0 if same_task else 0.2 if fine_tuned else 0.5
        early = peak_share > 2 * share
        expected = (
            f"{number(peaks.peak / peak_share)}: the reference's {number(peaks.reference_peak)} "
            f"at batch {peaks.reference_batch:,}, scaled"
        )
        yield self.finding(
            "lr_too_low_for_batch",
            severity,
            fields=[
                learning_rate_path(subject.pipeline) if early else peak_field(subject),
                "train_config.batch_size",
            ],
            found=f"the learning rate reaches {number(peaks.peak)} at batch {peaks.batch:,}, "
            f"{_part(peak_share)} of the reference's scaled to it"
            + (
                ""
                if math.isnan(share)
                else f"; summed over the run it is {_part(share)} of what the reference's would be "
                "for as many images"
            ),
            expected="a rate that falls later in the run" if early else expected,
            why=_why(severity, fine_tuned=fine_tuned, same_task=same_task),
            # Judged: 1.5 AP for each halving, three times that where next to nothing is learned.
            loss_ap=min(
                60.0 if severity is Severity.CRITICAL else 15.0,
                (4.5 if severity is Severity.CRITICAL else 1.5) * math.log2(1 / max(lost, 1e-9)),
            )
            if severity < Severity.INFO
            else 0.2,
            evidence=published("batch_8x_lr_kept") if peaks.batch_ratio > 1 else (),
            fix=scaled_rates(subject, peaks.peak / peak_share * wanted)
            if peak_share < _SLACK * wanted
            else (),
        )

    def _none(self, subject: Subject) -> Iterator[Finding]:
        """A rate that is never above 0."""
        steps = run_steps(subject)
        peak = subject.schedule.peak_within(steps)
        if subject.schedule.kind and steps and peak <= 0:
            yield self.finding(
                "lr_too_low_for_batch",
                Severity.CRITICAL,
                fields=[peak_field(subject)],
                found=f"the learning rate is never above {number(peak)}",
                expected="a rate above 0",
                why="No step takes the loss down: the weights end as they started, or worse.",
                loss_ap=60.0,
            )

    def _of_adam(self, subject: Subject) -> Iterator[Finding]:
        """Adam in place of SGD, whose rates cannot be compared: what its steps add up to."""
        own, reference = subject.quantities.optimizer, subject.reference_quantities.optimizer
        steps = run_steps(subject)
        total = subject.schedule.sum_within(steps)
        if own != "adam" or reference == "adam" or epsilon_of(subject.pipeline) >= 1e-3:
            return
        if not 0 < total < _SLACK * _MOVED[1] or total / steps > _ADAM_RATE / 50:
            return
        still = total < _MOVED[0]
        yield self.finding(
            "lr_too_low_for_batch",
            Severity.CRITICAL if still else Severity.WARNING,
            fields=[peak_field(subject)],
            found=f"the learning rates of Adam add up to {number(total)} in {number(steps)} steps",
            expected=f"{number(_ADAM_RATE)} or more a step",
            why="Adam moves a weight by about its rate in a step, so hardly further than that sum "
            "in the whole run; weights of new heads start some 0.01 from 0.",
            loss_ap=30.0 if still else 5.0,  # judged
            fix=scaled_rates(subject, _ADAM_RATE),
        )


def _severity(share: float, *, fine_tuned: bool) -> Severity | None:
    if not share < _SLACK / 5:
        return None
    if share < _SLACK / 20:
        return Severity.CRITICAL
    return Severity.INFO if fine_tuned and share >= _SLACK / 10 else Severity.WARNING


def _share_of_sum(subject: Subject, peaks: PeakComparison) -> float:
    """The run's sum over that of the reference's schedule for as many images; NaN without one.

    Steps after a cosine's end have no rate and are the schedule's finding, not counted here.
    """
    steps = run_steps(subject)
    if subject.schedule.kind == "cosine":
        steps = min(steps, subject.schedule.end_step or 0)
    reference = subject.reference_quantities
    whole = read_schedule(subject.reference_pipeline.proto).sum_within(reference.num_steps)
    # The rule that asks for less: linear under the reference's batch, the root above it.
    scale = min(peaks.batch_ratio, math.sqrt(peaks.batch_ratio))
    expected = whole / max(reference.num_steps, 1) * scale * min(1.0, _BOLD / peaks.reference_peak)
    longer = max(1.0, steps * peaks.batch / max(reference.images_seen, 1))
    if not steps or not 0 < expected < math.inf:
        return math.nan
    return subject.schedule.sum_within(steps) * longer / (expected * steps)


def _part(share: float) -> str:
    if share >= 1.5:
        return f"{number(share)} times"
    return f"1/{number(1 / share)}" if 0 < share < 0.5 else f"{share:.0%}"


def _why(severity: Severity, *, fine_tuned: bool, same_task: bool) -> str:
    if severity is Severity.INFO:
        return (
            "A small rate suits fine-tuning; one this small leaves new heads little to learn by."
            if fine_tuned
            else "The weights move less than the reference's."
        )
    if severity is Severity.CRITICAL:
        return (
            "The weights hardly move: heads for new classes start at random and stay near that, "
            "with low scores or no detections."
        )
    return (
        "The weights move too little in the steps there are: the run ends before it has learned "
        "what the reference learns."
        if same_task
        else "The weights move too little in the steps there are."
    )
