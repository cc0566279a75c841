"""The loss of the classes is not the reference's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.model_parts import (
    Part,
    classification_loss,
    rounded,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

_FOCAL = "weighted_sigmoid_focal"
_WORDS = {
    _FOCAL: "sigmoid focal loss",
    "weighted_sigmoid": "sigmoid cross-entropy",
    "weighted_softmax": "softmax cross-entropy",
    "weighted_logits_softmax": "softmax cross-entropy against logits",
    "bootstrapped_sigmoid": "bootstrapped sigmoid cross-entropy",
    "penalty_reduced_logistic_focal_loss": "penalty-reduced focal loss",
    "weighted_dice_classification_loss": "dice loss",
    "": "no loss",
}
# Focal loss's own table (Lin et al. 2017, table 1b): AP lost against gamma 2, alpha re-tuned.
_GAMMA_LOSSES = ((0.0, 2.9), (0.5, 1.1), (1.0, 0.3), (2.0, 0.0), (5.0, 1.8))


class ClassificationLossReplaced(Rule):
    """The classes are trained with another loss than the reference's.

    A one-stage detector has tens of thousands of background anchors for a handful of objects.
    Focal loss exists to keep them from drowning the objects; plain cross-entropy does not.

    Anti-pattern

        loss { classification_loss { weighted_sigmoid { } } }

    in place of focal loss, without a hard example miner; or focal loss whose alpha is 0 (objects
    weigh nothing) or 1 (background weighs nothing); or gamma 0 with the alpha of focal loss.

    Best practice

    Keep the reference's loss with its own alpha and gamma. Alpha falls as gamma rises: 0.25 goes
    with 2, and 0.75 with cross-entropy.

    Source

    Lin et al. 2017, arXiv 1708.02002, tables 1a and 1b. core/losses.SigmoidFocalClassificationLoss
    and builders/losses_builder.build: alpha unset is no balancing at all, gamma unset is 2, a hard
    example miner beside focal loss is refused, and so is an SSD without a loss.
    """

    code: ClassVar[str] = "MOD001"
    name: ClassVar[str] = "model.loss_function_replaced"
    causes: ClassVar[tuple[str, ...]] = ("loss_function_replaced",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the kinds of the losses, then the parameters of focal loss."""
        loss = classification_loss(subject.pipeline)
        yield from self._refused(subject, loss)
        if not loss.kind or not subject.same_architecture:
            return
        reference = classification_loss(subject.reference_pipeline)
        if loss.kind != reference.kind:
            yield self._replaced(subject, loss, reference)
        elif loss.kind == _FOCAL:
            yield from self._focal(loss, reference)

    def _refused(self, subject: Subject, loss: Part) -> Iterator[Finding]:
        if subject.pipeline.meta_architecture not in ("ssd", "center_net"):
            return
        if not loss.kind:
            yield self.finding(
                "loss_function_replaced",
                Severity.FATAL,
                fields=[loss.path],
                found="the classes have no loss",
                expected="a classification_loss",
                why="The OD API stops with 'Empty loss config'.",
            )
        elif loss.kind == _FOCAL and _has_miner(subject):
            yield self.finding(
                "loss_function_replaced",
                Severity.FATAL,
                fields=["model.ssd.loss.hard_example_miner", loss.chosen_path],
                found="a hard example miner beside focal loss",
                expected="one of the two",
                why="The OD API stops: 'HardExampleMiner should not be used with sigmoid focal "
                "loss'.",
                fix=[FieldFix("model.ssd.loss.hard_example_miner", None)],
            )

    def _replaced(self, subject: Subject, loss: Part, reference: Part) -> Finding:
        severity, loss_ap = Severity.WARNING, 1.0  # judged: no number for other exchanges
        evidence: tuple[Evidence, ...] = ()
        found = f"classes are trained with {_WORDS[loss.kind]}"
        why = "Another loss needs another learning rate, bias and score converter."
        if reference.kind == _FOCAL and _has_miner(subject):
            loss_ap, evidence = 4.9, published("focal_to_ohem_1_3", "focal_to_ohem")
            found += " and mined negatives"
            why = "Mining keeps a few background anchors; focal loss uses them all."
        elif reference.kind == _FOCAL:
            severity, loss_ap = Severity.CRITICAL, 2.9
            evidence = published("focal_to_ce", "focal_alpha_kept_with_ce")
            why = (
                "The background anchors, a thousand to one object, now make up nearly the whole "
                "loss. The best cross-entropy published lost 2.9 AP with its alpha tuned to "
                "0.75, and this one has none."
            )
            if loss.kind == "weighted_softmax" and not _has_background(subject):
                loss_ap = 20.0  # judged: anchors without an object then have no class to go to
                why = (
                    "A softmax needs a background class (add_background_class), and this model "
                    "has none: anchors without an object cannot be told from any class."
                )
        return self.finding(
            "loss_function_replaced",
            severity,
            fields=[loss.chosen_path],
            found=found,
            expected=_described(reference),
            why=why,
            loss_ap=loss_ap,
            evidence=evidence,
            fix=_restoring(loss, reference),
        )

    def _focal(self, loss: Part, reference: Part) -> Iterator[Finding]:
        alpha, other_alpha = _alpha(loss), _alpha(reference)
        gamma, other_gamma = float(loss.message.gamma), float(reference.message.gamma)
        if _same(alpha, other_alpha) and _same(gamma, other_gamma):
            return
        severity, loss_ap = Severity.INFO, 0.4
        evidence: tuple[Evidence, ...] = ()
        why = "Both were tuned together; a little off costs little."
        if alpha is not None and (alpha <= 0 or alpha >= 1):
            severity, loss_ap = Severity.CRITICAL, 30.0  # judged: one side is never trained
            side = "objects weigh nothing" if alpha <= 0 else "background weighs nothing"
            why = f"Alpha weighs objects and 1 - alpha background: here {side} in the loss."
        elif gamma <= 0.1 and (alpha is None or alpha <= 0.5):
            severity, loss_ap = Severity.CRITICAL, 20.3 if alpha is not None else 3.8
            evidence = published("focal_alpha_kept_with_ce", "focal_to_ce")
            why = (
                "Without gamma this is cross-entropy, which needs an alpha near 0.75: the alpha "
                "that goes with gamma 2 then weighs the objects down threefold."
            )
        elif not _same(gamma, other_gamma):
            loss_ap = abs(_gamma_loss(gamma) - _gamma_loss(other_gamma))
            severity = Severity.WARNING if loss_ap >= 0.5 else Severity.INFO
            evidence = published("focal_gamma_0.5", "focal_gamma_1", "focal_gamma_5")
            why = "Gamma sets how fast well-classified anchors leave the loss."
        elif alpha is None or other_alpha is None or _odds(alpha) / _odds(other_alpha) < 1 / 3:
            severity, loss_ap = Severity.WARNING, 0.5  # judged from alpha .25 -> .5: -0.4
            why = "Alpha sets the weight of objects against background."
        yield self.finding(
            "loss_function_replaced",
            severity,
            fields=[loss.at("alpha"), loss.at("gamma")],
            found=_described(loss),
            expected=_described(reference),
            why=why,
            loss_ap=loss_ap,
            evidence=evidence,
            fix=_restoring(loss, reference),
        )


