"""CenterNet (Zhou et al. 2019, arXiv 1904.07850): boxes, and boxes with a person's keypoints."""

from __future__ import annotations

from odapi_repro.reference.entry import (
    HEAD,
    ZOO,
    Dispute,
    Reference,
    ReportedMetric,
    archive_url,
    in_head,
    in_zoo,
)
from odapi_repro.reference.template import ConfigSource

_BATCH = 128
_KEYPOINT_STEPS = 250_000
_FIVE_RUNS = "the head of the config says mean of 5 runs, +/- 0.16"
_HOURGLASS: dict[str, object] = {
    "hourglass": True,
    "feature_extractor": "hourglass_104",
    "backbone": "Hourglass-104",
    "checkpoint_type": "detection",
}


def references() -> list[Reference]:
    """Gives the seven models of configs/tf2 in the zoo's order."""
    return [
        _hourglass_512(),
        _hourglass_512_keypoints(),
        _hourglass_1024(),
        _hourglass_1024_keypoints(),
        _resnet50_fpn_keypoints(),
        _resnet101(),
        _resnet50_v2_keypoints(),
    ]


def _hourglass_512() -> Reference:
    return _entry(
        "hourglass104",
        512,
        8,
        in_zoo(41.9),
        model="HourGlass104 512x512",
        archive=archive_url("20200713", "centernet_hg104_512x512_coco17_tpu-8"),
        parameters={**_HOURGLASS, "steps": True, "num_steps": 140_000},
    )


def _hourglass_512_keypoints() -> Reference:
    return _entry(
        "hourglass104",
        512,
        32,
        in_zoo(40.0, keypoint=61.4, remark=_FIVE_RUNS),
        model="HourGlass104 Keypoints 512x512",
        archive=archive_url("20200711", "centernet_hg104_512x512_kpts_coco17_tpu-32"),
        disputes=(
            Dispute(
                "the config's evaluation reads the training records, shuffled, so the number was "
                "measured with another reader than this one",
                "eval_input_reader of the config",
            ),
        ),
        keypoints=True,
        parameters={**_HOURGLASS, "evaluates_training_records": True},
    )


def _hourglass_1024() -> Reference:
    return _entry(
        "hourglass104",
        1024,
        32,
        (*in_zoo(44.5), *in_head(44.6)),
        model="HourGlass104 1024x1024",
        archive=archive_url("20200713", "centernet_hg104_1024x1024_coco17_tpu-32"),
        disputes=(
            Dispute(
                "the zoo says 44.5 and the head of the config 44.6", f"{ZOO} against the {HEAD}"
            ),
        ),
        parameters={**_HOURGLASS, "square_crop": True, "num_steps": 50_000},
    )


def _hourglass_1024_keypoints() -> Reference:
    return _entry(
        "hourglass104",
        1024,
        32,
        in_zoo(42.8, keypoint=64.5, remark=_FIVE_RUNS),
        model="HourGlass104 Keypoints 1024x1024",
        archive=archive_url("20200711", "centernet_hg104_1024x1024_kpts_coco17_tpu-32"),
        keypoints=True,
        parameters={**_HOURGLASS, "square_crop": True},
    )


def _resnet50_fpn_keypoints() -> Reference:
    return _entry(
        "resnet50_v1_fpn",
        512,
        8,
        in_zoo(29.3, keypoint=50.7),
        model="Resnet50 V1 FPN Keypoints 512x512",
        keypoints=True,
        parameters={
            "feature_extractor": "resnet_v1_50_fpn",
            "backbone": "ResNet-50 v1 with a feature pyramid.",
        },
    )


def _resnet101() -> Reference:
    return _entry(
        "resnet101_v1_fpn",
        512,
        8,
        (*in_zoo(34.2), *in_head(34.18)),
        model="Resnet101 V1 FPN 512x512",
        disputes=(
            Dispute(
                "the name says ResNet-101 v1 with a feature pyramid, and the config builds "
                "resnet_v2_101, which has deconvolutions and no pyramid",
                "feature_extractor of the config; builders/model_builder.py",
            ),
        ),
        parameters={
            "feature_extractor": "resnet_v2_101",
            "backbone": "ResNet-101 v2 and deconvolutions, whatever the config's name says.",
            "steps": True,
            "num_steps": 140_000,
            "checkpoint": "PATH_TO_BE_CONFIGURED/weights-1",
        },
    )


def _resnet50_v2_keypoints() -> Reference:
    return _entry(
        "resnet50_v2",
        512,
        8,
        in_zoo(27.6, keypoint=48.2),
        model="Resnet50 V2 Keypoints 512x512",
        keypoints=True,
        parameters={
            "feature_extractor": "resnet_v2_50",
            "backbone": "ResNet-50 v2 and deconvolutions.",
        },
    )


def _entry(
    stem: str,
    size: int,
    cores: int,
    reported: tuple[ReportedMetric, ...],
    *,
    model: str,
    parameters: dict[str, object],
    archive: str = "",
    disputes: tuple[Dispute, ...] = (),
    keypoints: bool = False,
) -> Reference:
    task = "_kpts" if keypoints else ""
    config = f"centernet_{stem}_{size}x{size}{task}_coco17_tpu-{cores}"
    hourglass = bool(parameters.get("hourglass"))
    checkpoint = "PATH_TO_BE_CONFIGURED" if keypoints else "PATH_TO_BE_CONFIGURED/ckpt-1"
    # The configs of the keypoint models do not say whose checkpoint it was.
    start = "a detection checkpoint" if hourglass else "a classification checkpoint"
    if hourglass and not keypoints:
        start = "an ExtremeNet detection checkpoint"
    return Reference(
        name=f"centernet_{stem}_{size}{task}",
        config=config,
        zoo_model=f"CenterNet {model}",
        family="centernet",
        feature_extractor=str(parameters["feature_extractor"]),
        image_size=(size, size),
        predicts_masks=False,
        predicts_keypoints=keypoints,
        recipe="odapi",
        num_replicas=cores,
        reported=reported,
        disputes=disputes,
        archive=archive or archive_url("20200711", config),
        source=ConfigSource(
            template="centernet",
            title=f"CenterNet {model}, COCO 2017",
            start=f"Starts from {start}.",
            accelerator="TPU core",
            parameters={
                "hourglass": False,
                "keypoints": keypoints,
                "steps": False,
                "square_crop": False,
                "evaluates_training_records": False,
                "image_size": size,
                "batch_size": _BATCH,
                "num_steps": _KEYPOINT_STEPS,
                "checkpoint": checkpoint,
                "checkpoint_type": "classification",
                **parameters,
            },
        ),
    )
