"""How many stages of Faster R-CNN are built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.model_parts import box_predictor
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

_PATH = "model.faster_rcnn.number_of_stages"


class NumberOfStages(Rule):
    """Fewer stages are built than the task needs.

    Stage 1 is the proposal network alone: boxes without a class. Stage 2 classifies and refines
    them. Stage 3 adds masks.

    Anti-pattern

        faster_rcnn { number_of_stages: 1 num_classes: 4 }

    which trains and evaluates proposals, whatever num_classes says.

    Best practice

    2 for boxes, 3 for masks; 3 needs `predict_instance_masks: true` in the mask_rcnn_box_predictor.

    Source

    meta_architectures/faster_rcnn_meta_arch: the module's docstring, predict (stages 2 and 3 only
    from number_of_stages on), postprocess (stage 1 gives class-agnostic proposals), and the
    constructor, which refuses numbers outside 1 to 3.
    """

    code: ClassVar[str] = "MOD005"
    name: ClassVar[str] = "model.number_of_stages"
    causes: ClassVar[tuple[str, ...]] = ("number_of_stages_reduced", "number_of_stages_refused")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the stages with the reference's, and with what can be built."""
        if subject.pipeline.meta_architecture != "faster_rcnn":
            return
        stages = int(descend(subject.pipeline.model, "number_of_stages"))
        reference = 2
        if subject.same_architecture:
            reference = int(descend(subject.reference_pipeline.model, "number_of_stages"))
        masks = "coco_mask_metrics" in subject.pipeline.proto.eval_config.metrics_set
        if not 1 <= stages <= 3:
            yield self._refused(
                stages, f"{reference}", "The OD API stops: the number must be 1, 2 or 3.", reference
            )
        elif stages == 3 and not self._predicts_masks(subject):
            yield self._refused(
                stages,
                "a mask_rcnn_box_predictor that predicts instance masks",
                "The third stage asks the box predictor for masks; it has none, and training stops "
                "at the first step.",
                2,
            )
        elif stages == 1:
            yield self._reduced(
                Severity.FATAL,
                "only the proposal network is trained (1 stage)",
                f"{reference} stages",
                "Nothing classifies or refines the boxes: num_classes is ignored and what is "
                "evaluated is the class-agnostic AP of proposals"
                + (", until coco_mask_metrics asks for masks and stops it." if masks else "."),
                reference,
            )
        elif stages < reference:
            yield self._reduced(
                Severity.CRITICAL,
                "2 stages: no masks are trained or predicted",
                "3 stages",
                "The boxes train as before; the mask loss is gone"
                + (
                    ", and evaluation stops for want of masks (coco_mask_metrics)."
                    if masks
                    else " and there is no mask AP."
                ),
                reference,
            )

    @staticmethod
    def _predicts_masks(subject: Subject) -> bool:
        predictor = box_predictor(subject.pipeline)
        return predictor.kind == "mask_rcnn_box_predictor" and bool(
            predictor.message.predict_instance_masks
        )

    def _refused(self, stages: int, expected: str, why: str, mended: int) -> Finding:
        return self.finding(
            "number_of_stages_refused",
            Severity.FATAL,
            fields=[_PATH],
            found=f"{stages} stages",
            expected=expected,
            why=why,
            fix=[FieldFix(_PATH, mended)],
        )

    def _reduced(
        self, severity: Severity, found: str, expected: str, why: str, mended: int
    ) -> Finding:
        return self.finding(
            "number_of_stages_reduced",
            severity,
            fields=[_PATH],
            found=found,
            expected=expected,
            why=why,
            loss_ap=30.0,  # judged: no detections (1), or no mask AP at all (2)
            fix=[FieldFix(_PATH, max(mended, 2))],
        )
