"""The augmentation of a config by kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from odapi_repro.pipeline import Pipeline

__all__ = ["COLOUR", "GEOMETRY", "MIRRORS", "Step", "kinds", "steps"]

#: Augmentations that change scale or position: crops, padding, resizing.
GEOMETRY = frozenset(
    {
        "random_absolute_pad_image",
        "random_crop_image",
        "random_crop_pad_image",
        "random_crop_to_aspect_ratio",
        "random_image_scale",
        "random_pad_image",
        "random_scale_crop_and_pad_to_square",
        "random_square_crop_by_scale",
        "ssd_random_crop",
        "ssd_random_crop_fixed_aspect_ratio",
        "ssd_random_crop_pad",
        "ssd_random_crop_pad_fixed_aspect_ratio",
    }
)
#: Augmentations that change colours or noise.
COLOUR = frozenset(
    {
        "adjust_gamma",
        "random_adjust_brightness",
        "random_adjust_contrast",
        "random_adjust_hue",
        "random_adjust_saturation",
        "random_black_patches",
        "random_distort_color",
        "random_downscale_to_target_pixels",
        "random_jpeg_quality",
        "random_patch_gaussian",
        "random_pixel_value_scale",
        "random_rgb_to_gray",
    }
)
#: Augmentations that mirror or turn.
MIRRORS = frozenset({"random_horizontal_flip", "random_rotation90", "random_vertical_flip"})


@dataclass(frozen=True)
class Step:
    """One of data_augmentation_options.

    Attributes:
        kind: the proto's field name; empty for an option that names none.
        message: its parameters.
        path: dotted path.
    """

    kind: str
    message: Any
    path: str

    def at(self, field: str) -> str:
        """Path of one of its parameters."""
        return f"{self.path}.{field}"


def steps(pipeline: Pipeline) -> Iterator[Step]:
    """Gives the steps in order."""
    for index, option in enumerate(pipeline.proto.train_config.data_augmentation_options):
        kind = str(option.WhichOneof("preprocessing_step") or "")
        path = f"train_config.data_augmentation_options[{index}]"
        message = getattr(option, kind) if kind else None
        yield Step(kind, message, f"{path}.{kind}" if kind else path)


def kinds(pipeline: Pipeline) -> list[str]:
    """Gives the kinds in order."""
    return [step.kind for step in steps(pipeline)]
