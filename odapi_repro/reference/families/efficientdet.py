"""EfficientDet D0 to D7, by the OD API's recipe and by the paper's.

EfficientDet D0 to D7 by the paper's recipe (google/automl), as far as the OD API can say it.

Tan et al. 2020, arXiv 1911.09070, section 5.1, and the code at google/automl 6a54c8741e7c
(hparams_config.py, det_model_fn.py, dataloader.py). The pipelines take configs/tf2's architecture
and readers, and automl's rate, warm-up, length, clipping, weight decay, box codes and box loss.
"""

from __future__ import annotations

from dataclasses import dataclass

from odapi_repro.reference.entry import (
    ARCHIVE_COPIES,
    ZOO,
    Dispute,
    Reference,
    ReportedMetric,
    Unexpressed,
    archive_url,
    in_zoo,
)
from odapi_repro.reference.template import ConfigSource

# --- EfficientDet D0 to D7 by the OD API's recipe (configs/tf2/ssd_efficientdet_d*) ---


_WORDS = {3: "three", 4: "four", 5: "five"}


@dataclass(frozen=True)
class Member:
    """What sets one member apart (paper, table 1; sizes and cores as in configs/tf2).

    Attributes:
        size: side of the square input in configs/tf2, in pixels.
        backbone: EfficientNet-B of this number.
        filters: channels of BiFPN and heads.
        cores: TPU cores by the config's name.
        reported: AP in the zoo.
        archive_copies: repositories with a copy of the zoo archive's own config.
    """

    size: int
    backbone: int
    bifpn_layers: int
    filters: int
    head_layers: int
    cores: int
    reported: float
    archive_copies: tuple[str, ...] = ()


MEMBERS = (
    Member(512, 0, 3, 64, 3, 8, 33.6, ("rizqykhoirulw/skripsi", "Ayush4087/PUBG_AIMBOT")),
    Member(
        640,
        1,
        4,
        88,
        3,
        8,
        38.4,
        ("HHRClemson/FloodImageClassifier", "TeenishGambino/carpartdetectiondataset"),
    ),
    Member(768, 2, 5, 112, 3, 8, 41.8, ("BerntA/CVEET",)),
    Member(896, 3, 6, 160, 4, 32, 45.4, ("morttrager/social-distancing",)),
    Member(1024, 4, 7, 224, 4, 32, 48.5, ("dain5832/AS_Detection",)),
    Member(1280, 5, 7, 288, 4, 32, 49.7),
    Member(1408, 6, 8, 384, 5, 32, 50.5),
    Member(1536, 6, 8, 384, 5, 32, 51.2, ("BerntA/CVEET",)),
)
_CODER = "box-coder scales 1, 1, 1, 1 where this recipe has 10, 10, 5, 5"


def architecture_parameters(member: Member) -> dict[str, object]:
    """Gives the template's values that both recipes share."""
    return {
        "backbone": f"EfficientNet-B{member.backbone}",
        "feature_extractor": f"ssd_efficientnet-b{member.backbone}_bifpn_keras",
        "bifpn_layers": member.bifpn_layers,
        "filters": member.filters,
        "head_layers": member.head_layers,
        "head_layers_in_words": _WORDS[member.head_layers],
        "plain_sum": member.backbone == 6,
        "batch_size": 128,
    }


def efficientdet_references() -> list[Reference]:
    """Gives D0 to D7."""
    return [_reference(number, member) for number, member in enumerate(MEMBERS)]


def _reference(number: int, member: Member) -> Reference:
    size = member.size
    # The zoo calls D6 by google/automl's size.
    zoo_size = 1280 if number == 6 else size
    parameters = architecture_parameters(member)
    return Reference(
        name=f"efficientdet_d{number}",
        config=f"ssd_efficientdet_d{number}_{size}x{size}_coco17_tpu-{member.cores}",
        zoo_model=f"EfficientDet D{number} {zoo_size}x{zoo_size}",
        family="efficientdet",
        feature_extractor=str(parameters["feature_extractor"]),
        image_size=(size, size),
        predicts_masks=False,
        predicts_keypoints=False,
        recipe="odapi",
        num_replicas=member.cores,
        reported=in_zoo(
            member.reported,
            remark="of the published archive, whose box coder (1, 1, 1, 1) is not the recipe's "
            "(10, 10, 5, 5)"
            if member.archive_copies
            else "of the published archive, whose own config was not seen",
        ),
        disputes=_disputes(number, member),
        archive=archive_url("20200711", f"efficientdet_d{number}_coco17_tpu-32"),
        source=ConfigSource(
            template="efficientdet",
            title=f"EfficientDet-D{number}, {size}x{size}, COCO 2017",
            start=f"Starts from an {parameters['backbone']} ImageNet classification checkpoint.",
            accelerator="TPU core",
            parameters={
                **parameters,
                "automl": False,
                "image_size": size,
                "anchor_scale": 4.0,
                "num_steps": 300_000,
                "base_lr": 0.08,
                "warmup_lr": 0.001,
                "warmup_steps": 2500,
            },
            shipped_as=f"effdet_d{number}.config",
        ),
    )


