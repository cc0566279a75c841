"""Rules about the learning rate: its peak, its warmup and its scaling with the batch.

What the schedule rules compare: the rate a run reaches, its real steps, and what it starts from.

Not a rule. Numbers come from the quantities; how far each family stands a rate that is too high is
judged, from the outcomes named at `_STANDS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend, read_schedule

# model_lib_v2.NUM_STEPS_PER_ITERATION: steps run in blocks, so a run is rounded up to them.
BLOCK = 100

# Multiple of the linear rule from which a run of the family is known, or taken, to diverge or to
# lose most of its AP: from a backbone, and from a detector. Published from a backbone: about -10 AP
# at 8 (Faster R-CNN), NaN at 8 (RetinaNet). Seen from a detector: EfficientDet-D0 went NaN at 32,
# D1 ended at 7.7 AP at 13; SSD ResNet-50 lost half its mAP at 16; Mask R-CNN went NaN at 10 despite
# clipping; Faster R-CNN ResNet-50 reached 43.9 AP at 16, with a rate of 0.04; SSD MobileNet v2
# FPNLite trained well at 32, with a rate of 0.08.
_STANDS = {
    "efficientdet": (8.0, 10.0),
    "ssd_resnet": (8.0, 12.0),
    "faster_rcnn": (8.0, 32.0),
    "mask_rcnn": (8.0, 9.0),
    "ssd_mobilenet": (64.0, 64.0),
    "centernet": (16.0, 16.0),
}
_BOLD = 0.3  # ssd_mobilenet_v2_320 reaches 0.8: at a small batch, such a rate has no slack left


@dataclass(frozen=True)
class PeakComparison:
    """The highest learning rate of a run against the reference's.

    Attributes:
        peak: highest rate that the run reaches.
        reference_peak: the reference's.
        batch: images in a step.
        reference_batch: the reference's.
        stands: multiple of the rule at which this family is taken to fail.
        adaptive: whether both divide by the gradients' own size (Adam); the rule that applies is
            then the square root of the batch (Malladi et al. 2022, arXiv 2205.10287), else the
            linear one (Goyal et al. 2017, arXiv 1706.02677, section 2.1).
    """

    peak: float
    reference_peak: float
    batch: int
    reference_batch: int
    stands: float
    adaptive: bool

    @property
    def batch_ratio(self) -> float:
        """The run's batch over the reference's."""
        return self.batch / self.reference_batch

    @property
    def expected(self) -> float:
        """The reference's peak at this batch, by the rule that applies."""
        return self.reference_peak * (
            math.sqrt(self.batch_ratio) if self.adaptive else self.batch_ratio
        )

    @property
    def ratio(self) -> float:
        """The peak over what the rule expects; 1 is the reference's."""
        return self.peak / self.expected

    @property
    def sqrt_ratio(self) -> float:
        """The peak over what the square-root rule expects."""
        return self.peak / (self.reference_peak * math.sqrt(self.batch_ratio))

    @property
    def rule(self) -> str:
        """The name of the rule that applies."""
        return "square-root" if self.adaptive else "linear"

    @property
    def fails(self) -> bool:
        """Whether a run of this family is taken to diverge or to lose most of its AP."""
        # The milder rule must be broken too, with 1 % for float32: a batch far above the
        # reference's at an equal rate breaks neither.
        return self.ratio >= 0.99 * self.stands and self.sqrt_ratio >= 0.99


def compare_peaks(subject: Subject) -> PeakComparison | None:
    """Gives the comparison; None where rates of different optimizers or no rates are at hand."""
    own, reference = subject.quantities, subject.reference_quantities
    adaptive = is_adaptive(subject.pipeline)
    if adaptive != is_adaptive(subject.reference_pipeline) or not own.optimizer:
        return None
    if own.global_batch < 1 or reference.global_batch < 1:
        return None
    # Blocks of 100 take the warm-up a little further than num_steps says.
    peak = subject.schedule.peak_within(run_steps(subject))
    if not (0 < peak < math.inf and 0 < reference.lr_peak < math.inf):
        return None
    return PeakComparison(
        peak=peak,
        reference_peak=reference.lr_peak,
        batch=own.global_batch,
        reference_batch=reference.global_batch,
        stands=_stands(subject, peak),
        adaptive=adaptive,
    )


def _stands(subject: Subject, peak: float) -> float:
    """The multiple at which the family fails; none is known across architectures."""
    if not subject.same_architecture:
        return math.inf
    backbone, detector = _STANDS.get(subject.reference.family, (8.0, 12.0))
    start = start_of(subject.pipeline, path_missing=True)
    stands = detector if start == "detector" else backbone
    return min(stands, 32.0) if peak > _BOLD else stands


def is_adaptive(pipeline: Pipeline) -> bool:
    """Whether steps are divided by the gradients' own size: Adam, and RMSprop but for its epsilon.

    The proto's default epsilon of RMSprop is 1, under the root: with gradients well below 1 that
    divides by about 1, and leaves SGD with momentum.
    """
    kind = pipeline.proto.train_config.optimizer.WhichOneof("optimizer")
    return kind in ("adam_optimizer", "rms_prop_optimizer") and epsilon_of(pipeline) < 0.1


