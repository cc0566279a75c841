"""The size that an image has when the network gets it: resized, then padded.

Source: builders/image_resizer_builder, core/preprocessor.resize_to_range and
resize_to_min/max_dimension, utils/config_util.get_spatial_image_size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.parse import Pipeline

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
