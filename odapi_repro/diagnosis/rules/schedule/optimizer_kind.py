"""Another optimizer than the reference's, and rates that belong to the other one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.comparison import (
    is_adaptive,
    learning_rate_path,
    number,
    rate_fields,
    rounded,
    run_steps,
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
