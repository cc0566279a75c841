"""A whole model restored into one of other classes."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.checkpoint.archives import archive_of, base_name
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import is_placeholder, parts_of

_TYPE = "train_config.fine_tune_checkpoint_type"
# Every detection model of the zoo was trained on COCO, with its ids up to 90.
_ZOO_CLASSES = 90


class FullRestoreOfOtherClasses(Rule):
    """`full` restores the heads too, and the zoo's have 90 classes.

    Anti-pattern

        ssd { num_classes: 3 }
        fine_tune_checkpoint: "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "full"

    Best practice

        ssd { num_classes: 3 }
        fine_tune_checkpoint: "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "detection"

    `detection` restores the feature extractor with its pyramid, and the heads start anew. `full`
    is for the same classes in the same order, to go on with a training.

    Source

    restore_from_objects of the meta-architectures ({'model': self} for `full`); TensorFlow's
    restore raises ValueError where shapes differ.
    """

    code = "CKP008"
    name = "checkpoint.full_with_other_classes"
    causes = ("ckpt_full_with_other_classes",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when a zoo model is restored in full into another number of classes."""
        train = subject.pipeline.proto.train_config
        path = str(train.fine_tune_checkpoint)
        classes = subject.pipeline.num_classes
        if train.fine_tune_checkpoint_type != "full" or not path or is_placeholder(path):
            return
        if not hasattr(subject.pipeline.model, "num_classes") or classes == _ZOO_CLASSES:
            return
        archive = archive_of(path)
        exported = base_name(path) == "ckpt-0" and "checkpoint" in parts_of(path)[-2:-1]
        of_the_zoo = archive is not None and archive.kind == "detection" and archive.published
        if not of_the_zoo and not exported:
            return
        yield self.finding(
            "ckpt_full_with_other_classes",
            Severity.FATAL if of_the_zoo else Severity.WARNING,
            fields=(_TYPE, f"model.{subject.pipeline.meta_architecture}.num_classes"),
            found=f"`full` of {path} into {classes} classes",
            expected="`detection`, or the 90 classes that the zoo's models have",
            why=(
                "The class heads have other shapes than the checkpoint's: training stops with a "
                "ValueError when it restores."
                if of_the_zoo
                else "If it is a model of the zoo, its heads have 90 classes and do not fit."
            ),
            loss_ap=100.0 if of_the_zoo else 20.0,
            fix=(FieldFix(_TYPE, "detection"),),
        )
