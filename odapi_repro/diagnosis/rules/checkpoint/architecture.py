"""A checkpoint of another model."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.checkpoint.archives import archive_of, backbone_of, spelt
from odapi_repro.diagnosis.rules.config.feature_extractor import (
    TF1_FEATURE_EXTRACTORS,
    TF2_FEATURE_EXTRACTORS,
)
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import is_placeholder

_PATH = "train_config.fine_tune_checkpoint"


class CheckpointOfOtherArchitecture(Rule):
    """The checkpoint's name is that of another model, whose weights do not fit.

    Anti-pattern

        feature_extractor { type: "ssd_efficientnet-b3_bifpn_keras" }
        fine_tune_checkpoint: "efficientdet_d0_coco17_tpu-32/checkpoint/ckpt-0"

    Best practice

        feature_extractor { type: "ssd_efficientnet-b3_bifpn_keras" }
        fine_tune_checkpoint: "efficientdet_d3_coco17_tpu-32/checkpoint/ckpt-0"

    The same feature extractor at another image size fits: Faster R-CNN and SSD ResNet share a
    checkpoint between 640 and 1024 pixels, Faster R-CNN with Inception ResNet v2 gives Mask R-CNN
    its extractor (`detection`), and EfficientDet-D6 and D7 have one backbone.

    Source

    The zoos' archive names (g3doc/tf2_detection_zoo.md, tf2_classification_zoo.md). Restoring
    checks that all objects match (model_lib_v2.load_fine_tune_checkpoint) and that shapes do.
    """

    code = "CKP005"
    name = "checkpoint.other_architecture"
    causes = ("ckpt_from_other_architecture",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the path names an archive of another extractor or backbone."""
        path = str(subject.pipeline.proto.train_config.fine_tune_checkpoint)
        archive = archive_of(path) if path and not is_placeholder(path) else None
        extractor = getattr(subject.pipeline.model, "feature_extractor", None)
        given = str(getattr(extractor, "type", ""))
        if archive is None or not given or _unheard_of(subject.pipeline.meta_architecture, given):
            return  # CFG006 tells of a name that no model has
        if archive.kind == "classification":
            backbone = backbone_of(given)
            if not backbone or backbone in archive.fits:
                return
            expected = f"a checkpoint of {backbone}"
        elif archive.kind == "detection" and _plain(given) not in map(_plain, archive.fits):
            expected = f"a checkpoint of a model with {given}"
        else:
            return
        held = ", ".join(sorted(archive.fits))
        yield self.finding(
            "ckpt_from_other_architecture",
            Severity.FATAL if archive.published else Severity.WARNING,
            fields=(_PATH, f"model.{subject.pipeline.meta_architecture}.feature_extractor.type"),
            found=f"the model is built on {given}, and by its name {archive.name} holds {held}",
            expected=expected,
            why=(
                "Layers are missing or have other shapes: training stops with an AssertionError or "
                "a ValueError when it restores."
            ),
            loss_ap=100.0 if archive.published else 20.0,
        )


def _unheard_of(meta_architecture: str, extractor: str) -> bool:
    known = TF2_FEATURE_EXTRACTORS.get(meta_architecture, frozenset())
    return _plain(extractor) not in map(_plain, known | TF1_FEATURE_EXTRACTORS)


def _plain(extractor: str) -> str:
    """The name without slips and TensorFlow 2's suffix: what is wrong with those is CFG006's."""
    return spelt(extractor).removesuffix("_keras")
