"""Boxes, classes, proposals or masks weigh otherwise in the loss than in the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.network import localization_loss, ratio, rounded
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend


@dataclass(frozen=True)
class _Pair:
    """A weight, the weight it is balanced against, and what they weigh."""

    weight: str
    against: str
    what: str
    other: str


_PAIRS = {
    "ssd": (_Pair("loss.localization_weight", "loss.classification_weight", "boxes", "classes"),),
    "faster_rcnn": (
        _Pair(
            "second_stage_localization_loss_weight",
            "second_stage_classification_loss_weight",
            "boxes",
            "classes",
        ),
        _Pair(
            "first_stage_localization_loss_weight",
            "first_stage_objectness_loss_weight",
            "proposal boxes",
            "objectness",
        ),
        _Pair(
            "second_stage_mask_prediction_loss_weight",
            "second_stage_classification_loss_weight",
            "masks",
            "classes",
        ),
    ),
    "center_net": (
        _Pair(
            "object_detection_task.scale_loss_weight",
            "object_center_params.object_center_loss_weight",
            "box sizes",
            "centres",
        ),
        _Pair(
            "object_detection_task.offset_loss_weight",
            "object_center_params.object_center_loss_weight",
            "centre offsets",
            "centres",
        ),
    ),
}
_SUMMED = "normalize_loss_by_num_matches"
_BY_CODE = "normalize_loc_loss_by_codesize"


class LossWeightsChanged(Rule):
    """The parts of the loss are balanced otherwise than in the reference.

    What counts is the ratio of the weights. All of them together are a factor on the learning rate.

    Anti-pattern

        loss { localization_weight: 10.0 classification_weight: 1.0 }

    or `normalize_loss_by_num_matches: false`, which sums over the anchors of the batch instead of
    averaging over those that match an object.

    Best practice

    Keep the reference's weights. Twice the box weight did no harm in the published comparisons;
    from five times on it cost AP.

    Source

    Chen et al. 2019 (mmdetection), arXiv 1906.07155; Huang et al. 2016, arXiv 1611.10012, table 5.
    ssd_meta_arch.SSDMetaArch.loss, faster_rcnn_meta_arch.FasterRCNNMetaArch.loss.
    """

    code: ClassVar[str] = "MOD004"
    name: ClassVar[str] = "model.loss_weights"
    causes: ClassVar[tuple[str, ...]] = ("loss_weights_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares each weight with its counterpart, then all together, then the divisor."""
        if not subject.same_architecture:
            return
        architecture = subject.pipeline.meta_architecture
        for pair in _PAIRS.get(architecture, ()):
            if pair.what != "masks" or subject.pipeline.predicts_masks:
                yield from self._balance(subject, pair)
        if architecture == "ssd":
            yield from self._together(subject)
            yield from self._normalisation(subject)

    def _balance(self, subject: Subject, pair: _Pair) -> Iterator[Finding]:
        weight, against = _weights(subject.pipeline, pair)
        expected, expected_against = _weights(subject.reference_pipeline, pair)
        factor = ratio(ratio(weight, against), ratio(expected, expected_against))
        fields = [pair.weight, pair.against]
        if subject.pipeline.meta_architecture == "ssd":
            by_code = ratio(_share(subject.pipeline), _share(subject.reference_pipeline))
            fields += [_BY_CODE] if by_code != 1 else []
            pull = ratio(_slope(subject.pipeline), _slope(subject.reference_pipeline))
            factor = _nearer_to_one(factor * by_code, factor * by_code * pull)
        untrained = _untrained(pair, weight, against, expected)
        if math.isnan(factor) and not untrained:
            return
        if not untrained and 1 / 1.5 < factor < 1.5:
            return
        severity, loss_ap, evidence = (
            _cost(factor) if not untrained else (Severity.CRITICAL, 20, ())
        )
        prefix = f"model.{subject.pipeline.meta_architecture}."
        yield self.finding(
            "loss_weights_changed",
            severity,
            fields=[prefix + field for field in fields],
            found=f"{pair.what} weigh {weight:g} against {against:g} for {pair.other}"
            + (f", and {_BY_CODE} differs" if _BY_CODE in fields else ""),
            expected=f"{expected:g} against {expected_against:g}",
            why=f"With a weight of 0, {untrained} are not trained."
            if untrained
            else f"Against {pair.other}, {pair.what} weigh {_times(factor)} what they do in the "
            "reference.",
            loss_ap=loss_ap,
            evidence=evidence,
            fix=[
                FieldFix(prefix + pair.weight, expected),
                FieldFix(prefix + pair.against, expected_against),
                *(
                    [FieldFix(prefix + _BY_CODE, _share(subject.reference_pipeline) < 1)]
                    if _BY_CODE in fields
                    else []
                ),
            ],
        )

    def _together(self, subject: Subject) -> Iterator[Finding]:
        pair = _PAIRS["ssd"][0]
        ours, theirs = _weights(subject.pipeline, pair), _weights(subject.reference_pipeline, pair)
        first, second = ratio(ours[0], theirs[0]), ratio(ours[1], theirs[1])
        if not min(first, second) > 2 and not max(first, second) < 0.5:
            return
        factor = math.sqrt(first * second) if first > 0 and second > 0 else math.nan
        if math.isnan(factor):
            return
        yield self.finding(
            "loss_weights_changed",
            Severity.WARNING if factor >= 4 else Severity.INFO,
            fields=[f"model.ssd.{pair.weight}", f"model.ssd.{pair.against}"],
            found=f"both loss weights are {_times(factor)} the reference's",
            expected=f"{theirs[0]:g} and {theirs[1]:g}",
            why="A factor on the whole loss is a factor on the learning rate (and makes weight "
            "decay weigh less); Adam takes it back, momentum does not.",
            loss_ap=2.0 if factor >= 4 else 0.3,  # judged, as a learning rate off by as much
            fix=[
                FieldFix(f"model.ssd.{pair.weight}", theirs[0]),
                FieldFix(f"model.ssd.{pair.against}", theirs[1]),
            ],
        )

    def _normalisation(self, subject: Subject) -> Iterator[Finding]:
        summed = not descend(subject.pipeline.model, _SUMMED)
        if summed and descend(subject.reference_pipeline.model, _SUMMED):
            yield self.finding(
                "loss_weights_changed",
                Severity.CRITICAL,
                fields=[f"model.ssd.{_SUMMED}"],
                found="the loss is summed over the batch",
                expected="divided by the anchors that match an object",
                why="A batch has tens to hundreds of matched anchors, so the loss and its "
                "gradients are as many times larger, with the learning rate of the average.",
                loss_ap=20.0,  # judged: as a learning rate a hundred times too high
                fix=[FieldFix(f"model.ssd.{_SUMMED}", True)],
            )


