"""Rules about the optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.learning_rate import (
    compare_peaks,
    is_adaptive,
    learning_rate_path,
    number,
    rate_fields,
    rounded,
    run_steps,
    steps_fix,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

_NAMES = {"momentum": "SGD with momentum", "adam": "Adam", "rms_prop": "RMSprop"}
# Keras's default rate for Adam; detectors are trained with Adam at 1e-5 to 1e-3 (CenterNet's
# configs in the zoo: 1e-3 at batch 128).
_ADAM_RATE = 1e-3
_ADAM_DEFAULTS = Evidence(
    None,
    "https://github.com/pierluigiferrari/ssd_keras/issues/211",
    "SGD with momentum -> Adam at its defaults, SSD300 VGG16, VOC07+12: 48 mAP where SGD "
    "reproduced the published value",
)


class OptimizerKind(Rule):
    """The optimizer was replaced, and its learning rate perhaps not.

    Adam divides each gradient by its own size, so a weight moves by about the learning rate in
    every step; SGD moves it by the rate times the gradient. 0.03 is a usual rate for one and ruins
    a network in a few steps of the other.

    Anti-pattern

        optimizer { adam_optimizer { learning_rate { cosine_decay_learning_rate {
          learning_rate_base: 0.03         # SGD's
        } } } }

    Best practice

    Keep the reference's optimizer. With Adam in place of SGD, start at 1e-4, and search.

    In TF2, `decay` of rms_prop_optimizer is not the decay of the squared gradients (that stays at
    0.9): it divides the learning rate by 1 + decay x step. Its default in the proto is 0.9, so set
    it to 0.

    Source

    builders/optimizer_builder.build_optimizers_tf_v2; OptimizerV2._decayed_lr in Keras 2
    (lr / (1 + decay x iterations)); Kingma and Ba 2014, arXiv 1412.6980, section 2.1.
    """

    code: ClassVar[str] = "OPT001"
    name: ClassVar[str] = "optimizer.kind"
    causes: ClassVar[tuple[str, ...]] = (
        "adam_with_sgd_lr",
        "optimizer_replaced",
        "rms_prop_decay_cuts_lr",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the optimizers, then the rate with what the new one stands."""
        own, reference = subject.quantities.optimizer, subject.reference_quantities.optimizer
        if not own:
            return
        yield from self._rms_prop_decay(subject)
        if own == reference:
            return
        # Adam without a rate to speak of falls to the other finding.
        if is_adaptive(subject.pipeline) and not is_adaptive(subject.reference_pipeline):
            peak = subject.schedule.peak_within(run_steps(subject))
            if peak > 1.01 * _ADAM_RATE:
                yield self._sgd_rate(subject, peak)
                return
        yield self._replaced(subject, own, reference)

    def _sgd_rate(self, subject: Subject, peak: float) -> Finding:
        path = learning_rate_path(subject.pipeline)
        schedule = descend(subject.pipeline.proto, path)
        highest = max(peak, subject.schedule.base)
        return self.finding(
            "adam_with_sgd_lr",
            # Judged: 0.03 gave an mAP of 0.002; 0.002 is only twice a rate that works.
            Severity.CRITICAL if peak >= 2.5 * _ADAM_RATE else Severity.WARNING,
            fields=[f"{path}.{rate_fields(subject.schedule.kind)[0]}"],
            found=f"{_NAMES[subject.quantities.optimizer]} is run at up to {number(peak)}, in "
            "place of SGD",
            expected=f"1e-4 to {number(_ADAM_RATE)} for this optimizer",
            why="It moves every weight by about its rate in every step, whatever the gradient: at "
            f"{number(peak)} that is {number(peak / 1e-4)} times a usual step for detectors, and "
            "pretrained weights are gone after a few.",
            loss_ap=20.0 if peak >= 2.5 * _ADAM_RATE else 4.0,  # judged
            evidence=[_ADAM_DEFAULTS],
            fix=[
                FieldFix(f"{path}.{name}", rounded(1e-4 * float(getattr(schedule, name)) / highest))
                for name in rate_fields(subject.schedule.kind)
                if getattr(schedule, name) and highest < float("inf")
            ],
        )

    def _replaced(self, subject: Subject, own: str, reference: str) -> Finding:
        return self.finding(
            "optimizer_replaced",
            Severity.WARNING,
            fields=["train_config.optimizer"],
            found=f"the optimizer is {_NAMES[own]}, at up to {number(subject.quantities.lr_peak)}",
            expected=f"{_NAMES.get(reference, reference)}, at up to "
            f"{number(subject.reference_quantities.lr_peak)}",
            why="The reference's learning rate, its schedule and its weight decay (an L2 term in "
            "the loss, which Adam divides away) were chosen for another optimizer.",
            # Published: +0.4 for AdamW with its rate chosen anew; -6.5 and worse where it was not.
            loss_ap=2.0,
            evidence=(*published("sgd_to_adamw", "plateau"), _ADAM_DEFAULTS)
            if own == "adam"
            else (),
        )

    def _rms_prop_decay(self, subject: Subject) -> Iterator[Finding]:
        if subject.quantities.optimizer != "rms_prop":
            return
        optimizer = subject.pipeline.proto.train_config.optimizer.rms_prop_optimizer
        decay, steps = float(optimizer.decay), run_steps(subject)
        divisor = 1 + decay * steps
        if not divisor > 1.1:
            return
        unset = "" if optimizer.HasField("decay") else ", the proto's default"
        yield self.finding(
            "rms_prop_decay_cuts_lr",
            Severity.CRITICAL if decay * steps >= 10 else Severity.WARNING,
            fields=["train_config.optimizer.rms_prop_optimizer.decay"],
            found=f"decay {number(decay)}{unset}, divides the learning rate by "
            f"{number(1 + 100 * decay)} after 100 steps and by {number(divisor)} at the end",
            expected="decay 0",
            why="In TF2 it is a decay of the learning rate over time, on top of the schedule; "
            "TensorBoard shows the schedule's rate all the same.",
            loss_ap=25.0 if decay * steps >= 10 else 1.0,  # judged: hardly anything is trained
            fix=[FieldFix("train_config.optimizer.rms_prop_optimizer.decay", 0.0)],
        )


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
        return "The default rate was not chosen for any model."
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


