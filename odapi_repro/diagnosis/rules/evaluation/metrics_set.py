"""What an evaluation measures is not what was reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.command import nearest
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline

_PATH = "eval_config.metrics_set"
_COCO, _MASKS = "coco_detection_metrics", "coco_mask_metrics"
# eval_util.EVAL_METRICS_CLASS_DICT
_KNOWN = (
    _COCO,
    "coco_keypoint_metrics",
    _MASKS,
    "coco_panoptic_metrics",
    "lvis_mask_metrics",
    "oid_challenge_detection_metrics",
    "oid_challenge_segmentation_metrics",
    "pascal_voc_detection_metrics",
    "weighted_pascal_voc_detection_metrics",
    "precision_at_recall_detection_metrics",
    "pascal_voc_instance_segmentation_metrics",
    "weighted_pascal_voc_instance_segmentation_metrics",
    "oid_V2_detection_metrics",
)


class WrongMetricsSet(Rule):
    """The evaluation measures something else than what was reported.

    The zoo reports COCO's AP, the mean over IoU 0.50 to 0.95. Pascal VOC's mAP at IoU 0.5 is 15 to
    25 points higher for the same detections.

    Anti-pattern

        eval_config { metrics_set: "pascal_voc_detection_metrics" }

    or a mask model without `coco_mask_metrics`.

    Best practice

        metrics_set: "coco_detection_metrics"

    and `coco_mask_metrics` beside it for masks. Leave include_metrics_per_category out, unless
    your pycocotools computes category_stats.

    Source

    eval_util.get_evaluators (unset is coco_detection_metrics; an unknown name is refused),
    metrics/coco_evaluation.CocoMaskEvaluator (reads detection_masks),
    metrics/coco_tools.COCOEvalWrapper.ComputeMetrics ('Category stats do not exist').
    """

    code: ClassVar[str] = "EVA004"
    name: ClassVar[str] = "evaluation.metrics_set"
    causes: ClassVar[tuple[str, ...]] = ("wrong_metrics_set", "per_category_metrics_unsupported")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for unknown metrics, then for missing and impossible ones."""
        evaluation = subject.pipeline.proto.eval_config
        # Unset means COCO's box metrics.
        metrics = [str(name) for name in evaluation.metrics_set] or [_COCO]
        unknown = [name for name in metrics if name not in _KNOWN]
        if unknown:
            yield self._wrong(
                Severity.FATAL,
                f"metrics_set '{unknown[0]}'",
                f"{_COCO}, or another of eval_util's",
                "The evaluation stops with 'Metric not found'"
                + (f"; {close.strip()}" if (close := nearest(unknown[0], _KNOWN)) else "."),
                0.0,
                [_COCO, *([_MASKS] if _has_masks(subject.pipeline) else [])],
            )
        elif _COCO not in metrics:
            yield self._wrong(
                Severity.WARNING,
                f"{', '.join(metrics)} and no COCO box AP",
                _COCO,
                "The number is of another metric and cannot be compared with the reported AP: "
                "Pascal VOC's mAP is taken at IoU 0.5 alone.",
                # Judged: nothing is lost, but the comparison is void.
                1.0,
                [_COCO, *metrics],
            )
        yield from self._masks(subject, metrics)
        yield from self._per_category(subject)

    def _masks(self, subject: Subject, metrics: list[str]) -> Iterator[Finding]:
        has_masks = _has_masks(subject.pipeline)
        known = subject.pipeline.meta_architecture in ("ssd", "faster_rcnn", "center_net")
        if has_masks and not any("mask" in name or "segmentation" in name for name in metrics):
            yield self._wrong(
                Severity.WARNING,
                "masks are predicted and not evaluated",
                f"{_MASKS} beside {_COCO}",
                "There will be no mask AP to compare with the reported one.",
                0.5,  # judged: nothing is lost but the number
                [*metrics, _MASKS],
            )
        elif _MASKS in metrics and not has_masks and known and not _has_mask_head(subject.pipeline):
            yield self._wrong(
                Severity.FATAL,
                "coco_mask_metrics for a model without masks",
                _COCO,
                "The evaluator asks for detection_masks, which are not there, and the evaluation "
                "stops at its first image.",
                0.0,
                [name for name in metrics if name != _MASKS],
            )

    def _per_category(self, subject: Subject) -> Iterator[Finding]:
        evaluation = subject.pipeline.proto.eval_config
        # Without metrics_set the evaluator is made with its defaults, whatever the config says.
        read = any(name in (_COCO, _MASKS) for name in evaluation.metrics_set)
        if not (evaluation.include_metrics_per_category and read):
            return
        reference = subject.reference_pipeline.proto.eval_config
        path = "eval_config.include_metrics_per_category"
        yield self.finding(
            "per_category_metrics_unsupported",
            Severity.INFO if reference.include_metrics_per_category else Severity.WARNING,
            fields=[path],
            found="metrics per category",
            expected="left out, or a pycocotools that computes category_stats",
            why="pycocotools as it comes from PyPI does not: the evaluation then stops with "
            "'Category stats do not exist' after its last image, before any metric is written.",
            loss_ap=0.3,  # judged: no AP is lost, only the evaluation
            fix=[FieldFix(path, None)],
        )

    def _wrong(
        self,
        severity: Severity,
        found: str,
        expected: str,
        why: str,
        loss_ap: float,
        mended: list[str],
    ) -> Finding:
        return self.finding(
            "wrong_metrics_set",
            severity,
            fields=[_PATH],
            found=found,
            expected=expected,
            why=why,
            loss_ap=loss_ap,
            fix=[FieldFix(_PATH, mended)],
        )


def _has_mask_head(pipeline: Pipeline) -> bool:
    """Whether masks are only missing because number_of_stages is too low, which MOD005 tells."""
    if pipeline.meta_architecture != "faster_rcnn":
        return False
    predictor = pipeline.proto.model.faster_rcnn.second_stage_box_predictor
    return bool(predictor.mask_rcnn_box_predictor.predict_instance_masks)


def _has_masks(pipeline: Pipeline) -> bool:
    """Whether detections come with masks."""
    if pipeline.meta_architecture == "center_net":
        model = pipeline.proto.model.center_net
        return bool(
            model.HasField("mask_estimation_task") or model.HasField("deepmac_mask_estimation")
        )
    return pipeline.predicts_masks
