"""Too few training images."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject

# From ImageNet's backbone on COCO, He et al. 2018: 10,000 images 26 AP, 1,000 images 10 AP.
_FEW, _VERY_FEW = 10_000, 1_000
# After COCO (`detection`) much less will do; a judgement, from what custom data sets get by with.
_FEW_AFTER_COCO = 500
_PER_CLASS = 50


class DatasetTooSmall(Rule):
    """The training set is too small for what the model starts from.

    Anti-pattern

        # 800 images
        fine_tune_checkpoint: "efficientnet_b3/ckpt-0"
        fine_tune_checkpoint_type: "classification"

    Best practice

        # 800 images
        fine_tune_checkpoint: "efficientdet_d3_coco17_tpu-32/checkpoint/ckpt-0"
        fine_tune_checkpoint_type: "detection"

    With little data, start from a detector trained on COCO, restore its feature extractor, train
    a few thousand steps at a low rate, and add images before anything else.

    Source

    He et al. 2018 (arXiv 1811.08883), section 5.2: from ImageNet, 35,000 images of COCO give
    36.3 AP, 10,000 give 26.0, 3,500 give 16.0 and 1,000 give 9.9.
    How many images there are is told by --train_images; shares of COCO are DAT002's.
    """

    code = "DAT006"
    name = "data.dataset_too_small"
    causes = ("dataset_too_small",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the number of images was given and is small."""
        images = subject.circumstances.train_images
        if images is None or images < 0:
            return
        restore = subject.quantities.checkpoint_restore
        classes = max(subject.pipeline.num_classes, 1)
        per_class = images / classes
        if restore in ("detection", "full"):
            if images >= _FEW_AFTER_COCO and (per_class >= _PER_CLASS or images >= _FEW):
                return
            start, severity, loss = "a detection checkpoint", Severity.WARNING, 5.0
        elif images < _VERY_FEW:
            start, severity, loss = _start(restore), Severity.CRITICAL, 30.0
        elif images < _FEW:
            start, severity, loss = _start(restore), Severity.WARNING, 15.0
        else:
            return
        yield self.finding(
            "dataset_too_small",
            severity,
            fields=("train_input_reader.tf_record_input_reader.input_path",),
            found=(
                f"{images:,} training images for {classes} classes ({per_class:.3g} each), "
                f"starting from {start}"
            ),
            expected=(
                f"{_FEW_AFTER_COCO} images and {_PER_CLASS} a class"
                if restore in ("detection", "full")
                else "a detection checkpoint to start from, or more than 10,000 images"
            ),
            why=(
                "The images come round many times, and the model learns them by heart. From a "
                "backbone, 10,000 images of COCO gave 26 AP and 1,000 gave 10, all of them 41."
            ),
            loss_ap=loss,
            evidence=published("data_1_percent" if images < 3_000 else "data_10_percent"),
        )


def _start(restore: str) -> str:
    return "random weights" if restore == "none" else "a classification backbone"
