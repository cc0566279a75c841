"""Rules about which detections are left to be scored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.network import classification_loss, rounded
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend

_WHERE = {"ssd": "post_processing", "faster_rcnn": "second_stage_post_processing"}


@dataclass(frozen=True)
class FinalNms:
    """BatchNonMaxSuppression of the last stage, and where it lies.

    Attributes:
        message: the proto; defaults where the config sets nothing.
        path: dotted path.
    """

    message: Any
    path: str

    def at(self, field: str) -> str:
        """Path of one of its fields."""
        return f"{self.path}.{field}"


def final_nms(pipeline: Pipeline) -> FinalNms | None:
    """Gives SSD's or Faster R-CNN's; None for CenterNet, which needs none, and other models."""
    where = _WHERE.get(pipeline.meta_architecture)
    if where is None:
        return None
    path = f"{where}.batch_non_max_suppression"
    return FinalNms(descend(pipeline.model, path), f"model.{pipeline.meta_architecture}.{path}")


class NmsChanged(Rule):
    """Duplicates are suppressed by other rules than the reference's.

    Anti-pattern

        batch_non_max_suppression { iou_threshold: 0.2 }

    which takes neighbours for duplicates, or 0.9, which keeps duplicates as false positives; or
    `use_class_agnostic_nms: true`, which lets a person suppress the bicycle.

    Best practice

    Keep the reference's IoU threshold (0.5 to 0.6) and hard NMS per class when numbers are to be
    compared. Soft NMS gains about 0.3 to 1 AP, and is another protocol.

    Source

    bharatsingh430/soft-nms; google/automl issue 491 (+0.3 with the same checkpoint);
    Yet-Another-EfficientDet issue 276 (class-agnostic: about -0.6).
    builders/post_processing_builder and core/post_processing, for what is refused.
    """

    code: ClassVar[str] = "EVA003"
    name: ClassVar[str] = "evaluation.nms"
    causes: ClassVar[tuple[str, ...]] = ("nms_changed", "nms_refused")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for what is refused, then compares thresholds and kinds."""
        nms = final_nms(subject.pipeline)
        if nms is None:
            return
        refusal = _refusal(nms.message)
        if refusal is not None:
            field, found, expected, mended = refusal
            yield self.finding(
                "nms_refused",
                Severity.FATAL,
                fields=[nms.at(field)],
                found=found,
                expected=expected,
                why="The OD API stops, when it builds the model or at the first evaluation.",
                fix=[FieldFix(nms.at(field), mended)],
            )
        reference = final_nms(subject.reference_pipeline)
        if reference is None or not subject.same_architecture:
            return
        yield from self._kind(nms, reference)
        yield from self._iou(nms, reference)

    def _kind(self, nms: FinalNms, reference: FinalNms) -> Iterator[Finding]:
        ours, theirs = nms.message, reference.message
        if ours.use_class_agnostic_nms and not theirs.use_class_agnostic_nms:
            yield self._changed(
                Severity.WARNING,
                nms.at("use_class_agnostic_nms"),
                "detections of different classes suppress each other",
                "suppression within a class",
                "Objects of two classes that overlap (a rider and a horse) leave one detection.",
                0.6,
                published("nms_class_agnostic"),
                False,
            )
        soft, expected = float(ours.soft_nms_sigma), float(theirs.soft_nms_sigma)
        if (soft > 0) != (expected > 0):
            yield self._changed(
                Severity.INFO,
                nms.at("soft_nms_sigma"),
                f"soft NMS, sigma {soft:g}" if soft > 0 else "hard NMS",
                "soft NMS" if expected > 0 else "hard NMS",
                "Soft NMS lowers scores instead of dropping boxes; the same weights score about "
                "0.3 to 1 AP more with it.",
                0.3 if expected > 0 else 0.0,
                published("nms_soft"),
                expected,
            )

    def _iou(self, nms: FinalNms, reference: FinalNms) -> Iterator[Finding]:
        ours, theirs = float(nms.message.iou_threshold), float(reference.message.iou_threshold)
        if not 0 <= ours <= 1 or abs(ours - theirs) < 0.005:
            return
        far = ours < 0.35 or ours > 0.8
        yield self._changed(
            Severity.WARNING if far else Severity.INFO,
            nms.at("iou_threshold"),
            f"boxes that overlap by more than {ours:g} are duplicates",
            f"{theirs:g}",
            "Objects that stand close lose detections to their neighbours."
            if ours < theirs
            else "Duplicates stay and count as false positives.",
            # Judged: published numbers for the threshold alone are lacking.
            (3.0 if ours < 0.1 or ours > 0.9 else 1.0) if far else 0.2,
            (),
            round(theirs, 4),
        )

    def _changed(
        self,
        severity: Severity,
        path: str,
        found: str,
        expected: str,
        why: str,
        loss_ap: float,
        evidence: tuple[Evidence, ...],
        mended: object,
    ) -> Finding:
        return self.finding(
            "nms_changed",
            severity,
            fields=[path],
            found=found,
            expected=expected,
            why=why,
            loss_ap=loss_ap,
            evidence=evidence,
            fix=[FieldFix(path, mended)],
        )


