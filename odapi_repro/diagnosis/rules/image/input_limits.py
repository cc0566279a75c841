"""Which input sizes a feature extractor can take, and which feature maps must meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from odapi_repro.pipeline import Pipeline, descend


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
