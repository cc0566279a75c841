"""Checkpoints that only TensorFlow 1 restores."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.checkpoint.archives import archive_of
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of, is_placeholder


class CheckpointVersion(Rule):
    """The checkpoint is read as TensorFlow 1's, which training refuses.

    Anti-pattern

        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "detection"

    `fine_tune_checkpoint_version` is not set, and its default in the proto is V1. The other form
    is a checkpoint of the TF1 zoo, `ssd_mobilenet_v2_coco_2018_03_29/model.ckpt`, which no
    setting makes readable.

    Best practice

        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "detection"
        fine_tune_checkpoint_version: V2

    Source

    protos/train.proto; model_lib_v2.load_fine_tune_checkpoint: ValueError for V1, IOError for a
    checkpoint that is not object-based.
    """

    code = "CKP001"
    name = "checkpoint.version"
    causes = ("ckpt_version_v1",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for the version, and one for a checkpoint of TensorFlow 1."""
        train = subject.pipeline.proto.train_config
        path = str(train.fine_tune_checkpoint)
        if not path:
            return
        versions = train.DESCRIPTOR.fields_by_name["fine_tune_checkpoint_version"].enum_type
        version = versions.values_by_number[train.fine_tune_checkpoint_version].name
        field = "train_config.fine_tune_checkpoint_version"
        if version != "V2":
            unset = not train.HasField("fine_tune_checkpoint_version")
            yield self.finding(
                "ckpt_version_v1",
                Severity.FATAL,
                fields=(field,),
                found=(
                    "fine_tune_checkpoint_version is not set, and its default is V1"
                    if unset
                    else f"fine_tune_checkpoint_version is {version}"
                ),
                expected="V2",
                why="Training stops with `Checkpoint version should be V2` when it restores.",
                loss_ap=100.0,
                fix=(FieldFix(field, "V2"),),
            )
        if not is_placeholder(path) and _is_tf1(subject, path):
            yield self.finding(
                "ckpt_version_v1",
                Severity.FATAL,
                fields=("train_config.fine_tune_checkpoint",),
                found=f"{path} is a checkpoint of TensorFlow 1",
                expected="one of the TF2 zoo, such as <archive>/checkpoint/ckpt-0",
                why=(
                    "It holds variables by name instead of objects, and training stops with "
                    "`Checkpoint is expected to be an object-based checkpoint`."
                ),
                loss_ap=100.0,
            )


def _is_tf1(subject: Subject, path: str) -> bool:
    if folder_of(path, look=subject.circumstances.look_at_disk):
        # Imported here: few configs name a checkpoint that is on this disk.
        from odapi_repro.diagnosis.finished_run.checkpoints import checkpoint_kind

        kind = checkpoint_kind(path)
        if kind != "unknown":
            return kind == "tf1"
    archive = archive_of(path)
    return archive is not None and archive.kind == "tf1"
