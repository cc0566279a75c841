"""Detections are dropped by their score before AP is computed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.evaluation.final_nms import final_nms
from odapi_repro.diagnosis.subject import Subject

# (threshold, AP lost): published at 0.05, 0.3 and 0.5 (the last as AP50), none at 0.001 or below.
_LOSSES = ((0.001, 0.0), (0.05, 0.9), (0.3, 3.2), (0.5, 13.5), (1.0, 45.0))


class ScoreThresholdHigh(Rule):
    """Detections below a score are dropped before they are scored.

    AP sorts all detections by score and integrates over recall; a threshold cuts the tail off. For
    a picture or a product it is right, for a metric it is not.

    Anti-pattern

        batch_non_max_suppression { score_threshold: 0.3 }

    Best practice

        score_threshold: 1e-8

    in SSD and 0.0 in Faster R-CNN. `eval_config.min_score_threshold` only changes pictures.

    Source

    tensorflow/models issue 6636 (1e-8 to 0.3: 21.7 to 18.5 AP, the OD API's own checkpoint);
    Soft Teacher, 0.001 to 0.05: -0.55 to -1.3. core/post_processing.
    """

    code: ClassVar[str] = "EVA002"
    name: ClassVar[str] = "evaluation.score_threshold"
    causes: ClassVar[tuple[str, ...]] = ("score_threshold_high",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the threshold of the final NMS."""
        nms = final_nms(subject.pipeline)
        if nms is None:
            return
        threshold = float(nms.message.score_threshold)
        reference = subject.reference_quantities.nms_score_threshold
        expected = reference if subject.same_architecture and reference is not None else 0.0
        expected = float(f"{expected:.7g}")  # float32 holds no more
        if not threshold > max(expected, 0.001):
            return
        loss_ap = max(_loss(threshold) - _loss(expected), 0.0)
        severity = Severity.INFO if loss_ap < 0.2 else Severity.WARNING
        if threshold >= 1:
            severity = Severity.FATAL
        elif threshold >= 0.5:
            severity = Severity.CRITICAL
        yield self.finding(
            "score_threshold_high",
            severity,
            fields=[nms.at("score_threshold")],
            found=f"detections with a score below {threshold:g} are dropped before they are scored",
            expected=f"{expected:g}",
            why="No score reaches it, so there is nothing to score."
            if threshold >= 1
            else "The measured AP falls with the same weights: objects found with a low score "
            "count as missed.",
            loss_ap=loss_ap,
            evidence=_evidence(threshold),
            fix=[FieldFix(nms.at("score_threshold"), expected)],
        )


def _loss(threshold: float) -> float:
    """AP lost, straight between the published points in the logarithm of the threshold."""
    if not threshold > _LOSSES[0][0]:
        return 0.0
    for (low, left), (high, right) in itertools.pairwise(_LOSSES):
        if threshold <= high:
            share = math.log(threshold / low) / math.log(high / low)
            return left + (right - left) * share
    return _LOSSES[-1][1]


def _evidence(threshold: float) -> tuple[Evidence, ...]:
    if threshold < 0.12:
        return published("score_threshold_0.05")
    if threshold < 0.45:
        return published("score_threshold_0.3", "score_threshold_0.05")
    return published("score_threshold_0.5", "score_threshold_0.3")
