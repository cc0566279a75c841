"""Rules about the losses, and which examples they count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.network import (
    Part,
    box_predictor,
    classification_loss,
    localization_loss,
    ratio,
    rounded,
)
from odapi_repro.diagnosis.rules.schedule.learning_rate import number
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
        why = "A different loss needs a different learning rate, bias and score converter."
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
                    "has none: anchors without an object look the same as anchors on any class."
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


_BOX_LOSS_WORDS = {
    "weighted_l2": "L2",
    "weighted_smooth_l1": "smooth L1",
    "weighted_iou": "IoU",
    "l1_localization_loss": "L1",
    "weighted_giou": "GIoU",
}
# ssd_meta_arch.SSDMetaArch.loss passes encodings; these two read them as corners.
_OF_BOXES = ("weighted_iou", "weighted_giou")


class LocalizationLossReplaced(Rule):
    """The boxes are trained with another loss than the reference's.

    IoU and GIoU losses compare boxes. The OD API's SSD hands its box losses the encodings (offsets
    and logarithms against an anchor), not decoded boxes, so an IoU of them means nothing.

    Anti-pattern

        loss { localization_loss { weighted_iou { } } }

    Best practice

    Keep smooth L1 in SSD, with the reference's delta, and L1 in CenterNet.

    Source

    meta_architectures/ssd_meta_arch.SSDMetaArch.loss (prediction_dict['box_encodings'] against
    batch_reg_targets), core/losses.WeightedIOULocalizationLoss ("decoded predicted boxes"),
    builders/losses_builder._build_localization_loss, which refuses a config without a loss.
    """

    code: ClassVar[str] = "MOD002"
    name: ClassVar[str] = "model.box_loss_replaced"
    causes: ClassVar[tuple[str, ...]] = ("loss_function_replaced",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the kinds of the losses, then smooth L1's delta."""
        loss = localization_loss(subject.pipeline)
        is_ssd = subject.pipeline.meta_architecture == "ssd"
        if is_ssd and not loss.kind:
            yield self.finding(
                "loss_function_replaced",
                Severity.FATAL,
                fields=[loss.path],
                found="the boxes have no loss",
                expected="a localization_loss",
                why="The OD API stops with 'Empty loss config'.",
            )
            return
        if not loss.kind or not subject.same_architecture:
            return
        reference = localization_loss(subject.reference_pipeline)
        if loss.kind != reference.kind:
            yield self._replaced(loss, reference, is_ssd)
        elif loss.kind == "weighted_smooth_l1":
            yield from self._delta(loss, reference)

    def _replaced(self, loss: Part, reference: Part, is_ssd: bool) -> Finding:
        severity, loss_ap = Severity.WARNING, 1.0  # judged: nothing published within SSD
        why = "Its gradients have another size, so the balance with the classes changes too."
        if is_ssd and loss.kind in _OF_BOXES:
            severity, loss_ap = Severity.CRITICAL, 20.0  # judged: no boxes learnt
            why = (
                "SSD passes box encodings to this loss, which takes them for corners: the overlap "
                "that it computes belongs to no box, and the boxes are not learned."
            )
        elif {loss.kind, reference.kind} == {"weighted_smooth_l1", "l1_localization_loss"}:
            severity, loss_ap = Severity.INFO, 0.2  # judged: the two agree on large errors
        return self.finding(
            "loss_function_replaced",
            severity,
            fields=[loss.chosen_path],
            found=f"boxes are trained with {_BOX_LOSS_WORDS.get(loss.kind, loss.kind)} loss",
            expected=_BOX_LOSS_WORDS.get(reference.kind, reference.kind),
            why=why,
            loss_ap=loss_ap,
            fix=[
                FieldFix(loss.chosen_path, None),
                *(
                    [FieldFix(f"{loss.path}.{reference.kind}", "{}")]
                    if reference.kind != "weighted_smooth_l1"
                    else [
                        FieldFix(
                            f"{loss.path}.weighted_smooth_l1.delta",
                            rounded(reference.message.delta),
                        )
                    ]
                ),
            ],
        )

    def _delta(self, loss: Part, reference: Part) -> Iterator[Finding]:
        delta, expected = float(loss.message.delta), float(reference.message.delta)
        factor = ratio(delta, expected)
        if 0.999 < factor < 1.001 or delta == expected:
            return
        dead = not delta > 0
        yield self.finding(
            "loss_function_replaced",
            Severity.CRITICAL if dead else Severity.INFO,
            fields=[loss.at("delta")],
            found=f"smooth L1 with delta {delta:g}",
            expected=f"delta {expected:g}",
            why="A delta of 0 or less leaves no gradient: the boxes are not learned."
            if dead
            else "Delta is the error at which the loss turns from quadratic to linear, and the "
            "slope beyond it: large errors pull in proportion to it.",
            loss_ap=20.0 if dead else 0.3,  # judged
            fix=[FieldFix(loss.at("delta"), rounded(expected))],
        )


_PATH = "model.faster_rcnn.hard_example_miner"


