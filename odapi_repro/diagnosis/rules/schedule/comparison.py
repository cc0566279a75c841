"""What the schedule rules compare: the rate a run reaches, its real steps, and what it starts from.

Not a rule. Numbers come from the quantities; how far each family stands a rate that is too high is
judged, from the outcomes named at `_STANDS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from odapi_repro.diagnosis.finding import FieldFix
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend

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