def _refusal(nms: Any) -> tuple[str, str, str, object] | None:
    """Gives (field, found, expected, mended) where the OD API stops at the settings."""
    if not 0 <= nms.iou_threshold <= 1:
        return "iou_threshold", f"iou_threshold {nms.iou_threshold:g}", "0 to 1", 0.6
    if nms.soft_nms_sigma < 0:
        return "soft_nms_sigma", f"soft_nms_sigma {nms.soft_nms_sigma:g}", "0 or more", 0.0
    if not nms.use_combined_nms:
        return None
    if nms.use_class_agnostic_nms:
        return "use_combined_nms", "combined and class-agnostic NMS", "one of the two", False
    if nms.soft_nms_sigma > 0:
        return "use_combined_nms", "combined and soft NMS", "one of the two", False
    if nms.change_coordinate_frame:
        return (
            "use_combined_nms",
            "combined NMS with change_coordinate_frame (its default)",
            "one of the two",
            False,
        )
    return None


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


# COCO's AP and AR look at 100 detections an image (pycocotools Params.maxDets).
_COCO_DETECTIONS = 100
_CENTERNET = "object_center_params.max_box_predictions"


class DetectionsCapped(Rule):
    """Fewer detections are kept an image than COCO's metrics look at.

    What is cut is what the model is least sure of: recall at the tail, which AP integrates over.

    Anti-pattern

        batch_non_max_suppression { max_detections_per_class: 10 max_total_detections: 10 }

    Best practice

        max_detections_per_class: 100 max_total_detections: 100

    More than 100 in total changes no COCO metric.

    Source

    pycocotools Params.maxDets. core/post_processing.multiclass_non_max_suppression,
    builders/post_processing_builder, which refuses more per class than in total.
    """

    code: ClassVar[str] = "EVA001"
    name: ClassVar[str] = "evaluation.detections_capped"
    causes: ClassVar[tuple[str, ...]] = ("detections_capped",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the caps of the final NMS, or at CenterNet's number of peaks."""
        nms = final_nms(subject.pipeline)
        if nms is not None:
            yield from self._nms(subject, nms)
        elif subject.pipeline.meta_architecture == "center_net":
            kept = int(descend(subject.pipeline.model, _CENTERNET))
            expected = _centernet_cap(subject.reference_pipeline)
            if kept < min(expected, _COCO_DETECTIONS):
                yield self._capped([f"model.center_net.{_CENTERNET}"], kept, expected)

    def _nms(self, subject: Subject, nms: FinalNms) -> Iterator[Finding]:
        per_class = int(nms.message.max_detections_per_class)
        total = int(nms.message.max_total_detections)
        paths = [nms.at("max_total_detections"), nms.at("max_detections_per_class")]
        if per_class > total:
            yield self.finding(
                "detections_capped",
                Severity.FATAL,
                fields=paths,
                found=f"{per_class} detections per class and {total} in total",
                expected="no more per class than in total",
                why="The OD API stops while it builds the model.",
                fix=[FieldFix(paths[0], max(per_class, _COCO_DETECTIONS))],
            )
            return
        if total < _COCO_DETECTIONS:
            expected = max(subject.reference_quantities.max_detections or 0, _COCO_DETECTIONS)
            yield self._capped(paths[:1], total, expected)
        elif per_class < min(
            _COCO_DETECTIONS, subject.reference_quantities.max_detections_per_class or 100
        ):
            few = per_class < 20
            yield self.finding(
                "detections_capped",
                Severity.WARNING if few else Severity.INFO,
                fields=paths[1:],
                found=f"{per_class} detections per class",
                expected=f"{subject.reference_quantities.max_detections_per_class or 100}",
                why="Images with more objects of one class (crowds, books, birds) lose the rest.",
                loss_ap=1.0 if few else 0.2,  # judged
                fix=[FieldFix(paths[1], min(_COCO_DETECTIONS, total))],
            )

    def _capped(self, paths: list[str], kept: int, expected: int) -> Finding:
        if kept <= 0:
            severity, loss_ap = Severity.FATAL, 50.0
        else:
            loss_ap = _cost(kept)
            severity = Severity.WARNING if loss_ap >= 0.5 else Severity.INFO
        return self.finding(
            "detections_capped",
            severity,
            fields=paths,
            found=f"{kept} detections are kept an image",
            expected=f"{expected}; COCO's metrics look at {_COCO_DETECTIONS}",
            why="Without detections there is nothing to score."
            if kept <= 0
            else "Objects beyond them count as missed, whatever the model saw.",
            loss_ap=loss_ap,
            evidence=published("detections_100") if kept > 0 else (),
            fix=[FieldFix(path, expected) for path in paths],
        )


def _cost(kept: int) -> float:
    """AP lost; judged: 10 boxes an image as 10 proposals (-6.4), and less for each doubling."""
    for most, loss_ap in ((10, 6.4), (20, 3.0), (50, 1.0), (75, 0.5)):
        if kept <= most:
            return loss_ap
    return 0.2


def _centernet_cap(pipeline: Pipeline) -> int:
    if pipeline.meta_architecture != "center_net":
        return _COCO_DETECTIONS
    return int(descend(pipeline.model, _CENTERNET))
