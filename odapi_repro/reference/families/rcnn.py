"""Faster R-CNN and Mask R-CNN."""

from __future__ import annotations

from odapi_repro.reference.entry import (
    ARCHIVE_COPIES,
    HEAD,
    ZOO,
    Dispute,
    Reference,
    archive_url,
    in_head,
    in_zoo,
)
from odapi_repro.reference.template import ConfigSource

# --- Faster R-CNN with ResNet, three recipes by input size, and one with a feature pyramid ---


_CORES = 8
# By depth: what the zoo says at 640x640, 1024x1024 and 800x1333.
_RESNETS = {50: (29.3, 31.0, 31.6), 101: (31.8, 37.1, 36.6), 152: (32.4, 37.6, 37.4)}
# At 800x1333, where the head of the config says something else.
_HEADS = {50: 31.4, 152: 37.3}

# 640x640 and the pyramid: TPU, 25,000 steps, flips only.
_SMALL: dict[str, object] = {
    "tpu": True,
    "fpn": False,
    "fixed_shape": False,
    "long_schedule": False,
    "shared_box": True,
    "max_detections": 300,
    "min_side": 640,
    "max_side": 640,
    "batch_size": 64,
    "num_steps": 25_000,
    "base_lr": 0.04,
    "warmup_lr": 0.013333,
    "warmup_steps": 2000,
}
# 1024x1024: four times as long, with colours and crops.
_LARGE: dict[str, object] = {
    **_SMALL,
    "fixed_shape": True,
    "long_schedule": True,
    "min_side": 1024,
    "max_side": 1024,
    "num_steps": 100_000,
}
# 800x1333: GPUs with two images each, batch norm frozen, gradients clipped.
_WIDE: dict[str, object] = {
    "tpu": False,
    "fpn": False,
    "fixed_shape": False,
    "long_schedule": True,
    "shared_box": False,
    "max_detections": 100,
    "min_side": 800,
    "max_side": 1333,
    "batch_size": 16,
    "num_steps": 200_000,
    "base_lr": 0.01,
    "warmup_lr": 0.0,
    "warmup_steps": 5000,
}


def faster_rcnn_references() -> list[Reference]:
    """Gives the nine ResNets in the zoo's order, and the feature pyramid, which it has not."""
    found = []
    for depth, (small, large, wide) in _RESNETS.items():
        for size, recipe, reported in (
            ("640x640", _SMALL, small),
            ("1024x1024", _LARGE, large),
            ("800x1333", _WIDE, wide),
        ):
            found.append(_resnet(depth, size, recipe, reported))
    return [*found, _resnet50_fpn()]


def _resnet(depth: int, size: str, recipe: dict[str, object], reported: float) -> Reference:
    accelerator = "tpu" if recipe["tpu"] else "gpu"
    stem = f"faster_rcnn_resnet{depth}_v1_{size}_coco17_{accelerator}-{_CORES}"
    head = _HEADS.get(depth) if size == "800x1333" else None
    disputes: tuple[Dispute, ...] = ()
    if head is not None:
        disputes = (
            Dispute(
                f"the zoo says {reported} and the head of the config {head}",
                f"{ZOO} against the {HEAD}",
            ),
        )
    return Reference(
        name=f"faster_rcnn_resnet{depth}_v1_{_short(size)}",
        config=stem,
        zoo_model=f"Faster R-CNN ResNet{depth} V1 {size}",
        family="faster_rcnn",
        feature_extractor=f"faster_rcnn_resnet{depth}_keras",
        image_size=_image_size(recipe),
        predicts_masks=False,
        predicts_keypoints=False,
        recipe="odapi",
        num_replicas=_CORES,
        reported=(*in_zoo(reported), *(in_head(head) if head else ())),
        disputes=disputes,
        archive=archive_url("20200711", stem),
        source=ConfigSource(
            template="faster_rcnn",
            title=f"Faster R-CNN with ResNet-{depth} v1, {size}, COCO 2017",
            start="Starts from an ImageNet classification checkpoint.",
            accelerator="TPU core" if recipe["tpu"] else "GPU",
            parameters={
                **recipe,
                "backbone": f"ResNet-{depth}",
                "feature_extractor": f"faster_rcnn_resnet{depth}_keras",
                "checkpoint": f"resnet{depth}",
            },
        ),
    )


def _resnet50_fpn() -> Reference:
    stem = f"faster_rcnn_resnet50_v1_fpn_640x640_coco17_tpu-{_CORES}"
    return Reference(
        name="faster_rcnn_resnet50_v1_fpn_640",
        config=stem,
        zoo_model="",
        family="faster_rcnn",
        feature_extractor="faster_rcnn_resnet50_fpn_keras",
        image_size=_image_size(_SMALL),
        predicts_masks=False,
        predicts_keypoints=False,
        recipe="odapi",
        num_replicas=_CORES,
        reported=in_head(31.4),
        disputes=(
            Dispute(
                "31.4 stands at the head of the config only, the zoo has neither the model nor a "
                "checkpoint, and the same 31.4 stands at the head of ResNet-50's 800x1333 config",
                f"{HEAD}; {ZOO}",
            ),
        ),
        source=ConfigSource(
            template="faster_rcnn",
            title="Faster R-CNN with ResNet-50 v1 and a feature pyramid, 640x640, COCO 2017",
            start="Starts from an ImageNet classification checkpoint.",
            accelerator="TPU core",
            parameters={
                **_SMALL,
                "fpn": True,
                "shared_box": False,
                "backbone": "ResNet-50",
                "feature_extractor": "faster_rcnn_resnet50_fpn_keras",
                "checkpoint": "resnet50",
            },
        ),
    )


def _short(size: str) -> str:
    """`640` for `640x640`, as sides that differ stay."""
    height, width = size.split("x")
    return height if height == width else size


def _image_size(recipe: dict[str, object]) -> tuple[int, int]:
    """The square of the longer side: all of these resizers pad to it, or stretch to it."""
    side = int(str(recipe["max_side"]))
    return side, side


# --- Mask R-CNN with Inception ResNet v2 ---


_GPUS = 8


def mask_rcnn_references() -> list[Reference]:
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
