"""EfficientDet D0 to D7 by the OD API's recipe (configs/tf2/ssd_efficientdet_d*)."""

from __future__ import annotations

from dataclasses import dataclass

from odapi_repro.reference.entry import Dispute, Reference
from odapi_repro.reference.families.sources import ARCHIVE_COPIES, ZOO, archive_url, in_zoo
from odapi_repro.reference.template import ConfigSource

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


def references() -> list[Reference]:
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