def _disputes(number: int, member: Member) -> tuple[Dispute, ...]:
    copies = f"{ARCHIVE_COPIES}: {', '.join(member.archive_copies)}"
    if member.archive_copies:
        found = [
            Dispute(
                f"the published archive's own config carries {_CODER}, so the reported checkpoint "
                "may not come from this recipe",
                copies,
            )
        ]
    else:
        found = [
            Dispute(
                "no copy of the published archive's own config was found, and those of D0 to D4 "
                f"and D7 carry {_CODER}",
                ARCHIVE_COPIES,
            )
        ]
    if number == 6:
        found.append(
            Dispute(
                "the zoo calls the model 1280x1280, as google/automl's D6 is, and this recipe's "
                "config is 1408x1408",
                f"{ZOO} against the config's name and image_resizer",
            )
        )
    if number == 7:
        found.append(
            Dispute(
                "the published archive's own config has anchor_scale 5.0, as google/automl has, "
                "and this recipe has 4.0",
                copies,
            )
        )
    if member.cores != 32:
        found.append(
            Dispute(
                f"the config's name says {member.cores} TPU cores and the archive's name says 32",
                f"{ZOO} against the config's name",
            )
        )
    return tuple(found)


# --- EfficientDet D0 to D7 by the paper's recipe (google/automl), as far as the OD API can say it
# ---


_README = "google/automl, efficientdet/README.md"
_VAL = "COCO val2017, one scale, no test-time augmentation"
_TEST_DEV = "COCO test-dev2017, one scale, no test-time augmentation"
_BATCH = 128
_EXAMPLES_PER_EPOCH = 120_000


@dataclass(frozen=True)
class _Published:
    """AP in automl's README: at 6a54c8741e7c, on 2020-07-06, and on 2020-06-14."""

    test_dev: float
    val: float
    test_dev_july: float
    val_july: float
    val_june: float


_PUBLISHED = (
    _Published(34.6, 34.3, 33.8, 33.5, 33.5),
    _Published(40.5, 40.2, 39.6, 39.1, 39.1),
    _Published(43.9, 43.5, 43.0, 42.5, 42.5),
    _Published(47.2, 46.8, 47.5, 47.2, 45.9),
    _Published(49.7, 49.3, 49.4, 49.0, 49.0),
    _Published(51.5, 51.2, 50.7, 50.5, 50.5),
    _Published(52.6, 52.1, 51.7, 51.3, 51.3),
    _Published(53.7, 53.4, 53.7, 53.4, 53.4),
)
_UNEXPRESSED = (
    Unexpressed(
        "what the weight average is used for",
        "weights and batch-norm statistics averaged with decay 0.9998 are saved and evaluated",
        "the average is kept, without batch-norm statistics, and never evaluated, because "
        "model_main_tf2 swaps weights outside its strategy's scope, which raises",
        "+0.3 AP in the one controlled comparison found (GFLv2, not EfficientDet)",
    ),
    Unexpressed(
        "gradient clipping",
        "each variable to norm 10, then all together",
        "all together only, on each replica's gradients divided by the number of replicas",
        "unknown; thought to keep the higher rate stable",
    ),
    Unexpressed(
        "batch norm over replicas",
        "statistics over groups of up to 32 cores",
        "statistics of each replica's own images; sync_batch_norm reaches no backbone on GPUs",
        "unknown for EfficientDet; it grows as images per replica shrink",
    ),
    Unexpressed(
        "crowd boxes",
        "skipped in training",
        "trained as positives",
        "unknown; maintainers of other code saw no difference",
    ),
    Unexpressed(
        "padding in training",
        "with the mean colour",
        "with black, while evaluation pads with the mean colour",
        "unknown",
    ),
    Unexpressed(
        "loss normaliser",
        "matched anchors plus 1",
        "matched anchors, at least 1",
        "negligible at these batches",
    ),
    Unexpressed(
        "phase of the cosine",
        "counted from step 0 over the steps after warm-up",
        "counted from the end of warm-up",
        "small: warm-up is one epoch",
    ),
    Unexpressed(
        "weight decay of the backbone's depthwise kernels",
        "as all kernels",
        "none: Keras' EfficientNet gives its regulariser to the wrong argument",
        "unknown, thought small",
    ),
    Unexpressed(
        "NMS",
        "gaussian soft-NMS in the paper and at 6a54c8741e7c, hard on 2020-07-06",
        "hard, IoU 0.5; soft_nms_sigma comes near, its thresholds were not compared",
        "+0.3 AP for D7 on the same checkpoint (google/automl issue 491)",
    ),
)
_STOCHASTIC_DEPTH = Unexpressed(
    "stochastic depth",
    "off for B0",
    "drop-connect rate 0.2 for every backbone",
    "unknown",
)