_REGULARIZATION = "train_config.add_regularization_loss"


class MomentumAndDecay(Rule):
    """Momentum or weight decay differ from the reference's.

    Momentum is a factor on the learning rate: steps add up to rate / (1 - momentum), so 0.99 in
    place of 0.9 is ten times the rate.

    Anti-pattern

        momentum_optimizer { momentum_optimizer_value: 0.99 }
        l2_regularizer { weight: 0.04 }          # for 0.0004

    Best practice

    Keep both. Where momentum has to change, scale the rate by (1 - momentum).

    Source

    Goh 2017, "Why Momentum Really Works", distill.pub, doi 10.23915/distill.00006, for the factor.
    hyperparams_builder halves the weight for Keras's L2, so that it means what it did in slim. For
    SGD's weight decay on COCO no published number was found: it is to be measured.
    """

    code: ClassVar[str] = "OPT005"
    name: ClassVar[str] = "optimizer.momentum_and_decay"
    causes: ClassVar[tuple[str, ...]] = ("momentum_changed", "weight_decay_changed")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the momentum of equal optimizers, and the L2 weights of equal architectures."""
        own, reference = subject.quantities, subject.reference_quantities
        if own.optimizer == reference.optimizer and own.momentum != reference.momentum:
            yield from self._momentum(subject)
        if subject.same_architecture:
            yield from self._weight_decay(subject)

    def _momentum(self, subject: Subject) -> Iterator[Finding]:
        own, reference = subject.quantities.momentum, subject.reference_quantities.momentum
        if own is None or reference is None or not 0 <= reference < 1:
            return
        field = f"train_config.optimizer.{subject.quantities.optimizer}_optimizer"
        field += ".momentum_optimizer_value"
        refused = not 0 <= own <= 1
        factor = (1 - reference) / (1 - own) if own < 1 else float("inf")
        severity = Severity.INFO if 1 / 3 < factor < 3 else Severity.WARNING
        if factor > 20:
            severity = Severity.CRITICAL
        if refused:
            severity = Severity.FATAL
        yield self.finding(
            "momentum_changed",
            severity,
            fields=[field],
            found=f"momentum is {number(own)}",
            expected=number(reference),
            why="Keras refuses it: momentum must be between 0 and 1."
            if refused
            else f"Steps add up to {_times(factor)} the length that they have with "
            f"{number(reference)}, as if the learning rate were so much different.",
            # Judged: as a rate off by the factor.
            loss_ap=0.2 if severity is Severity.INFO else 3.0,
            fix=[FieldFix(field, float(f"{reference:.4g}"))],
        )

    def _weight_decay(self, subject: Subject) -> Iterator[Finding]:
        own, reference = subject.quantities.weight_decay, subject.reference_quantities.weight_decay
        off = not subject.pipeline.proto.train_config.add_regularization_loss
        if not reference or own == reference or (own or 0.0) != (own or 0.0):
            return
        factor = (own or 0.0) / reference
        strong = factor >= 10
        field = _REGULARIZATION if off else _weight_field(subject)
        yield self.finding(
            "weight_decay_changed",
            Severity.WARNING if strong else Severity.INFO,
            fields=[field],
            found="no weight decay: add_regularization_loss is false"
            if off
            else f"weight decay is {number(own or 0.0)}, {_times(factor)} the reference's"
            if own
            else "there is no weight decay",
            expected=number(reference),
            why="The L2 term outweighs the loss of the detections, and shrinks what they need."
            if strong
            else "No published number says what that costs with SGD on COCO.",
            loss_ap=3.0 if strong else 0.3,  # judged
            fix=[FieldFix(field, True if off else float(f"{reference:.4g}"))]
            if off or own is not None
            else [],
        )


def _weight_field(subject: Subject) -> str:
    """The path of the weight that the quantity weight_decay is."""
    model = subject.pipeline.model
    if subject.pipeline.meta_architecture == "faster_rcnn":
        path = "model.faster_rcnn.first_stage_box_predictor_conv_hyperparams"
    else:
        kind = descend(model, "box_predictor").WhichOneof("box_predictor_oneof")
        if kind is None:
            return "model.ssd.box_predictor"
        path = f"model.ssd.box_predictor.{kind}.conv_hyperparams"
    return f"{path}.regularizer.l2_regularizer.weight"


def _times(factor: float) -> str:
    return f"{number(factor)} times" if factor >= 1 or not factor else f"1/{number(1 / factor)} of"


_USE = "train_config.optimizer.use_moving_average"
_EVALUATE = "eval_config.use_moving_averages"


class MovingAverage(Rule):
    """A moving average of the weights is kept without use, or asked for where it cannot be had.

    `use_moving_average` is true unless it is set to false. What it keeps is never evaluated and
    never exported by the OD API in TF2: both take the weights themselves.

    Anti-pattern

        optimizer { momentum_optimizer { ... } }     # use_moving_average is not set: it is on
        eval_config { use_moving_averages: true }    # stops the evaluation

    Best practice

        optimizer { momentum_optimizer { ... } use_moving_average: false }

    Source

    optimizer_builder.build_optimizers_tf_v2; model_lib_v2.eval_continuously, whose swap_weights is
    called in no strategy's scope by model_main_tf2 and refused there
    (official/modeling/optimization/ema_optimizer.py); exporter_lib_v2 restores the model alone.
    """

    code: ClassVar[str] = "OPT003"
    name: ClassVar[str] = "optimizer.moving_average"
    causes: ClassVar[tuple[str, ...]] = (
        "ema_on_by_default",
        "ema_not_evaluated",
        "ema_eval_unsupported",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the switch for training, then at the one for evaluation."""
        optimizer = subject.pipeline.proto.train_config.optimizer
        if subject.quantities.ema_decay is not None:
            chosen = optimizer.HasField("use_moving_average")
            yield self.finding(
                "ema_not_evaluated" if chosen else "ema_on_by_default",
                Severity.INFO if chosen else Severity.WARNING,
                fields=[_USE],
                found=f"weights are averaged with decay {subject.quantities.ema_decay:.6g}"
                + ("" if chosen else ", because use_moving_average is not set"),
                expected="use_moving_average: false"
                if subject.reference_quantities.ema_decay is None
                else "averages that are evaluated",
                why="A further copy of all weights is kept and saved, and neither evaluation nor "
                "export under TF2 reads it. The weights that are evaluated are the same as "
                "without.",
                loss_ap=0.1,  # memory and time, no AP: last among the warnings
                evidence=published("ema_on"),
                fix=[FieldFix(_USE, False)],
            )
        if subject.pipeline.proto.eval_config.use_moving_averages:
            kept = subject.quantities.ema_decay is not None
            yield self.finding(
                "ema_eval_unsupported",
                Severity.FATAL,
                fields=[_EVALUATE],
                found="the evaluation is to use averaged weights"
                + ("" if kept else ", and the training averages none"),
                expected="use_moving_averages: false",
                why="The evaluation stops: weights can be swapped in the scope of a strategy only, "
                "and model_main_tf2 evaluates in none."
                if kept
                else "The evaluation stops with AttributeError: the optimizer has no shadow_copy.",
                fix=[FieldFix(_EVALUATE, False)],
            )


