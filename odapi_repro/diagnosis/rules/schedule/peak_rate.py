"""The highest learning rate of the run against the reference's, at this batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.comparison import (
    PeakComparison,
    compare_peaks,
    number,
    peak_field,
    scaled_rates,
    start_of,
)
from odapi_repro.diagnosis.subject import Subject

# From here on the linear rule is broken by more than the spread of public configs that train well.
_HIGH = 3.9


class PeakRate(Rule):
    """The learning rate is too high for the batch, or for the weights that are fine-tuned.

    What is compared is the highest rate that the run reaches: a warm-up that the run does not
    finish stops below the configured one. A rule that fires is no verdict. Of 92 public
    repositories 69 are more than fourfold above the linear rule, and some train well: so the
    severity weighs the ratio, the family, and whether good weights are there to be lost.

    Anti-pattern

        train_config {
          batch_size: 2                  # the reference has 128
          optimizer { momentum_optimizer { learning_rate { cosine_decay_learning_rate {
            learning_rate_base: 0.08     # and left this as it was
          } } } }
        }

    Best practice

    Multiply the reference's rates by batch / reference batch (momentum) or by its root (Adam), and
    keep the images seen. To fine-tune a detector, stay at or below that.

    Source

    Goyal et al. 2017, arXiv 1706.02677, section 2.1; Malladi et al. 2022, arXiv 2205.10287, for
    Adam. Gradients are averaged over the global batch: model_lib_v2.eager_train_step.
    """

    code: ClassVar[str] = "LR001"
    name: ClassVar[str] = "lr.peak"
    causes: ClassVar[tuple[str, ...]] = (
        "lr_too_high_for_batch",
        "lr_too_high_finetune",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the peaks by the rule that fits the optimizer."""
        peaks = compare_peaks(subject)
        if peaks is None:
            return
        fine_tuned = start_of(subject.pipeline) == "detector"
        # A batch near the reference's explains no high rate: then it is the starting point that
        # asks for a lower one.
        if peaks.ratio >= _HIGH and not (fine_tuned and peaks.batch_ratio >= 0.5):
            yield self._too_high(subject, peaks, fine_tuned)
        elif fine_tuned and start_of(subject.reference_pipeline) != "detector":
            yield from self._fine_tuning(subject, peaks)

    def _too_high(self, subject: Subject, peaks: PeakComparison, fine_tuned: bool) -> Finding:
        critical = peaks.fails
        finished = subject.schedule.warmup_steps < subject.quantities.num_steps
        start = (
            "It starts from a trained detector, whose weights such steps undo"
            if fine_tuned
            else "Small batches give noisy gradients, and such steps follow the noise"
        )
        outcome = (
            "at such a multiple, runs of this family diverged or lost much of their AP."
            if critical
            else "some runs of this family stand it, at a cost that only a run tells."
        )
        return self.finding(
            "lr_too_high_for_batch",
            Severity.CRITICAL if critical else Severity.WARNING,
            fields=[peak_field(subject), "train_config.batch_size"],
            found=f"the learning rate reaches {number(peaks.peak)} at batch {peaks.batch:,}, "
            f"{number(peaks.ratio)} times what the {peaks.rule} rule gives"
            + _other_rule(peaks)
            + ("" if finished else "; it still climbs when the run ends"),
            expected=f"{number(peaks.expected)}: the reference's "
            f"{number(peaks.reference_peak)} at batch {peaks.reference_batch:,}, scaled",
            why=f"{start}; {outcome}",
            # Published: about 10 AP at 8 times, which is 3.3 for each doubling; a family that
            # stands more is taken to lose a third as much.
            loss_ap=_loss(peaks.ratio) * (1.0 if critical else 0.33),
            evidence=published("lr_8x", "lr_8x_nan")
            if peaks.ratio >= 6
            else published("lr_2x", "lr_8x"),
            fix=scaled_rates(subject, peaks.expected),
        )

    def _fine_tuning(self, subject: Subject, peaks: PeakComparison) -> Iterator[Finding]:
        if peaks.ratio < 0.99:
            return
        last = subject.schedule.at(max(0, subject.quantities.num_steps - 1))
        settles = not last > 0.5 * peaks.peak
        severity = Severity.WARNING if peaks.ratio >= 1.9 else Severity.INFO
        ending = (
            "The cosine takes it down in the end, so what is undone may be learned again."
            if settles
            else "It ends the run at more than half of that, so nothing is settled again."
        )
        yield self.finding(
            "lr_too_high_finetune",
            Severity.CRITICAL if peaks.fails else severity,
            fields=[peak_field(subject), "train_config.fine_tune_checkpoint_type"],
            found=f"a trained detector is fine-tuned at up to {number(peaks.peak)}, "
            f"{number(peaks.ratio)} times the rate of the training that made it",
            expected=f"a tenth to a third of that training's {number(peaks.expected)} "
            f"(at batch {peaks.batch:,})",
            why=f"Steps of that size move weights far from where they were good. {ending}",
            # Judged: half of what the same ratio costs a training from a backbone.
            loss_ap=max(0.5, 0.5 * _loss(peaks.ratio)) if severity < Severity.INFO else 0.3,
            fix=scaled_rates(subject, 0.2 * peaks.expected),
        )


def _loss(ratio: float) -> float:
    return min(30.0, 10.0 / 3.0 * max(0.0, math.log2(ratio)))


def _other_rule(peaks: PeakComparison) -> str:
    if peaks.adaptive:
        return ""
    if 0.95 < peaks.sqrt_ratio < 1.05:
        return ", and as much as the square-root rule gives"
    return f" and {number(peaks.sqrt_ratio)} times what the square-root rule gives"
