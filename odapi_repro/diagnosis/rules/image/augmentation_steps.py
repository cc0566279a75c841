"""The augmentation of a config by kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from odapi_repro.diagnosis.rules.model.model_parts import image_resizer
from odapi_repro.pipeline import Pipeline

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
#: Augmentations that mirror or turn.
MIRRORS = frozenset({"random_horizontal_flip", "random_rotation90", "random_vertical_flip"})

_RESCALES = frozenset({"random_image_scale"})
_RESHAPES = frozenset({"random_resize_method", "resize_image"})
_IN_PIXELS = frozenset(
    {
        "random_absolute_pad_image",
        "random_downscale_to_target_pixels",
        "random_patch_gaussian",
        "random_self_concat_image",
    }
)


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


def undone(pipeline: Pipeline) -> list[Step]:
    """Gives the steps that scale the whole image and that the model's resizer undoes.

    Boxes are shares of the image, and a resizer that aims at a size of its own takes an image of
    any scale to the same pixels (inputs.transform_input_data: augmentation, then preprocess). A
    step that counts in pixels, after one that scales, sees the scale.
    """
    resizer = image_resizer(pipeline).kind
    scaling = {"fixed_shape_resizer": _RESCALES | _RESHAPES, "keep_aspect_ratio_resizer": _RESCALES}
    found: list[Step] = []
    for step in steps(pipeline):
        if step.kind in scaling.get(resizer, ()):
            found.append(step)
        elif step.kind in _IN_PIXELS or (step.kind == "random_pad_image" and _sized(step.message)):
            found.clear()
    return found


def _sized(message: Any) -> bool:
    sides = ("min_image_height", "min_image_width", "max_image_height", "max_image_width")
    return any(getattr(message, side) for side in sides)


def kinds(pipeline: Pipeline) -> list[str]:
    """Gives the kinds in order."""
    return [step.kind for step in steps(pipeline)]
