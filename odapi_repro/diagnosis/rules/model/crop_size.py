"""Training crops of another size than the network's input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.subject import Subject

_SQUARE = "random_scale_crop_and_pad_to_square"
# Augmentations that give every image one size: (height, width) fields.
_SIZES = {
    _SQUARE: ("output_size", "output_size"),
    "resize_image": ("new_height", "new_width"),
    "random_resize_method": ("target_height", "target_width"),
}


class CropSizeMismatch(Rule):
    """Training images are cropped to one size and then resized to another.

    The resizer still runs after the augmentation. Crops that are smaller than the input are blown
    up: training sees blurred images of the smaller size, evaluation sharp ones of the larger.

    Anti-pattern

        image_resizer { keep_aspect_ratio_resizer { min_dimension: 1024 max_dimension: 1024 ... } }
        random_scale_crop_and_pad_to_square { output_size: 512 ... }

    Best practice

    Change output_size with the image resizer; both stand in every EfficientDet config.

    Source

    inputs.transform_input_data: augmentation first, then the model's own resizer.
    core/preprocessor.random_scale_crop_and_pad_to_square.
    """

    code: ClassVar[str] = "MOD010"
    name: ClassVar[str] = "model.crop_size"
    causes: ClassVar[tuple[str, ...]] = ("crop_size_mismatch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the last augmentation that fixes a size with the size of the input."""
        height, width = subject.quantities.input_height, subject.quantities.input_width
        options = subject.pipeline.proto.train_config.data_augmentation_options
        last: tuple[int, str] | None = None
        for index, option in enumerate(options):
            kind = str(option.WhichOneof("preprocessing_step") or "")
            if kind in _SIZES:
                last = (index, kind)
        if last is None or not height or not width:
            return
        index, kind = last
        message: Any = getattr(options[index], kind)
        crop = tuple(int(getattr(message, name)) for name in _SIZES[kind])
        if crop == (height, width):
            return
        path = f"train_config.data_augmentation_options[{index}].{kind}"
        smaller = min(crop[0] / height, crop[1] / width)
        stretched = kind == _SQUARE and height != width
        names = list(dict.fromkeys(_SIZES[kind]))
        fits = not stretched or kind != _SQUARE
        yield self.finding(
            "crop_size_mismatch",
            Severity.WARNING,
            fields=[f"{path}.{name}" for name in names],
            found=f"training crops of {crop[0]}x{crop[1]} are resized to {height}x{width}",
            expected=f"crops of {height}x{width}" if fits else "a square input",
            why=_why(smaller, stretched),
            # Judged from the same change of the whole input: half of it, as evaluation is sharp.
            loss_ap=1.0 if stretched else 3.0 if smaller < 0.6 else 1.5 if smaller < 0.98 else 0.3,
            evidence=published("size_640_320") if smaller < 0.98 and not stretched else (),
            fix=[
                FieldFix(f"{path}.{name}", value)
                for name, value in dict(zip(_SIZES[kind], (height, width), strict=True)).items()
            ]
            if fits
            else [],
        )


def _why(smaller: float, stretched: bool) -> str:
    if stretched:
        return (
            "Square crops are stretched to the input's shape, and evaluation images are not: "
            "objects have other proportions in training."
        )
    if smaller < 0.98:
        return (
            "The network trains on enlarged, blurred crops and is evaluated on sharp images; what "
            f"is smaller than {1 / max(smaller, 0.01):.2g} pixels of the input is never seen."
        )
    return "The crops are shrunk again: memory and time for pixels that the network never sees."