def _weights(pipeline: Pipeline, pair: _Pair) -> tuple[float, float]:
    model = pipeline.model
    return rounded(descend(model, pair.weight)), rounded(descend(model, pair.against))


def _untrained(pair: _Pair, weight: float, against: float, expected: float) -> str:
    if weight <= 0 < expected:
        return pair.what
    return pair.other if against <= 0 else ""


def _cost(factor: float) -> tuple[Severity, float, tuple[Evidence, ...]]:
    """Severity, AP lost and evidence of a box weight `factor` times the reference's."""
    if factor >= 8:
        return Severity.CRITICAL, 7.1, published("box_weight_x10", "box_weight_x5")
    if factor >= 3:
        return Severity.WARNING, 1.7, published("box_weight_x5", "loss_weight")
    if factor > 1:
        return Severity.INFO, 0.0, published("box_weight_x2")
    if factor <= 1 / 8:
        return Severity.WARNING, 2.0, ()  # judged: nothing published below a half
    return (Severity.WARNING, 1.0, ()) if factor <= 1 / 3 else (Severity.INFO, 0.3, ())


def _times(factor: float) -> str:
    return f"{factor:.3g} times" if factor >= 1 else f"1/{1 / factor:.3g} of"


def _slope(pipeline: Pipeline) -> float:
    """Pull of a large box error on SSD's loss, without the weight: delta times the coder's scale.

    Two recipes with other weights but the same pull agree: google/automl's 50 and delta 0.1 with
    scales of 1 pull as the OD API's 1 and delta 1 with scales of 10 and 5 (within 1.4).
    """
    loss = localization_loss(pipeline)
    coder = descend(pipeline.model, "box_coder.faster_rcnn_box_coder")
    scales = (coder.y_scale, coder.x_scale, coder.height_scale, coder.width_scale)
    if loss.kind != "weighted_smooth_l1" or min(scales) <= 0:
        return math.nan
    return float(loss.message.delta) * math.pow(math.prod(scales), 0.25)


def _share(pipeline: Pipeline) -> float:
    """What SSD's box loss is multiplied by for the four numbers of a box code."""
    return 0.25 if descend(pipeline.model, _BY_CODE) else 1.0


def _nearer_to_one(weights: float, pull: float) -> float:
    """The weights' factor, unless the pull says that the change is made up for elsewhere."""
    if math.isnan(weights) or math.isnan(pull) or weights <= 0 or pull <= 0:
        return weights
    if math.log(weights) * math.log(pull) <= 0:
        return 1.0
    return min(weights, pull, key=lambda factor: abs(math.log(factor)))
