"""Keypoints that readers load for a model without them, or do not load for one that needs them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import input_patterns

# Records of COCO's people may hold keypoints; 90 is the ids of COCO.
_COCO = re.compile(r"coco|20(14|17)|keypoint|kpts|pose", re.IGNORECASE)
_COCO_CLASSES = 90


class KeypointsRead(Rule):
    """Readers load keypoints that the model does not use, or not those that it needs.

    Anti-pattern

        model { center_net { ... } }       # no keypoint_estimation_task
        train_input_reader {
          num_keypoints: 17
          tf_record_input_reader { input_path: "my_boxes.record" }
        }

    as in the config of the zoo's CenterNet MobileNetV2 for boxes. Of records that hold boxes and
    no keypoints, the input stops at the first: `indices[0] = 0 is not in [0, 0)`.

    Best practice

    Leave num_keypoints out of both readers of a model without keypoint_estimation_task. For a
    model with one, num_keypoints is how many keypoints the records hold for each object.

    Source

    data_decoders/tf_example_decoder.py: keypoints are reshaped to [-1, num_keypoints, 2];
    utils/ops.retain_groundtruth gathers as many of them as there are boxes, for any model.
    inputs.train_input hands keypoint_type_weight on as the proto's own list.
    center_net_meta_arch.CenterNetMetaArch.loss: 'Groundtruth tensor keypoints has not been
    provided'. builders/model_builder._build_center_net_model: DeepMAC has no keypoint tasks.
    """

    code = "DAT011"
    name = "data.keypoints"
    causes = (
        "keypoints_not_in_records",
        "keypoint_count_mismatch",
        "keypoint_type_weight_unsupported",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Holds num_keypoints of the readers against the model's tasks."""
        proto = subject.pipeline.proto
        # A config without a model has other things to be told.
        if not subject.pipeline.meta_architecture:
            return
        readers = {"train_input_reader": proto.train_input_reader}
        if proto.eval_input_reader:
            readers["eval_input_reader[0]"] = proto.eval_input_reader[0]
        yield from self._type_weights(readers)
        if subject.pipeline.keypoint_tasks:
            lacking = [name for name, reader in readers.items() if not reader.num_keypoints]
            yield from self._lacking(subject, lacking)
            return
        loading = {name: one.num_keypoints for name, one in readers.items() if one.num_keypoints}
        if loading:
            yield self._unused(subject, loading)

    def _type_weights(self, readers: dict[str, Any]) -> Iterator[Finding]:
        for name, reader in readers.items():
            if reader.num_keypoints and reader.keypoint_type_weight:
                field = f"{name}.keypoint_type_weight"
                yield self.finding(
                    "keypoint_type_weight_unsupported",
                    Severity.FATAL,
                    fields=(field,),
                    found=f"{name} has keypoint_type_weight",
                    expected="no keypoint_type_weight: all keypoints weigh the same",
                    why="The input cannot be built under TensorFlow 2, which takes no repeated "
                    "field of a proto for a tensor: 'Tried to convert 'input' to a tensor and "
                    "failed'.",
                    loss_ap=90.0,
                    fix=[FieldFix(field, None)],
                )

    def _unused(self, subject: Subject, loading: dict[str, int]) -> Finding:
        fields = [f"{name}.num_keypoints" for name in loading]
        patterns = input_patterns(subject.pipeline)
        perhaps_coco = subject.pipeline.num_classes == _COCO_CLASSES or any(
            _COCO.search(one) for one in patterns
        )
        return self.finding(
            "keypoints_not_in_records",
            Severity.WARNING if perhaps_coco else Severity.CRITICAL,
            fields=fields,
            found="; ".join(f"{name} reads {count} keypoints" for name, count in loading.items())
            + ", and the model has no keypoint task",
            expected="no num_keypoints: nothing uses them",
            why="Of records with boxes and no keypoints the input stops at the first: 'indices[0] "
            "= 0 is not in [0, 0)'. `data check` says whether yours have them.",
            loss_ap=90.0,
            fix=[FieldFix(field, None) for field in fields],
        )

    def _lacking(self, subject: Subject, lacking: list[str]) -> Iterator[Finding]:
        task = subject.pipeline.keypoint_tasks[0].task_name
        theirs = subject.reference_pipeline.proto.train_input_reader.num_keypoints
        if not lacking:
            return
        fields = [f"{name}.num_keypoints" for name in lacking]
        verb = "reads" if len(lacking) == 1 else "read"
        in_training = lacking[0] == "train_input_reader"
        yield self.finding(
            "keypoint_count_mismatch",
            Severity.FATAL,
            fields=fields,
            found=f"{' and '.join(lacking)} {verb} no keypoints, and the model has the keypoint "
            f"task '{task}'",
            expected="num_keypoints: as many as the records hold for each object"
            + (f" (the reference: {theirs})" if theirs else ""),
            why="The loss stops with 'Groundtruth tensor keypoints has not been provided'"
            + ("." if in_training else ", at the evaluation's first image."),
            loss_ap=90.0,
        )
