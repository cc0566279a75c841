"""Rules about the size and the channels of the network's input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import Evidence, FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.model.network import Part, image_resizer
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, Quantities, descend

# AP lost to halving both sides, SSD MobileNet v2 FPNLite 640 -> 320 in the OD API's own zoo.
_HALVING_AP = 6.0


class ImageSizeChanged(Rule):
    """The network sees smaller or larger images than the reference's.

    Small objects are the first to go: half the side leaves a quarter of their pixels.

    Anti-pattern

        image_resizer { fixed_shape_resizer { height: 320 width: 320 } }

    in the config of a model of 640.

    Best practice

    Keep the reference's size if the numbers are to be compared. If memory is short, lower the batch
    and scale the learning rate with it, or take the smaller model of the family.

    Source

    Huang et al. 2016, arXiv 1611.10012 (halving both sides: -15.9 % relative); the TF2 detection
    zoo's own pairs of one model in two sizes; Lin et al. 2017, arXiv 1708.02002, table 1e.
    core/preprocessor.resize_to_range.
    """

    code: ClassVar[str] = "MOD008"
    name: ClassVar[str] = "model.image_size"
    causes: ClassVar[tuple[str, ...]] = ("image_size_changed",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the areas that the network sees, then how images are fitted into them."""
        resizer = image_resizer(subject.pipeline)
        expected_resizer = image_resizer(subject.reference_pipeline)
        ours, theirs = subject.quantities, subject.reference_quantities
        side, expected = _side(ours), _side(theirs)
        if side is None or expected is None or not resizer.kind:
            return
        factor = side / expected
        shown, shown_expected = _shown(ours), _shown(theirs)
        fix = _fix(resizer, expected_resizer)
        if factor < 0.98:
            loss_ap = min(_HALVING_AP * math.log2(1 / factor), 30.0)
            yield self.finding(
                "image_size_changed",
                Severity.WARNING if factor < 0.9 else Severity.INFO,
                fields=[resizer.chosen_path],
                found=f"the network sees {shown} pixels",
                expected=shown_expected,
                why=f"An object has {factor * factor:.0%} of its pixels in the reference's; "
                "anchors and strides stay, so small objects fall below them.",
                loss_ap=loss_ap,
                evidence=_evidence(factor, expected),
                fix=fix,
            )
        elif factor > 1.02:
            yield self.finding(
                "image_size_changed",
                Severity.INFO,
                fields=[resizer.chosen_path],
                found=f"the network sees {shown} pixels",
                expected=shown_expected,
                why=f"{factor * factor:.3g} times the pixels, memory and time an image; usually a "
                "gain of AP, mostly for small objects.",
                fix=fix,
            )
        elif resizer.kind != expected_resizer.kind:
            yield self.finding(
                "image_size_changed",
                Severity.INFO,
                fields=[resizer.chosen_path],
                found=f"images are {_FITTED.get(resizer.kind, 'resized')} {shown} pixels",
                expected=f"{_FITTED.get(expected_resizer.kind, 'resized to')} {shown_expected}",
                why="Stretching uses every pixel of the input and distorts shapes; padding keeps "
                "shapes and wastes what it pads.",
                loss_ap=0.3,  # judged: nothing published
                fix=fix,
            )


_FITTED = {
    "fixed_shape_resizer": "stretched to",
    "keep_aspect_ratio_resizer": "resized in proportion and padded to",
}


def _side(quantities: Quantities) -> float | None:
    """Geometric mean of the sides; None where images keep their own size."""
    height, width = quantities.input_height, quantities.input_width
    if not height or not width or height < 0 or width < 0:
        return None
    return math.sqrt(height) * math.sqrt(width)


def _shown(quantities: Quantities) -> str:
    return f"{quantities.input_height}x{quantities.input_width}"


def _evidence(factor: float, expected: float) -> tuple[Evidence, ...]:
    """The published pairs nearest to the ratio and the reference's size."""
    if factor > 0.7:
        return published("size_800_600")
    if expected > 900:
        return published("size_800_500", "size_halved")
    return published("size_640_320", "size_800_400", "size_halved")


