"""References and the metrics reported for them, contradictions included."""

from __future__ import annotations

from dataclasses import dataclass

from odapi_repro.pipeline import Pipeline

__all__ = ["REFERENCES", "Reference", "ReportedMetric", "reference_of"]

_ZOO = "TF2 detection zoo (research/object_detection/g3doc/tf2_detection_zoo.md)"
_PROTOCOL = "COCO val2017, 5,000 images, COCO AP in points, one scale, no test-time augmentation"


@dataclass(frozen=True)
class ReportedMetric:
    """One reported number.

    Attributes:
        metric: COCO's name, `mask_AP` for mask AP.
        value: in points.
        source: where it stands.
        protocol: what it was measured on, as far as the source says.
    """

    metric: str
    value: float
    source: str
    protocol: str


@dataclass(frozen=True)
class Reference:
    """A catalogue entry.

    Attributes:
        name: short name.
        config: the OD API's file in configs/tf2, without its ending.
        feature_extractor: type by which a pipeline of this family member is known.
        predicts_masks: whether it is a mask model.
        reported: every number found, contradictions included.
    """

    name: str
    config: str
    feature_extractor: str
    predicts_masks: bool
    reported: tuple[ReportedMetric, ...]


REFERENCES: dict[str, Reference] = {
    reference.name: reference
    for reference in (
        Reference(
            name="efficientdet_d3",
            config="ssd_efficientdet_d3_896x896_coco17_tpu-32",
            feature_extractor="ssd_efficientnet-b3_bifpn_keras",
            predicts_masks=False,
            reported=(
                ReportedMetric(
                    "AP",
                    45.4,
                    _ZOO,
                    f"{_PROTOCOL}; of the published archive, whose box coder (1, 1, 1, 1) is not "
                    "the recipe's (10, 10, 5, 5)",
                ),
            ),
        ),
        Reference(
            name="mask_rcnn_inception_resnet_v2",
            config="mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8",
            feature_extractor="faster_rcnn_inception_resnet_v2_keras",
            predicts_masks=True,
            reported=(
                ReportedMetric("AP", 39.0, _ZOO, _PROTOCOL),
                ReportedMetric("mask_AP", 34.6, _ZOO, _PROTOCOL),
                ReportedMetric("AP", 40.4, "comment at the head of the config", "COCO17 val"),
                ReportedMetric("mask_AP", 35.5, "comment at the head of the config", "COCO17 val"),
            ),
        ),
    )
}


def reference_of(pipeline: Pipeline) -> Reference | None:
    """Gives the reference with the pipeline's feature extractor and task, None without one."""
    extractor = str(getattr(pipeline.model, "feature_extractor").type)  # noqa: B009
    for reference in REFERENCES.values():
        if (
            reference.feature_extractor == extractor
            and reference.predicts_masks == pipeline.predicts_masks
        ):
            return reference
    return None
