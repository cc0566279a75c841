"""Scores that are made otherwise than the loss was trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.evaluation.final_nms import final_nms
from odapi_repro.diagnosis.rules.model.model_parts import classification_loss, rounded
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

_SOFTMAX_LOSSES = ("weighted_softmax", "weighted_logits_softmax")
_NAMES = ("IDENTITY", "SIGMOID", "SOFTMAX")


class ScoreConverterMismatch(Rule):
    """The scores of detections are computed by another function than the loss was trained with.

    The converter is applied to the logits as they are. A sigmoid loss trains each class by itself,
    a softmax loss only differences between classes; IDENTITY, which is what an unset converter
    means, leaves logits, and non-maximum suppression drops what is not above its threshold.

    Anti-pattern

        loss { classification_loss { weighted_sigmoid_focal { alpha: 0.25 gamma: 2.0 } } }
        post_processing { score_converter: SOFTMAX }

    Best practice

    SIGMOID with the sigmoid losses (focal loss among them), SOFTMAX with weighted_softmax, which is
    what Faster R-CNN's second stage has unless another loss is set.

    Source

    builders/post_processing_builder._build_score_converter (logit_scale divides the logits),
    ssd_meta_arch.postprocess and faster_rcnn_meta_arch._postprocess_box_classifier (background is
    cut off after the conversion), core/post_processing (scores must be above score_threshold),
    core/losses. A published number was not found.
    """

    code: ClassVar[str] = "EVA010"
    name: ClassVar[str] = "evaluation.score_converter"
    causes: ClassVar[tuple[str, ...]] = ("score_converter_mismatch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Holds the converter of the last stage against the loss of the classes."""
        nms = final_nms(subject.pipeline)
        loss = classification_loss(subject.pipeline)
        if nms is None or not loss.kind or _box_stage_missing(subject):
            return
        path = nms.path.rpartition(".")[0]
        post = descend(subject.pipeline.model, path.split(".", 2)[2])
        scale = rounded(post.logit_scale)
        if scale <= 0:
            yield self.finding(
                "score_converter_mismatch",
                Severity.FATAL,
                fields=[f"{path}.logit_scale"],
                found=f"logits are divided by {scale:g}",
                expected="logit_scale above 0; 1 if left out",
                why="The evaluation stops with a ZeroDivisionError."
                if scale == 0
                else "The least likely detections get the highest scores.",
                loss_ap=80.0,
                fix=[FieldFix(f"{path}.logit_scale", None)],
            )
        softmax = loss.kind in _SOFTMAX_LOSSES
        wanted, given = "SOFTMAX" if softmax else "SIGMOID", _NAMES[int(post.score_converter)]
        if given == wanted:
            return
        threshold = rounded(nms.message.score_threshold)
        severity, loss_ap, why = _outcome(subject, given, softmax, threshold)
        unset = "" if post.HasField("score_converter") else ", as none is set"
        yield self.finding(
            "score_converter_mismatch",
            severity,
            fields=[f"{path}.score_converter", loss.chosen_path],
            found=f"scores are made by {given}{unset}, of logits that a "
            f"{'softmax' if softmax else 'sigmoid'} loss trains",
            expected=f"score_converter: {wanted}",
            why=why,
            loss_ap=loss_ap,  # judged
            fix=[FieldFix(f"{path}.score_converter", wanted)],
        )


def _box_stage_missing(subject: Subject) -> bool:
    two_stage = subject.pipeline.meta_architecture == "faster_rcnn"
    return two_stage and descend(subject.pipeline.model, "number_of_stages") == 1


def _outcome(
    subject: Subject, given: str, softmax: bool, threshold: float
) -> tuple[Severity, float, str]:
    """Severity, AP at stake and what happens."""
    if given == "IDENTITY":
        dropped = 1 / (1 + math.exp(-max(min(threshold, 50.0), -50.0)))
        if softmax:
            return (
                Severity.WARNING,
                5.0,
                "Scores are logits, of which only those above the score threshold of "
                f"{threshold:g} are kept; logits of two boxes cannot be compared.",
            )
        return (
            Severity.CRITICAL if dropped > 0.02 else Severity.WARNING,
            20.0 if dropped > 0.02 else 0.5,
            f"Scores are logits: a score threshold of {threshold:g} drops every detection of a "
            f"probability up to {dropped:.2g}.",
        )
    if softmax:
        return (
            Severity.WARNING,
            5.0,
            "A softmax loss trains differences between classes and background; a sigmoid looks at "
            "one logit alone, so that background boxes score, too.",
        )
    if _has_background(subject):
        return (
            Severity.WARNING,
            3.0,
            "Classes compete for a sum of 1, which the loss never asked of them.",
        )
    if subject.pipeline.num_classes == 1:
        return (
            Severity.FATAL,
            80.0,
            "The softmax of one class alone is 1: every box gets the score 1.",
        )
    return (
        Severity.CRITICAL,
        30.0,
        "Without a background class the scores of each box add up to 1: a box around nothing "
        "can score as high as one around an object.",
    )


def _has_background(subject: Subject) -> bool:
    if subject.pipeline.meta_architecture != "ssd":
        return True
    ssd = subject.pipeline.proto.model.ssd
    return bool(ssd.add_background_class or ssd.explicit_background_class)