def _fix(resizer: Part, expected: Part) -> list[FieldFix]:
    edits = [FieldFix(resizer.chosen_path, None)] if resizer.kind != expected.kind else []
    path, message = expected.chosen_path.split(".", 2)[-1], expected.message
    prefix = ".".join(resizer.path.split(".")[:2])
    if expected.kind == "fixed_shape_resizer":
        values = {"height": int(message.height), "width": int(message.width)}
    elif expected.kind == "keep_aspect_ratio_resizer":
        values = {
            "min_dimension": int(message.min_dimension),
            "max_dimension": int(message.max_dimension),
            "pad_to_max_dimension": bool(message.pad_to_max_dimension),
        }
    else:
        return []
    return edits + [FieldFix(f"{prefix}.{path}.{name}", value) for name, value in values.items()]


@dataclass(frozen=True)
class InputLimits:
    """The limits of one feature extractor.

    Attributes:
        smallest: least height and width in pixels.
        levels: (low, high): feature maps of strides 2^low to 2^high, each of which is doubled and
            added to the one below; None without such a pyramid.
        pad_to_multiple: to what the extractor itself pads.
        stride: stride at which ground truth is rasterised (CenterNet); 0 elsewhere.
    """

    smallest: int
    levels: tuple[int, int] | None
    pad_to_multiple: int = 1
    stride: int = 0

    def clash(self, side: int) -> tuple[int, int, int] | None:
        """Gives (stride, size there, size doubled from above) where two maps do not meet."""
        padded = -(-side // self.pad_to_multiple) * self.pad_to_multiple
        if self.levels is None:
            return None
        low, high = self.levels
        for level in range(high, low, -1):
            below, doubled = -(-padded // 2 ** (level - 1)), 2 * -(-padded // 2**level)
            if below != doubled:
                return 2 ** (level - 1), below, doubled
        if self.stride and -(-padded // self.stride) != max(side // self.stride, 1):
            return self.stride, side // self.stride, -(-padded // self.stride)
        return None

    @property
    def multiple(self) -> int:
        """Sizes that are a multiple of this always fit."""
        return 2 ** self.levels[1] if self.levels else 1


def input_limits(pipeline: Pipeline) -> InputLimits | None:
    """Gives the limits of the pipeline's feature extractor; None where none are known.

    Source: models/ssd_*_keras_feature_extractor._extract_features (check_min_image_dim),
    models/feature_map_generators.KerasFpnTopDownFeatureMaps,
    models/bidirectional_feature_pyramid_generators, models/keras_models/hourglass_network,
    models/center_net_resnet*_feature_extractor, core/target_assigner (height // stride).
    """
    if pipeline.meta_architecture not in ("ssd", "center_net"):
        return None
    extractor: Any = descend(pipeline.model, "feature_extractor")
    name = str(extractor.type)
    if pipeline.meta_architecture == "center_net":
        if name == "hourglass_104":
            return InputLimits(1, (2, 7), stride=4)
        if name.startswith("resnet_v"):
            return InputLimits(1, (2, 5), stride=4)
        return None
    smallest = 129 if name.startswith(("ssd_efficientnet", "ssd_resnet")) else 33
    pad = max(int(extractor.pad_to_multiple), 1)
    if name.startswith("ssd_efficientnet"):
        pyramid = extractor.bifpn
        return InputLimits(smallest, _levels(pyramid.min_level, pyramid.max_level), pad)
    if "_fpn_" in name and not extractor.use_explicit_padding:
        # Without explicit padding nothing crops the doubled map to the one that it is added to.
        pyramid = extractor.fpn
        return InputLimits(smallest, _levels(pyramid.min_level, min(pyramid.max_level, 5)), pad)
    return InputLimits(smallest, None, pad) if name.startswith("ssd_") else None


def _levels(low: int, high: int) -> tuple[int, int] | None:
    return (int(low), int(high)) if 0 < low < high <= 12 else None


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
                    "; the evaluation ends there silently, and its metrics cover the images before "
                    f"it. Training images are squares ({_CROP}), and train."
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


# The one extractor whose backbone is built for the channels that come.
_ANY_CHANNELS = "ssd_mobilenet_v2_fpn_keras"
_FIELD = "num_additional_channels"


class ImageChannels(Rule):
    """The network gets images of another number of channels than three.

    Backbones are built for three channels, and so are all pretrained weights. Gray files need no
    setting: the decoder already makes three equal channels of them.

    Anti-pattern

        image_resizer { fixed_shape_resizer { height: 320 width: 320 convert_to_grayscale: true } }
        train_input_reader { num_additional_channels: 1 }

    Best practice

    Leave both out. To take colour from the training alone use random_rgb_to_gray, which keeps
    three channels; to drop it for good, convert the images before they are written to records.

    Source

    builders/image_resizer_builder.build, data_decoders/tf_example_decoder (channels=3;
    image/additional_channels/encoded is a required feature), inputs.transform_input_data. Run with
    every family of the reference configs: all stop in predict but ssd_mobilenet_v2_fpn_keras, which
    builds a network of one channel, and CenterNet without bgr_ordering, whose preprocessing makes
    three channels of one again.
    """

    code: ClassVar[str] = "MOD019"
    name: ClassVar[str] = "model.image_channels"
    causes: ClassVar[tuple[str, ...]] = ("grayscale_input_unsupported",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the resizer, then at both readers."""
        if not hasattr(subject.pipeline.model, "feature_extractor"):
            return  # no model that takes images: that is told elsewhere
        resizer = image_resizer(subject.pipeline)
        if resizer.message is not None and getattr(resizer.message, "convert_to_grayscale", False):
            yield from self._gray(subject, resizer.at("convert_to_grayscale"))
        proto = subject.pipeline.proto
        readers = [("train_input_reader", proto.train_input_reader)]
        readers += [("eval_input_reader[0]", one) for one in proto.eval_input_reader[:1]]
        paths = [f"{path}.{_FIELD}" for path, reader in readers if getattr(reader, _FIELD) > 0]
        if paths:
            yield from self._more(subject, paths)

    def _gray(self, subject: Subject, path: str) -> Iterator[Finding]:
        extractor = descend(subject.pipeline.model, "feature_extractor")
        if subject.pipeline.meta_architecture == "center_net" and not extractor.bgr_ordering:
            return
        why = "The network takes three channels, and the OD API stops in its first forward pass."
        severity = Severity.FATAL
        if extractor.type == _ANY_CHANNELS:
            starts = bool(subject.pipeline.proto.train_config.fine_tune_checkpoint)
            severity = Severity.FATAL if starts else Severity.WARNING
            why = (
                "The network is built for one channel; the first layer of a checkpoint that was "
                "trained on three, as all published ones were, cannot be restored into it."
                if starts
                else "The network is built for one channel, and no published checkpoint fits it."
            )
        yield self.finding(
            "grayscale_input_unsupported",
            severity,
            fields=[path],
            found="images are converted to one channel",
            expected="three channels; the decoder makes them of gray images, too",
            why=why,
            loss_ap=60.0,
            fix=[FieldFix(path, False)],
        )

    def _more(self, subject: Subject, paths: list[str]) -> Iterator[Finding]:
        extractor = descend(subject.pipeline.model, "feature_extractor")
        builds = extractor.type == _ANY_CHANNELS
        yield self.finding(
            "grayscale_input_unsupported",
            Severity.CRITICAL if builds else Severity.FATAL,
            fields=paths,
            found="channels are read beside the three of the image",
            expected="three channels",
            why="Records without image/additional_channels/encoded stop the input"
            + (
                ", and a checkpoint of three channels fits no network of more."
                if builds
                else "; with them, the network, which takes three channels, stops."
            ),
            loss_ap=60.0,
            fix=[FieldFix(path, 0) for path in paths],
            count=len(paths),
        )