def _alpha(loss: Part) -> float | None:
    """Alpha, None where unset: then objects and background weigh alike."""
    return rounded(loss.message.alpha) if loss.message.HasField("alpha") else None


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-9)


def _odds(alpha: float) -> float:
    return alpha / (1 - alpha) if 0 < alpha < 1 else math.nan


def _gamma_loss(gamma: float) -> float:
    """AP lost against gamma 2, straight lines between the published points."""
    if not gamma > 0:
        return _GAMMA_LOSSES[0][1]
    for (low, left), (high, right) in itertools.pairwise(_GAMMA_LOSSES):
        if gamma <= high:
            return left + (right - left) * (gamma - low) / (high - low)
    return _GAMMA_LOSSES[-1][1]


def _described(loss: Part) -> str:
    words = _WORDS.get(loss.kind, loss.kind)
    if loss.kind != _FOCAL:
        return words
    alpha = _alpha(loss)
    shown = "no alpha" if alpha is None else f"alpha {alpha:g}"
    return f"{words}, {shown}, gamma {loss.message.gamma:g}"


def _restoring(loss: Part, reference: Part) -> list[FieldFix]:
    """Gives the edits to the reference's loss; a oneof drops the other choice by itself."""
    edits = [FieldFix(loss.chosen_path, None)] if loss.kind != reference.kind else []
    path = f"{loss.path}.{reference.kind}"
    if reference.kind == _FOCAL:
        edits += [
            FieldFix(f"{path}.alpha", _alpha(reference)),
            FieldFix(f"{path}.gamma", rounded(reference.message.gamma)),
        ]
    elif reference.message is not None:
        edits.append(FieldFix(path, "{}"))
    return edits


def _has_miner(subject: Subject) -> bool:
    ssd = subject.pipeline.meta_architecture == "ssd"
    return ssd and bool(descend(subject.pipeline.model, "loss").HasField("hard_example_miner"))


def _has_background(subject: Subject) -> bool:
    ssd = subject.pipeline.meta_architecture == "ssd"
    return not ssd or bool(descend(subject.pipeline.model, "add_background_class"))
