"""Rules about which annotations the input readers read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import input_patterns

# The proto's default, and what configs/tf2 keep on COCO.
_DEFAULT = 100
# COCO has 860,000 boxes on 118,000 images, 7 an image: 5 leave out most of them, 20 those of
# crowded images. A judgement: nobody published the price.
_FEW, _VERY_FEW = 20, 5


class MaxBoxesTruncates(Rule):
    """A reader keeps fewer ground-truth boxes an image than there may be.

    Anti-pattern

        train_input_reader {
          max_number_of_boxes: 10
        }

    Boxes beyond the tenth are dropped without a word, and the objects in them are trained as
    background. In the eval reader they are missing from the ground truth.

    Best practice

        train_input_reader {
          max_number_of_boxes: 100
        }

    At least as many as the most crowded image has; memory for masks grows with it, for boxes
    hardly. `train_config.max_number_of_boxes` has no effect.

    Source

    inputs.pad_input_data_to_static_shapes, with InputReader.max_number_of_boxes (default 100).
    """

    code = "DAT007"
    name = "data.max_boxes"
    causes = ("max_boxes_truncates_gt",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for each reader that keeps fewer boxes than the reference and 100."""
        proto, reference = subject.pipeline.proto, subject.reference_pipeline.proto
        readers = [
            ("train_input_reader", proto.train_input_reader, reference.train_input_reader),
        ]
        if proto.eval_input_reader and reference.eval_input_reader:
            theirs = reference.eval_input_reader[0]
            readers.append(("eval_input_reader[0]", proto.eval_input_reader[0], theirs))
        for name, reader, other in readers:
            kept = int(reader.max_number_of_boxes)
            usual = min(int(other.max_number_of_boxes), _DEFAULT)
            if kept >= usual:
                continue
            field = f"{name}.max_number_of_boxes"
            trained = name == "train_input_reader"
            if kept <= 0:
                severity, loss = Severity.FATAL, 100.0
            elif kept < _VERY_FEW:
                severity, loss = Severity.CRITICAL, 20.0
            else:
                severity = Severity.WARNING if kept <= _FEW else Severity.INFO
                loss = 4.0 if kept <= _FEW else 0.5
            yield self.finding(
                "max_boxes_truncates_gt",
                severity,
                fields=(field,),
                found=f"{name} keeps {max(kept, 0)} boxes of an image",
                expected=f"{usual}, or as many as the most crowded image has",
                why=(
                    "Boxes beyond these are dropped silently, and their objects are trained as "
                    "background."
                    if trained
                    else "Boxes beyond these are not ground truth: finding them counts as a false "
                    "alarm."
                ),
                loss_ap=loss,
                fix=(FieldFix(field, usual),),
            )


class CrowdTrainedAsPositive(Rule):
    """COCO's crowd regions are trained as if each were one object.

    Anti-pattern

        tf_record_input_reader {
          input_path: "coco_train.record-?????-of-00100"
        }

    `iscrowd` is read from the records and used by the metrics only: a region of many people is a
    positive example of one large person. All of configs/tf2 does so, and its numbers include it.

    Best practice

    Leave it as it is to compare with the zoo. To leave crowds out, write records without them; no
    field of a config does it.

    Source

    dataset_tools/create_coco_tf_record.py writes crowds; meta_architectures/ssd_meta_arch.py and
    faster_rcnn_meta_arch.py do not look at groundtruth_is_crowd. Maintainers of tensorpack saw no
    difference from leaving them out.
    """

    code = "DAT010"
    name = "data.crowd_trained_as_positive"
    causes = ("crowd_trained_as_positive",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a reminder where the training records are named as COCO's are."""
        patterns = input_patterns(subject.pipeline)
        if not patterns or subject.pipeline.meta_architecture not in ("ssd", "faster_rcnn"):
            return
        if not all("train2017" in one or "coco_train" in one for one in patterns):
            return
        yield self.finding(
            "crowd_trained_as_positive",
            Severity.INFO,
            fields=("train_input_reader.tf_record_input_reader.input_path",),
            found="COCO's crowd regions are trained as single objects",
            expected="nothing to change; the reference does the same",
            why="Some other code bases leave them out, which was seen to make no difference.",
            evidence=published("crowd"),
        )


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
