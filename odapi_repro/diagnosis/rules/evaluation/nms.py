"""Non-maximum suppression is not the reference's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.evaluation.final_nms import FinalNms, final_nms
from odapi_repro.diagnosis.subject import Subject


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
