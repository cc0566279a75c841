"""Too few detections are kept an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.evaluation.final_nms import FinalNms, final_nms
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend

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
