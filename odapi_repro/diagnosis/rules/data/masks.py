"""Masks that the model needs and the readers do not load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

_MASK_METRICS = frozenset(
    {
        "coco_mask_metrics",
        "coco_panoptic_metrics",
        "lvis_mask_metrics",
        "oid_challenge_segmentation_metrics",
        "pascal_voc_instance_segmentation_metrics",
        "weighted_pascal_voc_instance_segmentation_metrics",
    }
)


class MasksNotLoaded(Rule):
    """The model or its metrics need instance masks, and a reader does not load them.

    Anti-pattern

        faster_rcnn { number_of_stages: 3 }
        train_input_reader {
          tf_record_input_reader { input_path: "train.record" }
        }

    `load_instance_masks` is false by default. And `mask_type` is NUMERICAL_MASKS by default,
    while the bundled converters write PNG_MASKS.

    Best practice

        train_input_reader {
          load_instance_masks: true
          mask_type: PNG_MASKS
          tf_record_input_reader { input_path: "train.record" }
        }

    The same in eval_input_reader; `coco_mask_metrics` for mask models only.

    Source

    meta_architectures/faster_rcnn_meta_arch.py, _loss_box_classifier (ValueError without masks);
    builders/decoder_builder.py and data_decoders/tf_example_decoder.py;
    metrics/coco_evaluation.CocoMaskEvaluator, which takes the masks by key.
    """

    code = "DAT008"
    name = "data.masks_not_loaded"
    causes = ("masks_not_loaded",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields findings for the training reader, the first eval reader, and the metrics."""
        proto, reference = subject.pipeline.proto, subject.reference_pipeline.proto
        masks = _trains_masks(subject)
        metrics = sorted(_MASK_METRICS.intersection(proto.eval_config.metrics_set))
        if masks:
            yield from self._reader(
                "train_input_reader",
                proto.train_input_reader,
                reference.train_input_reader,
                "Training stops with `Groundtruth instance masks not provided`.",
            )
        if (masks or metrics) and proto.eval_input_reader:
            theirs = reference.eval_input_reader
            yield from self._reader(
                "eval_input_reader[0]",
                proto.eval_input_reader[0],
                theirs[0] if theirs else reference.train_input_reader,
                "The evaluation stops at the first image: its masks are missing.",
            )
        if metrics and not masks:
            yield self.finding(
                "masks_not_loaded",
                Severity.FATAL,
                fields=("eval_config.metrics_set",),
                found=f"{metrics[0]} for a model that predicts no masks",
                expected="coco_detection_metrics, or a model with masks",
                why="The evaluation stops with a KeyError, because there are no masks to score.",
                loss_ap=30.0,  # training is untouched, and the stages may be the cause
            )

    def _reader(self, name: str, reader: Any, reference: Any, why: str) -> Iterator[Finding]:
        if not reader.load_instance_masks:
            field = f"{name}.load_instance_masks"
            yield self.finding(
                "masks_not_loaded",
                Severity.FATAL,
                fields=(field,),
                found=f"{name} does not load instance masks",
                expected="load_instance_masks: true",
                why=why,
                loss_ap=90.0,
                fix=(FieldFix(field, True),),
            )
            return
        types = reader.DESCRIPTOR.fields_by_name["mask_type"].enum_type.values_by_number
        given, usual = types[reader.mask_type].name, types[reference.mask_type].name
        if given == "PNG_MASKS" or usual != "PNG_MASKS" or not reference.load_instance_masks:
            return
        field = f"{name}.mask_type"
        yield self.finding(
            "masks_not_loaded",
            Severity.WARNING,
            fields=(field,),
            found=f"{name} reads masks as {given}"
            + ("" if reader.HasField("mask_type") else ", the default"),
            expected="PNG_MASKS, as the bundled converters write",
            why="Records with PNG masks cannot be read as numbers: reading stops at the first.",
            loss_ap=30.0,
            fix=(FieldFix(field, "PNG_MASKS"),),
        )


def _trains_masks(subject: Subject) -> bool:
    if subject.pipeline.meta_architecture == "center_net":
        model = subject.pipeline.proto.model.center_net
        return bool(
            model.HasField("mask_estimation_task") or model.HasField("deepmac_mask_estimation")
        )
    predictor = subject.pipeline.proto.model.faster_rcnn.second_stage_box_predictor
    return bool(
        subject.pipeline.predicts_masks and predictor.mask_rcnn_box_predictor.predict_instance_masks
    )