def automl_references() -> list[Reference]:
    """Gives D0 to D7 by automl's recipe."""
    return [
        _automl_reference(number, member, published)
        for number, (member, published) in enumerate(zip(MEMBERS, _PUBLISHED, strict=True))
    ]


def _automl_reference(number: int, member: Member, published: _Published) -> Reference:
    size = 1280 if number == 6 else member.size
    epochs = 600 if number == 7 else 300
    parameters = architecture_parameters(member)
    return Reference(
        name=f"efficientdet_d{number}_automl",
        config=f"google/automl efficientdet-d{number}",
        zoo_model="",
        family="efficientdet",
        feature_extractor=str(parameters["feature_extractor"]),
        image_size=(size, size),
        predicts_masks=False,
        predicts_keypoints=False,
        recipe="automl",
        # Section 5.1 of the paper: 32 TPUv3 cores, 128 of them for D7.
        num_replicas=128 if number == 7 else 32,
        reported=_reported(published),
        disputes=_automl_disputes(number, published),
        unexpressed=_UNEXPRESSED if number else (*_UNEXPRESSED, _STOCHASTIC_DEPTH),
        source=ConfigSource(
            template="efficientdet",
            title=f"EfficientDet-D{number} by google/automl's recipe, {size}x{size}, COCO 2017",
            start=f"Starts from an {parameters['backbone']} ImageNet classification checkpoint.",
            accelerator="TPU core",
            parameters={
                **parameters,
                "automl": True,
                "image_size": size,
                "anchor_scale": 5.0 if number == 7 else 4.0,
                "epochs": epochs,
                "num_steps": epochs * _EXAMPLES_PER_EPOCH // _BATCH // 1000 * 1000,
                # Both rates are given per 64 images and grow with the batch.
                "base_lr": 0.08 * _BATCH / 64,
                "warmup_lr": 0.008 * _BATCH / 64,
                "warmup_steps": round(_EXAMPLES_PER_EPOCH / _BATCH),
            },
        ),
    )


def _reported(published: _Published) -> tuple[ReportedMetric, ...]:
    head, july, june = (
        f"{_README} at {version}" for version in ("6a54c8741e7c", "2020-07-06", "2020-06-14")
    )
    return (
        ReportedMetric("AP", published.val, head, f"{_VAL}, soft-NMS"),
        ReportedMetric("AP", published.val_july, july, f"{_VAL}, hard NMS"),
        ReportedMetric("AP", published.val_june, june, _VAL),
        ReportedMetric("AP", published.test_dev, head, f"{_TEST_DEV}, soft-NMS"),
        ReportedMetric("AP", published.test_dev_july, july, f"{_TEST_DEV}, hard NMS"),
    )


def _automl_disputes(number: int, published: _Published) -> tuple[Dispute, ...]:
    found = [
        Dispute(
            "this recipe was never trained through the OD API by anybody we know of: the numbers "
            "are those of google/automl's own code",
            _README,
        )
    ]
    values = {published.val, published.val_july, published.val_june}
    if len(values) > 1:
        listed = ", ".join(f"{value:g}" for value in sorted(values))
        found.append(
            Dispute(
                f"the README's val AP changed with its checkpoints: {listed}",
                f"{_README} at 2020-06-14, 2020-07-06 and 6a54c8741e7c",
            )
        )
    if number == 7:
        found.append(
            Dispute(
                "the paper names 128 cores for D7 and no batch, and the code's default of 300 "
                "epochs is not the README's 600",
                "arXiv 1911.09070, section 5.1; hparams_config.py and README.md at 6a54c8741e7c",
            )
        )
    return tuple(found)
