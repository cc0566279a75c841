"""Focal loss without its prior on the class bias."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.model_parts import box_predictor, classification_loss
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

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
