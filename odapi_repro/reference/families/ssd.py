"""SSD with MobileNet, and RetinaNet (SSD with ResNet and a feature pyramid)."""

from __future__ import annotations

from odapi_repro.reference.entry import HEAD, ZOO, Dispute, Reference, archive_url, in_head, in_zoo
from odapi_repro.reference.template import ConfigSource

_CORES = 8
_RESNETS = {50: (34.3, 38.3), 101: (35.6, 39.5), 152: (35.4, 39.6)}
# Head of the config where it is not the zoo's number.
_SWAPPED = {101: (35.4, 152), 152: (35.6, 101)}


def references() -> list[Reference]:
    """Gives the ten SSD models in the zoo's order."""
    found = [_mobilenet_v2(), _mobilenet_v1_fpn()]
    found += [_mobilenet_v2_fpnlite(320, 22.2), _mobilenet_v2_fpnlite(640, 28.2)]
    for depth, (small, large) in _RESNETS.items():
        found += [_resnet_fpn(depth, 640, small), _resnet_fpn(depth, 1024, large)]
    return found


def _mobilenet_v2() -> Reference:
    stem = f"ssd_mobilenet_v2_320x320_coco17_tpu-{_CORES}"
    extractor = "ssd_mobilenet_v2_keras"
    return Reference(
        name="ssd_mobilenet_v2_320",
        config=stem,
        zoo_model="SSD MobileNet v2 320x320",
        family="ssd_mobilenet",
        feature_extractor=extractor,
        image_size=(300, 300),
        predicts_masks=False,
        predicts_keypoints=False,
        recipe="odapi",
        num_replicas=_CORES,
        reported=(*in_zoo(20.2), *in_head(22.2)),
        disputes=(
            Dispute(
                "the zoo says 20.2 and the head of the config 22.2, which is the FPNLite model's "
                "number at 320x320",
                f"{ZOO} against the {HEAD}",
            ),
            Dispute(
                "the name says 320x320 and the config resizes to 300x300",
                "image_resizer of the config",
            ),
            Dispute(
                "another version of the config has rates ten times smaller, 0.08 from 0.013333 "
                "instead of 0.8 from 0.13333; a copy of the archive's config has 0.8",
                "tensorflow/models at 9c804063af49; crd78/GameBot",
            ),
        ),
        archive=archive_url("20200711", stem),
        source=ConfigSource(
            template="ssd_mobilenet_v2",
            title="SSD with MobileNet v2, 300x300 (called 320x320), COCO 2017",
            start="Starts from an ImageNet classification checkpoint.",
            accelerator="TPU core",
            parameters={
                "feature_extractor": extractor,
                "image_size": 300,
                "batch_size": 512,
                "num_steps": 50_000,
                "base_lr": 0.8,
                "warmup_lr": 0.13333,
                "warmup_steps": 2000,
            },
        ),
    )


def _mobilenet_v1_fpn() -> Reference:
    return _fpn(
        "ssd_mobilenet_v1_fpn",
        640,
        29.1,
        model="SSD MobileNet V1 FPN 640x640",
        title="SSD with MobileNet v1 and a feature pyramid",
        backbone="MobileNet v1",
        parameters={
            "feature_extractor": "ssd_mobilenet_v1_fpn_keras",
            "mobilenet": True,
            "l2_weight": "4e-5",
            "checkpoint": "mobilenet_v1",
            "eval_batch_is_set": True,
        },
    )


def _mobilenet_v2_fpnlite(size: int, reported: float) -> Reference:
    return _fpn(
        "ssd_mobilenet_v2_fpnlite",
        size,
        reported,
        model=f"SSD MobileNet V2 FPNLite {size}x{size}",
        title="SSD with MobileNet v2 and a light feature pyramid",
        backbone="MobileNet v2",
        parameters={
            "feature_extractor": "ssd_mobilenet_v2_fpn_keras",
            "mobilenet": True,
            "lite": True,
            "head_depth": 128,
            "l2_weight": "4e-5",
            "batch_size": 128,
            "num_steps": 50_000,
            "base_lr": 0.08,
            "warmup_lr": 0.026666,
            "warmup_steps": 1000,
            "checkpoint": "mobilenet_v2",
        },
    )


def _resnet_fpn(depth: int, size: int, reported: float) -> Reference:
    return _fpn(
        f"ssd_resnet{depth}_v1_fpn",
        size,
        reported,
        model=f"SSD ResNet{depth} V1 FPN {size}x{size} (RetinaNet{depth})",
        title=f"RetinaNet: SSD with ResNet-{depth} v1 and a feature pyramid",
        backbone=f"ResNet-{depth}",
        head=_SWAPPED.get(depth) if size == 640 else None,
        parameters={
            "feature_extractor": f"ssd_resnet{depth}_v1_fpn_keras",
            "l2_weight": "4e-4",
            "num_steps": 100_000 if size == 1024 else 25_000,
            "checkpoint": f"resnet{depth}",
            "bfloat16": True,
        },
    )


def _fpn(
    stem: str,
    size: int,
    reported: float,
    *,
    model: str,
    title: str,
    backbone: str,
    parameters: dict[str, object],
    head: tuple[float, int] | None = None,
) -> Reference:
    """Gives an entry of the ssd_fpn template; `parameters` are what it has of its own.

    Args:
        head: number at the head of the config and the depth whose zoo number that is, where it is
            not this model's.
    """
    config = f"{stem}_{size}x{size}_coco17_tpu-{_CORES}"
    disputes: tuple[Dispute, ...] = ()
    if head is not None:
        disputes = (
            Dispute(
                f"the zoo says {reported} and the head of the config {head[0]}, which is the zoo's "
                f"number for ResNet-{head[1]}: the two are swapped somewhere",
                f"{ZOO} against the {HEAD}",
            ),
        )
    return Reference(
        name=f"{stem}_{size}",
        config=config,
        zoo_model=model,
        family="ssd_resnet" if "resnet" in stem else "ssd_mobilenet",
        feature_extractor=str(parameters["feature_extractor"]),
        image_size=(size, size),
        predicts_masks=False,
        predicts_keypoints=False,
        recipe="odapi",
        num_replicas=_CORES,
        reported=(*in_zoo(reported), *(in_head(head[0]) if head else ())),
        disputes=disputes,
        archive=archive_url("20200711", config),
        source=ConfigSource(
            template="ssd_fpn",
            title=f"{title}, {size}x{size}, COCO 2017",
            start="Starts from an ImageNet classification checkpoint.",
            accelerator="TPU core",
            parameters={
                "backbone": backbone,
                "image_size": size,
                "mobilenet": False,
                "lite": False,
                "head_depth": 256,
                "batch_size": 64,
                "num_steps": 25_000,
                "base_lr": 0.04,
                "warmup_lr": 0.013333,
                "warmup_steps": 2000,
                "bfloat16": False,
                "eval_batch_is_set": False,
                **parameters,
            },
        ),
    )
