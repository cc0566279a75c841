"""From the proto to the input's size and its anchors.

Source: builders/image_resizer_builder, core/preprocessor.resize_to_range and
resize_to_min/max_dimension, utils/config_util.get_spatial_image_size.

Source: builders/anchor_generator_builder and anchor_generators/ (grid, multiple_grid,
multiscale_grid, flexible_grid); SSDMetaArch.predict gives the generator the input's size,
FasterRCNNMetaArch._extract_rpn_feature_maps does not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.anchors.anchor_matching import AnchorLevel, AnchorSet, Border
from odapi_repro.pipeline.fields import descend
from odapi_repro.pipeline.parse import Pipeline

# --- The size that an image has when the network gets it: resized, then padded ---


Sizes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class InputSizes:
    """Sizes of images at the network's input, int64 [N] each.

    Attributes:
        height, width: of the resized image; boxes are shares of these in a record.
        padded_height, padded_width: of the input, which may be larger at the bottom and right.
    """

    height: Sizes
    width: Sizes
    padded_height: Sizes
    padded_width: Sizes


@dataclass(frozen=True)
class Resizer:
    """A pipeline's image_resizer.

    Attributes:
        kind: the name in the proto's oneof, such as `keep_aspect_ratio_resizer`.
        message: its settings.
    """

    kind: str
    message: Any

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width of every input, None where they follow the image."""
        if self.kind == "fixed_shape_resizer":
            return int(self.message.height), int(self.message.width)
        if self.kind == "keep_aspect_ratio_resizer" and self.message.pad_to_max_dimension:
            return int(self.message.max_dimension), int(self.message.max_dimension)
        return None

    @property
    def described(self) -> str:
        """What it does, in a clause."""
        if self.kind == "fixed_shape_resizer":
            return f"stretched to {self.message.width} x {self.message.height}"
        if self.kind == "keep_aspect_ratio_resizer":
            low, high = self.message.min_dimension, self.message.max_dimension
            padded = f", padded to {high} x {high}" if self.message.pad_to_max_dimension else ""
            if low == high:
                return f"longer side {high}{padded}"
            return f"shorter side {low}, longer at most {high}{padded}"
        if self.kind == "conditional_shape_resizer":
            bound = "at least" if self._makes_larger else "at most"
            return f"a side of {bound} {self.message.size_threshold}"
        return "its own size"

    @property
    def _makes_larger(self) -> bool:
        # ConditionalShapeResizer.ResizeCondition: GREATER shrinks what is greater, SMALLER is 2.
        return int(self.message.condition) == 2

    def sizes(self, height: Sizes, width: Sizes) -> InputSizes:
        """Gives the sizes of images of `height` x `width` pixels, [N] each."""
        if self.kind == "fixed_shape_resizer":
            new = np.full_like(height, self.message.height), np.full_like(width, self.message.width)
            return InputSizes(*new, *new)
        if self.kind == "identity_resizer":
            return InputSizes(height, width, height, width)
        if self.kind == "conditional_shape_resizer":
            new = self._conditional(height, width)
            return InputSizes(*new, *new)
        new = self._within_range(height, width)
        if not self.message.pad_to_max_dimension:
            return InputSizes(*new, *new)
        side = np.full_like(height, self.message.max_dimension)
        return InputSizes(*new, side, side)

    def _within_range(self, height: Sizes, width: Sizes) -> tuple[Sizes, Sizes]:
        """As tf.image.resize does with preserve_aspect_ratio: float32, halves to even."""
        low, high = self.message.min_dimension, self.message.max_dimension
        landscape = height < width
        scale = np.minimum(
            np.where(landscape, low, high).astype(np.float32) / height.astype(np.float32),
            np.where(landscape, high, low).astype(np.float32) / width.astype(np.float32),
        )
        new_height, new_width = (
            np.rint(scale * side.astype(np.float32)).astype(np.int64) for side in (height, width)
        )
        return new_height, new_width

    def _conditional(self, height: Sizes, width: Sizes) -> tuple[Sizes, Sizes]:
        threshold = self.message.size_threshold
        if self._makes_larger:
            side = np.minimum(height, width)
            target = np.maximum(side, threshold)
        else:
            side = np.maximum(height, width)
            target = np.minimum(side, threshold)
        ratio = target.astype(np.float32) / side.astype(np.float32)
        new_height, new_width = (
            (one.astype(np.float32) * ratio).astype(np.int64) for one in (height, width)
        )
        return new_height, new_width


