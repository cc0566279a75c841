"""Mask R-CNN with Inception ResNet v2."""

from __future__ import annotations

from odapi_repro.reference.entry import Dispute, Reference
from odapi_repro.reference.families.sources import (
    ARCHIVE_COPIES,
    HEAD,
    ZOO,
    archive_url,
    in_head,
    in_zoo,
)
from odapi_repro.reference.template import ConfigSource

_GPUS = 8


def references() -> list[Reference]:
    """Gives the one mask model of configs/tf2."""
    stem = f"mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-{_GPUS}"
    extractor = "faster_rcnn_inception_resnet_v2_keras"
    return [
        Reference(
            name="mask_rcnn_inception_resnet_v2",
            config=stem,
            zoo_model="Mask R-CNN Inception ResNet V2 1024x1024",
            family="mask_rcnn",
            feature_extractor=extractor,
            image_size=(1024, 1024),
            predicts_masks=True,
            predicts_keypoints=False,
            recipe="odapi",
            num_replicas=_GPUS,
            reported=(*in_zoo(39.0, mask=34.6), *in_head(40.4, mask=35.5)),
            disputes=(
                Dispute(
                    "the zoo says 39.0 box and 34.6 mask AP, the head of the config 40.4 and 35.5, "
                    "and neither says why",
                    f"{ZOO} against the {HEAD}",
                ),
                Dispute(
                    "the head of the published archive's own config says 'Achieves XXX mAP', and "
                    "the type and version of its checkpoint are not set",
                    f"{ARCHIVE_COPIES}: HHRClemson/FloodImageClassifier",
                ),
            ),
            archive=archive_url("20200711", stem),
            source=ConfigSource(
                template="mask_rcnn",
                title="Mask R-CNN with Inception ResNet v2, 1024x1024, COCO 2017",
                start="Starts from an ImageNet classification checkpoint; batch-norm statistics "
                "stay as they are there.",
                accelerator="GPU",
                parameters={
                    "feature_extractor": extractor,
                    "image_size": 1024,
                    "batch_size": 16,
                    "num_steps": 200_000,
                    "base_lr": 0.008,
                    "warmup_lr": 0.0,
                    "warmup_steps": 5000,
                },
                shipped_as="mask_rcnn.config",
            ),
        )
    ]
