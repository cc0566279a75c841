"""Batch norm that is frozen where the reference trains it, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.comparison import number, start_of
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline

_SSD = "model.ssd.freeze_batchnorm"
_FASTER_RCNN = "model.faster_rcnn.feature_extractor.batch_norm_trainable"


class BatchnormMode(Rule):
    """Batch norm uses stored statistics where the reference's does not, or the other way round.

    Frozen statistics have to be good ones. Those of a backbone or a detector checkpoint are; those
    of FPN and heads that start from random weights are mean 0 and variance 1, and stay so:
    `freeze_batchnorm` freezes them too, and the layers are not normalised at all.

    Anti-pattern

        ssd { freeze_batchnorm: true }
        train_config { fine_tune_checkpoint_type: "classification" }

    Best practice

    Freeze when a detector is fine-tuned with few images a step; train the statistics otherwise.

    Source

    ssd_meta_arch and models/*_keras_feature_extractor: training = is_training and not
    freeze_batchnorm, in backbone (not EfficientNet's), FPN and box predictor. The affine parameters
    train all the same. Chen et al. 2019 (mmdetection), arXiv 1906.07155, for Mask R-CNN.
    """

    code: ClassVar[str] = "BAT002"
    name: ClassVar[str] = "batch.batchnorm_mode"
    causes: ClassVar[tuple[str, ...]] = ("batchnorm_frozen", "batchnorm_unfrozen")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the switch, which each meta-architecture has under another name."""
        if not subject.same_architecture:
            return
        own, reference = _freezes(subject.pipeline), _freezes(subject.reference_pipeline)
        if own and not reference:
            yield self._frozen(subject)
        elif reference and not own and subject.quantities.batchnorm == "train":
            yield self._unfrozen(subject)

    def _frozen(self, subject: Subject) -> Finding:
        ssd = subject.pipeline.meta_architecture == "ssd"
        start = start_of(subject.pipeline)
        unnormalised = start == "nothing" or (ssd and start == "backbone")
        severity = Severity.WARNING if unnormalised else Severity.INFO
        where = "everywhere" if start == "nothing" else "in FPN and heads"
        return self.finding(
            "batchnorm_frozen",
            Severity.CRITICAL if start == "nothing" else severity,
            fields=[_SSD if ssd else _FASTER_RCNN, "train_config.fine_tune_checkpoint_type"],
            found=f"batch norm keeps its stored statistics, which {where} are mean 0 and variance "
            "1 from the start"
            if unnormalised
            else "batch norm keeps the statistics of the checkpoint",
            expected="statistics that are trained",
            why="Layers that start from random weights are not normalised then, and train worse."
            if unnormalised
            else "With few images a step that is the better choice; with many it costs a little.",
            # Judged: 3 where a head goes without; published: 0.1 in the backbone alone.
            loss_ap=8.0 if start == "nothing" else 3.0 if unnormalised else 0.1,
            evidence=published("frozen_vs_sync" if unnormalised else "frozen_vs_sync_backbone"),
            fix=[FieldFix(_SSD, False) if ssd else FieldFix(_FASTER_RCNN, True)]
            if unnormalised
            else [],
        )

    def _unfrozen(self, subject: Subject) -> Finding:
        images = subject.quantities.batchnorm_images
        return self.finding(
            "batchnorm_unfrozen",
            Severity.INFO,
            fields=[_SSD if subject.pipeline.meta_architecture == "ssd" else _FASTER_RCNN],
            found=f"batch norm is trained, on {number(images or 0)} images at a time",
            expected="stored statistics",
            why="It costs AP with few images per replica, and gains a little with many.",
            loss_ap=0.1,
            evidence=published("bn_train_2_images", "frozen_vs_sync"),
        )


def _freezes(pipeline: Pipeline) -> bool:
    """Whether the switch says frozen, for whatever part of the model it reaches."""
    if pipeline.meta_architecture == "ssd":
        return bool(pipeline.proto.model.ssd.freeze_batchnorm)
    if pipeline.meta_architecture == "faster_rcnn":
        return not pipeline.proto.model.faster_rcnn.feature_extractor.batch_norm_trainable
    return False