_FIELD = "train_config.gradient_clipping_by_norm"


class GradientClipping(Rule):
    """Gradients are clipped otherwise than in the reference.

    Anti-pattern

        train_config { batch_size: 1 }     # gradient_clipping_by_norm: 10.0 was left out

    Best practice

    Keep the reference's norm on its number of replicas: each replica clips the gradients of its
    loss divided by the number of replicas, and then they are summed. So 10 on eight GPUs allows
    eight times as much as 10 on one.

    Source

    model_lib_v2.eager_train_step (tf.clip_by_global_norm before apply_gradients). Without it,
    about 3 mAP less on VOC with one image a step (mmdetection issue 2370); no usable number on
    COCO.
    """

    code: ClassVar[str] = "OPT004"
    name: ClassVar[str] = "optimizer.gradient_clipping"
    causes: ClassVar[tuple[str, ...]] = ("gradient_clipping_removed", "gradient_clipping_changed")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the norms; a NaN or a negative one clips nothing."""
        own = subject.quantities.gradient_clip_norm
        reference = subject.reference_quantities.gradient_clip_norm
        own = own if own is not None and own > 0 else None
        if own == reference:
            return
        if reference is not None and own is None:
            yield self._removed(subject, reference)
        elif own is not None:
            yield self._changed(own, reference)

    def _removed(self, subject: Subject, reference: float) -> Finding:
        peaks = compare_peaks(subject)
        high = peaks is not None and peaks.ratio > 2
        return self.finding(
            "gradient_clipping_removed",
            Severity.WARNING,
            fields=[_FIELD],
            found="gradients are not clipped",
            expected=f"clipped to a global norm of {number(reference)}",
            why="One batch with a large loss can throw the weights far off; "
            + (
                "at a learning rate this high that is how runs of this family end in NaN."
                if high
                else "small batches have such losses more often."
            ),
            # Published: 3 on VOC at one image a step; judged: a third of it at a moderate rate.
            loss_ap=3.0 if high else 1.0,
            evidence=published("clip_off"),
            fix=[FieldFix(_FIELD, reference)],
        )

    def _changed(self, own: float, reference: float | None) -> Finding:
        # Judged: norms of a detector's gradients are around 1 to 10; below 0.1 every step is cut.
        tight = own < 0.1
        return self.finding(
            "gradient_clipping_changed",
            Severity.WARNING if tight else Severity.INFO,
            fields=[_FIELD],
            found=f"gradients are clipped to a global norm of {number(own)}",
            expected="no clipping" if reference is None else f"a norm of {number(reference)}",
            why="Nearly every step is cut to that length, which is a far lower learning rate."
            if tight
            else "It acts in the steps with large losses, and lets a higher rate pass without "
            "diverging.",
            loss_ap=3.0 if tight else 0.1,  # judged
            evidence=published("clip_off"),
            fix=[FieldFix(_FIELD, reference)] if tight else [],
        )
