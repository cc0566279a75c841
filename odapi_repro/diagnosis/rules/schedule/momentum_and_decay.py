"""Momentum and weight decay against the reference's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.schedule.comparison import number
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

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
            else "What that costs with SGD on COCO nobody has published.",
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
