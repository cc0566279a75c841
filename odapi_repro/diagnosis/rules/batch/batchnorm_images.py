"""Batch norm over a few images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.comparison import number, start_of
from odapi_repro.diagnosis.subject import Subject


class BatchnormImages(Rule):
    """Batch norm takes its statistics over too few images.

    While training, it normalises with the statistics of the images of one replica, and evaluates
    with their running average. Over one or two images the two are far apart. What counts is images
    per replica, so several GPUs help nothing by themselves, and batch norm that is frozen is not
    concerned. From a detector checkpoint the averages are good at the start, which lessens it.

    Anti-pattern

        train_config { batch_size: 2 }               # an EfficientDet on one GPU

    Best practice

    As many images per replica as the reference has, 4 at least. Where memory forbids: a smaller
    input, or frozen batch norm (`freeze_batchnorm: true` in SSD, when a detector is fine-tuned;
    `batch_norm_trainable: false` in Faster R-CNN). EfficientDet's backbone cannot be frozen.

    Source

    Chen et al. 2019 (mmdetection), arXiv 1906.07155: statistics over 2 images a GPU instead of
    frozen ones cost 3.1 AP. core/freezable_batch_norm.py; the batch of a replica:
    builders/dataset_builder.build. For one-stage models no sweep was found.
    """

    code: ClassVar[str] = "BAT001"
    name: ClassVar[str] = "batch.batchnorm_images"
    causes: ClassVar[tuple[str, ...]] = ("tiny_batch_batchnorm",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Holds images per update against the reference's, then against what is workable."""
        images = subject.quantities.batchnorm_images
        reference = subject.reference_quantities.batchnorm_images
        if images is None or not 0 < images < 8:
            return
        if reference is not None and images >= 0.9 * reference:
            return
        fine_tuned = start_of(subject.pipeline) == "detector"
        yield self.finding(
            "tiny_batch_batchnorm",
            _severity(images, fine_tuned),
            fields=["train_config.batch_size", *_switch(subject)],
            found=f"batch norm is trained on {number(images)} "
            f"{'image' if images == 1 else 'images'} at a time" + _replicas(subject),
            expected=f"{number(reference)} in the reference"
            if reference is not None
            else "stored statistics in the reference",
            why="Statistics over so few images change from step to step, and the averages that "
            "evaluation uses fit none of them."
            + (
                " A detector checkpoint starts with good averages; training overwrites them."
                if fine_tuned
                else ""
            ),
            loss_ap=_loss(images) * (0.5 if fine_tuned else 1.0),
            evidence=published("bn_train_2_images"),
            fix=_frozen(subject, fine_tuned),
        )


def _severity(images: float, fine_tuned: bool) -> Severity:
    if images <= 2 and not fine_tuned:
        return Severity.CRITICAL
    return Severity.WARNING if images <= 4 else Severity.INFO


def _loss(images: float) -> float:
    """Published: 3.1 at 2 images. Judged: no convergence was reported at 1, little at 4."""
    if images <= 2:
        return 8.0 if images < 2 else 3.1
    return 1.5 if images <= 4 else 0.3


def _replicas(subject: Subject) -> str:
    batch, count = subject.quantities.global_batch, subject.quantities.num_replicas
    if subject.circumstances.num_replicas is None:
        return f" (batch {batch:,}, taken as one replica's)"
    return f" (batch {batch:,} over {count:,} replicas)" if count > 1 else ""


def _switch(subject: Subject) -> list[str]:
    if subject.pipeline.meta_architecture == "faster_rcnn":
        return ["model.faster_rcnn.feature_extractor.batch_norm_trainable"]
    return ["model.ssd.freeze_batchnorm"] if subject.pipeline.meta_architecture == "ssd" else []


def _frozen(subject: Subject, fine_tuned: bool) -> list[FieldFix]:
    """Freezing, where it reaches the backbone and the stored statistics are worth keeping."""
    if subject.pipeline.meta_architecture == "faster_rcnn":
        return [FieldFix(_switch(subject)[0], False)]
    if subject.pipeline.meta_architecture != "ssd" or not fine_tuned:
        return []
    freezes = "efficientnet" not in str(subject.pipeline.proto.model.ssd.feature_extractor.type)
    return [FieldFix(_switch(subject)[0], True)] if freezes else []
