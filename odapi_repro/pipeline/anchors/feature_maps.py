"""Rows and columns of the feature maps that a pipeline's extractor gives for an input.

Source: models/ssd_*_keras_feature_extractor, ssd_efficientnet_bifpn_feature_extractor and
faster_rcnn_*_keras_feature_extractor; the tests compare with the networks themselves.
"""

from __future__ import annotations

from typing import Any

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.fields import descend
from odapi_repro.pipeline.parse import Pipeline

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