def read_resizer(pipeline: Pipeline) -> Resizer:
    """Gives the pipeline's resizer.

    Raises:
        ConfigError: there is none, or one that training stops at.
    """
    message: Any = getattr(pipeline.model, "image_resizer", None)
    kind = str(message.WhichOneof("image_resizer_oneof") or "") if message is not None else ""
    if kind in ("", "pad_to_multiple_resizer"):
        raise ConfigError(
            f"the model has {'a ' + kind if kind else 'no image_resizer'}",
            expected="a fixed_shape_resizer, keep_aspect_ratio_resizer, conditional_shape_resizer "
            "or identity_resizer: training stops at any other",
            mend="see the image_resizer of a file in pipelines/",
            where=pipeline.path,
        )
    return Resizer(kind, getattr(message, kind))


# --- From the proto to the anchors of an input ---


_FIELDS = {"ssd": "anchor_generator", "faster_rcnn": "first_stage_anchor_generator"}
_ONE = {"ssd": "an ssd", "faster_rcnn": "a faster_rcnn"}
# SSD's lowest layer where it is reduced (multiple_grid_anchor_generator.create_ssd_anchors).
_REDUCED_SCALE = 0.1


_SSD_PYRAMID = (3, 7)
_FASTER_RCNN_PYRAMID = (2, 6)
_FASTER_RCNN_PYRAMID_MULTIPLE = 32
_FIRST_SSD_STRIDE = 16