class HardExampleMinerInTwoStages(Rule):
    """A hard example miner trains the second stage on one image of each batch.

    The OD API's loop over the images of a batch returns in its first round. The loss of the second
    stage is then that of the first image, divided by the whole batch; the other images train the
    proposals alone. No ground truth is sampled among the regions any more, either.

    Anti-pattern

        faster_rcnn { hard_example_miner { num_hard_examples: 64 } }
        train_config { batch_size: 16 }

    Best practice

    Leave it out: regions are sampled, a quarter of them objects. With a miner, one image a replica.

    Source

    faster_rcnn_meta_arch._unpad_proposals_and_apply_hard_mining (the return inside the loop),
    _postprocess_rpn (no sampling), max_num_proposals. Run with one, two and four images in a batch,
    the first the same: both losses of the second stage were 1, 1/2 and 1/4, to six digits.
    """

    code: ClassVar[str] = "MOD022"
    name: ClassVar[str] = "model.hard_example_miner"
    causes: ClassVar[tuple[str, ...]] = ("hard_examples_of_one_image",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the images of a replica, which share one loss."""
        if subject.pipeline.meta_architecture != "faster_rcnn":
            return
        model, images = (
            subject.pipeline.proto.model.faster_rcnn,
            subject.quantities.images_per_replica,
        )
        if not model.HasField("hard_example_miner") or model.number_of_stages == 1:
            return
        one = images <= 1
        yield self.finding(
            "hard_examples_of_one_image",
            Severity.INFO if one else Severity.CRITICAL if images >= 4 else Severity.WARNING,
            fields=[_PATH, "train_config.batch_size"],
            found="a hard example miner in place of sampled regions"
            if one
            else f"of the {number(images)} images of a replica's batch the first alone trains the "
            "second stage (hard_example_miner)",
            expected="no hard_example_miner",
            why="The hardest regions train the second stage, without ground truth among them; "
            "published numbers for it in this code are lacking."
            if one
            else "The OD API's loop over the images returns in its first round, and its loss is "
            "divided by the whole batch.",
            loss_ap=0.5 if one else min(2.0 * images, 15.0),  # judged
            fix=[FieldFix(_PATH, None)],
        )


_CONVOLUTIONAL = ("convolutional_box_predictor", "weight_shared_convolutional_box_predictor")
# -log((1 - p) / p) for the published prior, p = 0.01 (Lin et al. 2017, section 4.1).
_PRIOR_BIAS = -4.6
# At this bias a tenth of all anchors counts as objects before the first step.
_HIGHEST_BIAS = -2.0


class ClassBiasPriorMissing(Rule):
    """The class head starts by calling every anchor an object.

    A bias of 0 gives every class of every anchor a probability of one half. With tens of thousands
    of background anchors, the first steps then bring a loss large enough to diverge.

    Anti-pattern

        weight_shared_convolutional_box_predictor { class_prediction_bias_init: 0.0 }

    or leaving it out, with focal loss: 0 is the default.

    Best practice

        class_prediction_bias_init: -4.6

    which is a prior of 0.01. CenterNet's heatmaps have -2.19, a prior of 0.1, by default.

    Source

    Lin et al. 2017, arXiv 1708.02002, sections 3.3 and 4.1 (without it, training diverges).
    predictors/heads/keras_class_head. The class head is restored by checkpoint type `full` only.
    """

    code: ClassVar[str] = "MOD003"
    name: ClassVar[str] = "model.class_bias_prior"
    causes: ClassVar[tuple[str, ...]] = ("class_bias_prior_missing",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the bias of SSD's head under focal loss, and of CenterNet's heatmap."""
        restored = subject.quantities.checkpoint_restore == "full"
        if subject.pipeline.meta_architecture == "center_net":
            path = "model.center_net.object_center_params.heatmap_bias_init"
            bias = float(descend(subject.pipeline.model, "object_center_params.heatmap_bias_init"))
            if bias > -1.0 and not restored:
                yield self._missing(path, bias, expected=-2.19, severity=Severity.WARNING)
            return
        predictor = box_predictor(subject.pipeline)
        focal = classification_loss(subject.pipeline).kind == "weighted_sigmoid_focal"
        if subject.pipeline.meta_architecture != "ssd" or predictor.kind not in _CONVOLUTIONAL:
            return
        bias = float(predictor.message.class_prediction_bias_init)
        if focal and bias > _HIGHEST_BIAS:
            yield self._missing(
                predictor.at("class_prediction_bias_init"),
                bias,
                expected=_PRIOR_BIAS,
                severity=Severity.INFO if restored else Severity.CRITICAL,
            )

    def _missing(self, path: str, bias: float, *, expected: float, severity: Severity) -> Finding:
        prior = 1 / (1 + math.exp(-min(max(bias, -50.0), 50.0)))
        restored = severity is Severity.INFO
        # Judged: a run that diverges has no AP; nothing was published for heatmaps.
        loss_ap = {Severity.CRITICAL: 30.0, Severity.WARNING: 5.0}.get(severity, 0.0)
        return self.finding(
            "class_bias_prior_missing",
            severity,
            fields=[path],
            found=f"the class head starts with a bias of {bias:g}: any location is an object with "
            f"probability {prior:.2g}",
            expected=f"{expected:g}",
            why="The checkpoint restores the head, so the start does not matter here."
            if restored
            else "The background alone then makes a loss hundreds of times too large in "
            "the first steps; training diverged in the published comparison.",
            loss_ap=loss_ap,
            evidence=published("bias_prior_off"),
            fix=[FieldFix(path, expected)],
        )
