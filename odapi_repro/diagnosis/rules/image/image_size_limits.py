"""Sizes and resizers that the OD API refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.image.input_limits import InputLimits, input_limits
from odapi_repro.diagnosis.rules.model.model_parts import Part, image_resizer
from odapi_repro.diagnosis.subject import Subject

_CROP = "random_scale_crop_and_pad_to_square"


class ImageSizeUnsupported(Rule):
    """The OD API stops at this image size or resizer.

    A pyramid doubles each feature map and adds it to the one below. 300 pixels make maps of 38, 19
    and 10: twice 10 is 20, and 20 cannot be added to 19.

    Anti-pattern

        image_resizer { fixed_shape_resizer { height: 300 width: 300 } }

    under a pyramid (fpn, fpnlite, EfficientDet), or `keep_aspect_ratio_resizer` without
    `pad_to_max_dimension: true` at more than one image a replica.

    Best practice

    Multiples of 32 for FPN, of 128 for EfficientDet and Hourglass; at least 129 pixels for
    EfficientNet and ResNet extractors, 33 for MobileNet; padding wherever images are batched.

    Source

    utils/shape_utils.check_min_image_dim, models/feature_map_generators.KerasFpnTopDownFeatureMaps,
    models/bidirectional_feature_pyramid_generators, builders/image_resizer_builder,
    utils/config_util.get_spatial_image_size (knows no pad_to_multiple_resizer),
    builders/dataset_builder (batches as they are).
    """

    code: ClassVar[str] = "MOD009"
    name: ClassVar[str] = "model.image_size_unsupported"
    causes: ClassVar[tuple[str, ...]] = ("image_size_unsupported",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the resizer, then at the size, then at batches of unlike sizes."""
        if subject.pipeline.meta_architecture not in ("ssd", "faster_rcnn", "center_net"):
            return
        resizer = image_resizer(subject.pipeline)
        refusal = _resizer_refusal(resizer)
        if refusal is not None:
            yield self._refused(resizer, *refusal)
            return
        limits = input_limits(subject.pipeline)
        sides = _fixed_sides(resizer)
        if sides is not None:
            yield from self._size(resizer, sides, limits)
        else:
            yield from self._free_sizes(subject, resizer, limits)

    def _size(
        self, resizer: Part, sides: tuple[int, int], limits: InputLimits | None
    ) -> Iterator[Finding]:
        shown = f"{sides[0]}x{sides[1]} pixels"
        smallest = limits.smallest if limits else 1
        if min(sides) < smallest:
            yield self._refused(
                resizer,
                shown,
                f"at least {smallest} in both",
                "The feature extractor checks the size and stops.",
            )
            return
        for side in dict.fromkeys(sides):
            clash = limits.clash(side) if limits else None
            if limits and clash:
                stride, size, doubled = clash
                fitting = -(-side // limits.multiple) * limits.multiple
                yield self._refused(
                    resizer,
                    shown,
                    f"a multiple of {limits.multiple}, e.g. {fitting}",
                    f"At stride {stride} a feature map of {size} is added to one of {doubled} "
                    "(twice the next smaller); shapes that differ stop the OD API.",
                    [
                        FieldFix(resizer.at(name), -(-value // limits.multiple) * limits.multiple)
                        for name, value in _dimensions(resizer).items()
                    ],
                )
                return

    def _free_sizes(
        self, subject: Subject, resizer: Part, limits: InputLimits | None
    ) -> Iterator[Finding]:
        images, evaluated = subject.quantities.images_per_replica, _eval_batch(subject)
        squared = _CROP in subject.quantities.augmentation
        trained = images > 1 and not squared
        pads = []
        if resizer.kind == "keep_aspect_ratio_resizer":
            pads = [FieldFix(resizer.at("pad_to_max_dimension"), True)]
        if trained or evaluated > 1:
            where = "training" if trained else "evaluation"
            count = images if trained else evaluated
            yield self._refused(
                resizer,
                f"images keep sizes of their own, and {where} batches {count:g} of them",
                "one size for all: pad_to_max_dimension: true, or a fixed_shape_resizer",
                "Images of unlike shapes cannot be batched, so the input pipeline stops at the "
                "first two that differ; a data set of images that are all of one size gets by.",
                pads,
            )
        elif limits and limits.levels and limits.multiple > limits.pad_to_multiple:
            whose = "evaluation images keep" if squared else "images keep"
            yield self._refused(
                resizer,
                f"{whose} sizes of their own under a pyramid of stride {limits.multiple}",
                f"sizes that are multiples of {limits.multiple}: a fixed_shape_resizer, or "
                "pad_to_max_dimension: true",
                "The first image whose sides do not fit gives feature maps that cannot be added"
                + (
                    "; the evaluation ends there without a word, and its metrics are of the images "
                    f"before it. Training images are squares ({_CROP}), and train."
                    if squared
                    else "."
                ),
                pads,
            )

    def _refused(
        self, resizer: Part, found: str, expected: str, why: str, fix: Sequence[FieldFix] = ()
    ) -> Finding:
        return self.finding(
            "image_size_unsupported",
            Severity.FATAL,
            fields=[resizer.chosen_path],
            found=found,
            expected=expected,
            why=why,
            fix=fix,
        )


def _resizer_refusal(resizer: Part) -> tuple[str, str, str] | None:
    """Gives (found, expected, why) for a resizer that stops the OD API whatever the images."""
    if not resizer.kind:
        return "no image resizer", "one", "The OD API stops with 'Invalid image resizer option'."
    if resizer.kind == "pad_to_multiple_resizer":
        return (
            "pad_to_multiple_resizer",
            "fixed_shape_resizer or keep_aspect_ratio_resizer",
            "Training and evaluation stop with 'Unknown image resizer type'.",
        )
    if resizer.kind != "keep_aspect_ratio_resizer":
        return None
    message = resizer.message
    if message.min_dimension > message.max_dimension:
        return (
            f"min_dimension {message.min_dimension} above max_dimension {message.max_dimension}",
            "min_dimension at most max_dimension",
            "The OD API stops with 'min_dimension > max_dimension'.",
        )
    padding = len(message.per_channel_pad_value)
    if message.pad_to_max_dimension and padding not in (0, 3):
        return (
            f"{padding} values in per_channel_pad_value",
            "one for each of the 3 channels",
            "The OD API stops at the first image.",
        )
    return None


def _fixed_sides(resizer: Part) -> tuple[int, int] | None:
    """Height and width that every image gets; None where they follow the image."""
    message = resizer.message
    if resizer.kind == "fixed_shape_resizer":
        return int(message.height), int(message.width)
    if resizer.kind == "keep_aspect_ratio_resizer" and message.pad_to_max_dimension:
        return int(message.max_dimension), int(message.max_dimension)
    return None


def _dimensions(resizer: Part) -> dict[str, int]:
    """The fields that set the size, by name."""
    fixed = resizer.kind == "fixed_shape_resizer"
    names = ("height", "width") if fixed else ("min_dimension", "max_dimension")
    return {name: int(getattr(resizer.message, name)) for name in names}


def _eval_batch(subject: Subject) -> int:
    return int(subject.pipeline.proto.eval_config.batch_size)