def feature_map_shapes(pipeline: Pipeline, height: int, width: int) -> list[tuple[int, int]]:
    """Gives (rows, columns) of each feature map that has anchors, the finest first.

    Args:
        pipeline: an SSD or a Faster R-CNN.
        height, width: of the input in pixels.

    Raises:
        ConfigError: an extractor whose maps are not known.
    """
    extractor: Any = descend(pipeline.model, "feature_extractor")
    strides = _strides(pipeline, extractor)
    multiple = _multiple(pipeline, extractor)
    # Padding is 'same' throughout, so that every halving rounds up.
    padded = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
    return [(-(-padded[0] // stride), -(-padded[1] // stride)) for stride in strides]


def _strides(pipeline: Pipeline, extractor: Any) -> list[int]:
    name = str(extractor.type)
    is_ssd = pipeline.meta_architecture == "ssd"
    if is_ssd and "_bifpn_" in name:
        return _pyramid((int(extractor.bifpn.min_level), int(extractor.bifpn.max_level)))
    if "_fpn_" in name:
        default = _SSD_PYRAMID if is_ssd else _FASTER_RCNN_PYRAMID
        if not extractor.HasField("fpn"):
            return _pyramid(default)
        return _pyramid((int(extractor.fpn.min_level), int(extractor.fpn.max_level)))
    if is_ssd and name in ("ssd_mobilenet_v1_keras", "ssd_mobilenet_v2_keras"):
        return [_FIRST_SSD_STRIDE * 2**layer for layer in range(int(extractor.num_layers))]
    if not is_ssd and name.endswith("_keras"):
        return [int(extractor.first_stage_features_stride)]
    raise ConfigError(
        f"the feature maps of '{name}' are not known",
        expected="an SSD or Faster R-CNN extractor of the OD API for TF2",
        mend="see the feature_extractor of a file in pipelines/",
        where=pipeline.path,
    )


def _pyramid(levels: tuple[int, int]) -> list[int]:
    return [2**level for level in range(levels[0], levels[1] + 1)]


def _multiple(pipeline: Pipeline, extractor: Any) -> int:
    """To what the extractor pads its input, inside the network."""
    if pipeline.meta_architecture == "ssd":
        return max(int(extractor.pad_to_multiple), 1)
    return _FASTER_RCNN_PYRAMID_MULTIPLE if "_fpn_" in str(extractor.type) else 1


@dataclass(frozen=True)
class AnchorDesign:
    """How a pipeline makes anchors.

    Attributes:
        pipeline: an SSD or a Faster R-CNN.
        kind: the generator, such as `multiscale_anchor_generator`.
        message: its settings.
        resizer: decides the size of inputs.
        border: what becomes of anchors that leave the input.
    """

    pipeline: Pipeline
    kind: str
    message: Any
    resizer: Resizer
    border: Border

    def anchors(self, height: int, width: int) -> AnchorSet:
        """Gives the anchors of an input of `height` x `width` pixels, padding included.

        Raises:
            ConfigError: as many levels of anchors as feature maps are needed, and are not there.
        """
        maps = feature_map_shapes(self.pipeline, height, width)
        count, make = _MAKERS[self.kind]
        if count(self.message) != len(maps):
            raise ConfigError(
                f"anchors for {count(self.message)} feature maps, and the extractor gives "
                f"{len(maps)}",
                expected="as many of the one as of the other",
                mend="set the levels of the anchor generator and of the feature extractor alike",
                where=self.pipeline.path,
            )
        return AnchorSet(height, width, tuple(make(self, maps, height, width)), self.border)


def anchor_design(pipeline: Pipeline) -> AnchorDesign:
    """Gives the design of a pipeline's anchors, those of the first stage in Faster R-CNN.

    Raises:
        ConfigError: a model without anchors, or anchors that the OD API refuses.
    """
    kind = pipeline.meta_architecture
    if kind not in _FIELDS:
        raise ConfigError(
            f"a {kind} has no anchors"
            + (": it learns the centres of objects as peaks" if kind == "center_net" else ""),
            expected="an ssd or a faster_rcnn model",
            where=pipeline.path,
        )
    message: Any = getattr(pipeline.model, _FIELDS[kind])
    generator = str(message.WhichOneof("anchor_generator_oneof") or "")
    chosen: Any = getattr(message, generator, None)
    refusal = _refusal(kind, generator, chosen)
    if refusal:
        raise ConfigError(
            refusal, expected=f"an anchor generator that {_ONE[kind]} takes", where=pipeline.path
        )
    border = Border.KEPT
    if kind == "faster_rcnn":
        clips = pipeline.proto.model.faster_rcnn.clip_anchors_to_image
        border = Border.CLIPPED if clips else Border.DROPPED
    return AnchorDesign(pipeline, generator, chosen, read_resizer(pipeline), border)


def _refusal(meta_architecture: str, generator: str, message: Any) -> str:
    if not generator:
        return "the model has no anchor generator"
    normalized = bool(getattr(message, "normalize_coordinates", generator[:3] == "ssd"))
    if meta_architecture == "ssd" and generator == "grid_anchor_generator":
        return "an SSD with a grid_anchor_generator, which knows one feature map in pixels"
    if meta_architecture == "ssd" and not normalized:
        return "anchors in pixels (normalize_coordinates: false), and an SSD's boxes are shares"
    if meta_architecture == "faster_rcnn" and normalized:
        return "anchors as shares of the input, and those of a Faster R-CNN are in pixels"
    return ""


def _level(
    grid: tuple[int, int],
    stride: tuple[float, float],
    offset: tuple[float, float],
    shapes: Sequence[tuple[float, float]],
    base: tuple[float, float],
) -> AnchorLevel:
    """Makes a level of (scale, aspect ratio) pairs, as tile_anchors does."""
    scales, ratios = np.array(shapes, np.float64).reshape(-1, 2).T
    return AnchorLevel(
        grid,
        stride,
        offset,
        heights=scales / np.sqrt(ratios) * base[0],
        widths=scales * np.sqrt(ratios) * base[1],
    )


def _grid(
    design: AnchorDesign, maps: Sequence[tuple[int, int]], height: int, width: int
) -> list[AnchorLevel]:
    message = design.message
    # The ratios are the outer loop: ops.meshgrid(scales, aspect_ratios).
    shapes = [(s, r) for r, s in itertools.product(message.aspect_ratios, message.scales)]
    return [
        _level(
            maps[0],
            (float(message.height_stride), float(message.width_stride)),
            (float(message.height_offset), float(message.width_offset)),
            shapes,
            (float(message.height), float(message.width)),
        )
    ]


def _multiscale(
    design: AnchorDesign, maps: Sequence[tuple[int, int]], height: int, width: int
) -> list[AnchorLevel]:
    message = design.message
    octave = int(message.scales_per_octave)
    scales = [2.0 ** (step / octave) for step in range(octave)]
    shapes = [(s, r) for r, s in itertools.product(message.aspect_ratios, scales)]
    # Only an SSD of fixed size tells the generator how large its input is.
    known = design.pipeline.meta_architecture == "ssd" and design.resizer.fixed_size is not None
    levels = []
    for number, grid in enumerate(maps, start=message.min_level):
        stride = 2.0**number
        y, x = (0.0 if known and side % stride else stride / 2 for side in (height, width))
        side = stride * message.anchor_scale
        levels.append(_level(grid, (stride, stride), (y, x), shapes, (side, side)))
    return levels


def _ssd(
    design: AnchorDesign, maps: Sequence[tuple[int, int]], height: int, width: int
) -> list[AnchorLevel]:
    message = design.message
    shorter = min(height, width)
    base = (shorter * float(message.base_anchor_height), shorter * float(message.base_anchor_width))
    levels = []
    for index, (grid, shapes) in enumerate(zip(maps, _ssd_shapes(message), strict=True)):
        stride = (height / grid[0], width / grid[1])
        if len(message.height_stride):
            stride = (float(message.height_stride[index]), float(message.width_stride[index]))
        offset = (stride[0] / 2, stride[1] / 2)
        if len(message.height_offset):
            offset = (float(message.height_offset[index]), float(message.width_offset[index]))
        levels.append(_level(grid, stride, offset, shapes, base))
    return levels


def _ssd_shapes(message: Any) -> list[list[tuple[float, float]]]:
    """Gives the (scale, aspect ratio) pairs of each layer, as create_ssd_anchors does."""
    layers = int(message.num_layers)
    scales = [float(scale) for scale in message.scales]
    if not scales:
        low, high = float(message.min_scale), float(message.max_scale)
        scales = [low + (high - low) * i / max(layers - 1, 1) for i in range(layers)]
    shapes: list[list[tuple[float, float]]] = []
    for scale, larger in zip(scales[:layers], [*scales[1:], 1.0], strict=False):
        if not shapes and message.reduce_boxes_in_lowest_layer:
            shapes.append([(_REDUCED_SCALE, 1.0), (scale, 2.0), (scale, 0.5)])
            continue
        layer = [(scale, float(ratio)) for ratio in message.aspect_ratios]
        if message.interpolated_scale_aspect_ratio > 0:
            between = math.sqrt(scale * larger)
            layer.append((between, float(message.interpolated_scale_aspect_ratio)))
        shapes.append(layer)
    return shapes


def _flexible(
    design: AnchorDesign, maps: Sequence[tuple[int, int]], height: int, width: int
) -> list[AnchorLevel]:
    return [
        _level(
            grid,
            (float(one.height_stride), float(one.width_stride)),
            (float(one.height_offset), float(one.width_offset)),
            list(zip(one.base_sizes, one.aspect_ratios, strict=True)),
            (1.0, 1.0),
        )
        for grid, one in zip(maps, design.message.anchor_grid, strict=True)
    ]


_Maker = Callable[[AnchorDesign, Sequence[tuple[int, int]], int, int], list[AnchorLevel]]
_MAKERS: dict[str, tuple[Callable[[Any], int], _Maker]] = {
    "grid_anchor_generator": (lambda message: 1, _grid),
    "multiscale_anchor_generator": (
        lambda message: int(message.max_level) - int(message.min_level) + 1,
        _multiscale,
    ),
    "ssd_anchor_generator": (lambda message: len(_ssd_shapes(message)), _ssd),
    "flexible_grid_anchor_generator": (lambda message: len(message.anchor_grid), _flexible),
}
"""How many feature maps each generator makes anchors for, and what makes them."""
