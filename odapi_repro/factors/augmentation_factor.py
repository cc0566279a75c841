"""Data augmentation, by name."""

from __future__ import annotations

from odapi_repro.errors import UserError
from odapi_repro.factors.factor import Level, Setting, TrainedFactor
from odapi_repro.pipeline import Pipeline

_FLIP = "random_horizontal_flip {}"
_COLOR = (
    "random_adjust_brightness {}",
    "random_adjust_contrast {}",
    "random_adjust_saturation {}",
    "random_adjust_hue {}",
)

# Level -> the options, SIZE being the side of the pipeline's input. `jitter` is the scale
# range of Faster R-CNN and RetinaNet practice, `large_jitter` that of EfficientDet (0.1 to 2.0;
# Ghiasi et al. 2021, Simple Copy-Paste, section 3, call it large scale jittering).
AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "flip": (_FLIP,),
    "jitter": (
        _FLIP,
        "random_scale_crop_and_pad_to_square { output_size: SIZE scale_min: 0.8 scale_max: 1.25 }",
    ),
    "large_jitter": (
        _FLIP,
        "random_scale_crop_and_pad_to_square { output_size: SIZE scale_min: 0.1 scale_max: 2.0 }",
    ),
    "color": (_FLIP, *_COLOR),
}
REFERENCE = "reference"


class Augmentation(TrainedFactor):
    """What is done to images and boxes before they are trained on."""

    name = "augmentation"
    also_called = "aug augs augment augmentations data_augmentation data_augmentation_options"
    summary = f"data augmentation: {REFERENCE}, {', '.join(AUGMENTATIONS)}"
    owns = ("augmentation",)
    holds = (
        "everything else is held, images seen included. `reference` is the pipeline's own list; "
        "the other levels replace it whole (docs/factors.md has each in full)."
    )

    def reference_level(self, setting: Setting) -> Level:
        """The pipeline's own options."""
        return Level(REFERENCE, setting.recipe.augmentation)

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        """The reference, none, and the first of flip and jitter that is neither."""
        reference = self.reference_level(setting)
        others = [self.parse_level(name, setting) for name in ("flip", "jitter")]
        own = setting.recipe.augmentation
        other = next(level for level in others if _canonical(level) != _canonical_text(own))
        return (reference, self.parse_level("none", setting), other)

    def parse_level(self, text: str, setting: Setting) -> Level:
        """A name of the table above, or `reference`."""
        if text == REFERENCE:
            return self.reference_level(setting)
        self.named(text, [REFERENCE, *AUGMENTATIONS])
        options = AUGMENTATIONS[text]
        if any("SIZE" in option for option in options):
            size = str(_input_size(setting.pipeline))
            options = tuple(option.replace("SIZE", size) for option in options)
        return Level(text, options)


def _canonical(level: Level) -> tuple[str, ...]:
    assert isinstance(level.value, tuple)
    return _canonical_text(level.value)


def _canonical_text(options: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("".join(option.split()) for option in options)


def _input_size(pipeline: Pipeline) -> int:
    """Gives the longer side of the network's input, in pixels."""
    resizer = pipeline.model.image_resizer  # type: ignore[attr-defined]
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "keep_aspect_ratio_resizer":
        return int(resizer.keep_aspect_ratio_resizer.max_dimension)
    if kind == "fixed_shape_resizer":
        fixed = resizer.fixed_shape_resizer
        return int(max(fixed.height, fixed.width))
    raise UserError(
        f"augmentation levels need the input's size, and the image resizer is '{kind}'",
        expected="keep_aspect_ratio_resizer or fixed_shape_resizer",
        mend="choose the level none or flip, or another resizer",
    )