def epsilon_of(pipeline: Pipeline) -> float:
    """The epsilon of Adam or RMSprop; NaN for an optimizer that has none."""
    optimizer = pipeline.proto.train_config.optimizer
    kind = str(optimizer.WhichOneof("optimizer") or "")
    if kind not in ("adam_optimizer", "rms_prop_optimizer"):
        return math.nan
    return float(getattr(optimizer, kind).epsilon)


def run_steps(subject: Subject) -> int:
    """Steps that the run really makes: num_steps rounded up to whole blocks; 0 for none."""
    return max(0, -(-subject.quantities.num_steps // BLOCK) * BLOCK)


def steps_fix(field: str, steps: float) -> list[FieldFix]:
    """The edit that sets a number of steps; none where the proto's 32 bits do not hold it."""
    return [FieldFix(field, int(steps))] if 0 <= steps < 2**32 else []


def fitting_warmup(subject: Subject, steps: int) -> int:
    """Steps of warm-up for a run of that many: the reference's share, but at least 5 %.

    A short run at the share of a long one, 1 % in EfficientDet's, would hardly warm up.
    """
    reference = subject.reference_quantities
    share = reference.warmup_steps / reference.num_steps if reference.num_steps else 0.0
    return int(steps * (share if 0.05 < share < 0.5 else 0.05))


def start_of(pipeline: Pipeline, *, path_missing: bool = False) -> str:
    """What training starts from: `detector`, `backbone` or `nothing`, as the config means it.

    Unlike the quantity checkpoint_restore this takes a type that the OD API refuses for what it
    says: that another rule's finding is. With `path_missing` a type without a path counts, too:
    published configs often have the path taken out.
    """
    train = pipeline.proto.train_config
    kind = str(train.fine_tune_checkpoint_type)
    typed = bool(kind or train.from_detection_checkpoint)
    if not train.fine_tune_checkpoint and not (path_missing and typed):
        return "nothing"
    if kind in ("detection", "full", "fine_tune") or (not kind and train.from_detection_checkpoint):
        return "detector"
    return "backbone"


def trains_on_coco(subject: Subject) -> bool:
    """Whether the training records are COCO's by their names and the classes are the reference's.

    Only then can images seen be held against the reference's: a data set of one's own is another
    matter.
    """
    patterns = subject.pipeline.proto.train_input_reader.tf_record_input_reader.input_path
    named = all("coco" in pattern.lower() or "train2017" in pattern for pattern in patterns)
    classes = subject.quantities.num_classes == subject.reference_quantities.num_classes
    return bool(patterns) and named and classes


def learning_rate_path(pipeline: Pipeline) -> str:
    """The dotted path of the schedule's message; of the optimizer where there is no schedule."""
    optimizer = pipeline.proto.train_config.optimizer
    path = "train_config.optimizer"
    kind = str(optimizer.WhichOneof("optimizer") or "")
    if not kind:
        return path
    name = getattr(optimizer, kind).learning_rate.WhichOneof("learning_rate")
    return f"{path}.{kind}.learning_rate" + (f".{name}" if name else "")


def rate_fields(kind: str) -> tuple[str, ...]:
    """Names of the fields of a schedule that are rates, the one that decides first."""
    return {
        "cosine": ("learning_rate_base", "warmup_learning_rate"),
        "exponential": ("initial_learning_rate", "burnin_learning_rate"),
        "manual_step": ("initial_learning_rate",),
        "constant": ("learning_rate",),
    }.get(kind, ())


def peak_field(subject: Subject) -> str:
    """The dotted field that decides how high the rate gets."""
    names = rate_fields(subject.schedule.kind)
    path = learning_rate_path(subject.pipeline)
    return f"{path}.{names[0]}" if names else path


def scaled_rates(subject: Subject, peak: float) -> list[FieldFix]:
    """Edits that scale all rates of the schedule so that the highest is `peak`."""
    base = subject.schedule.base
    highest = subject.schedule.peak_within(max(run_steps(subject), subject.schedule.warmup_steps))
    factor = peak / max(highest, base if math.isfinite(base) else 0.0)
    if not 0 < factor < math.inf:
        return []
    path = learning_rate_path(subject.pipeline)
    schedule = descend(subject.pipeline.proto, path)
    edits = [
        FieldFix(f"{path}.{name}", rounded(factor * getattr(schedule, name)))
        for name in rate_fields(subject.schedule.kind)
        if getattr(schedule, name)
    ]
    if subject.schedule.kind == "manual_step":
        edits += [
            FieldFix(
                f"{path}.schedule[{index}].learning_rate", rounded(factor * entry.learning_rate)
            )
            for index, entry in enumerate(schedule.schedule)
        ]
    return edits


def number(value: float) -> str:
    """A number as a person writes it: `600,000`, `0.08`, `1.2 million`, `6.2e-05`."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g} million" if abs(value) < 1e9 else f"{value / 1e9:.3g} billion"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def rounded(value: float) -> float:
    """A rate for a config: four digits, without the noise of float32."""
    return float(f"{value:.4g}") if math.isfinite(value) else value


# A share counts as under a bound from 5 % below it: recipes name round shares.
_SLACK = 0.95
# A reference with a higher peak is taken at this one: ssd_mobilenet_v2_320 has 0.8, 2.5 times the
# rate per image of the zoo's others. Judged: that it needs so much nobody has shown.
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
            else "some runs of this family survive it, at a cost that only a run shows."
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
