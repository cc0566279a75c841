"""Anchors as numbers: by hand where a hand can, and every anchor tried where it cannot.

That they are those of the networks themselves is in tests/training/test_network_anchors.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline import Pipeline, load_pipeline, parse_pipeline
from odapi_repro.pipeline.anchors import (
    AnchorSet,
    Border,
    Matcher,
    anchor_design,
    best_anchors,
    read_matcher,
    read_resizer,
)

_SSD = """
model { ssd {
  image_resizer { fixed_shape_resizer { height: 300 width: 300 } }
  feature_extractor { type: "ssd_mobilenet_v2_keras" }
  anchor_generator { ssd_anchor_generator {
    num_layers: 6 min_scale: 0.2 max_scale: 0.95 aspect_ratios: [1.0, 2.0, 0.5]
  } }
  matcher { argmax_matcher { matched_threshold: 0.5 unmatched_threshold: 0.4 } }
} }
"""
_RPN = """
model { faster_rcnn {
  image_resizer { fixed_shape_resizer { height: 160 width: 224 } }
  feature_extractor { type: "faster_rcnn_resnet50_keras" }
  first_stage_anchor_generator { grid_anchor_generator {
    scales: [0.25, 0.5] aspect_ratios: [0.5, 1.0, 2.0] height_stride: 16 width_stride: 16
  } }
} }
"""
_FLEXIBLE = """
model { ssd {
  image_resizer { fixed_shape_resizer { height: 64 width: 64 } }
  feature_extractor { type: "ssd_mobilenet_v2_keras" num_layers: 1 }
  anchor_generator { flexible_grid_anchor_generator { anchor_grid {
    base_sizes: [20, 40] aspect_ratios: [1.0, 4.0]
    height_stride: 16 width_stride: 16 height_offset: 8 width_offset: 8
  } } }
} }
"""


def _boxes(height: int, width: int, count: int, seed: int = 0) -> NDArray[np.float64]:
    """Boxes of all sizes, some of which leave the input."""
    rng = np.random.default_rng(seed)
    centre = rng.random((count, 2)) * (height, width)
    half = np.exp(rng.uniform(1, np.log(max(height, width)), (count, 2))) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _by_trying_all(anchors: AnchorSet, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    every = anchors.corners()
    low = np.maximum(boxes[:, None, :2], every[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], every[None, :, 2:])
    overlap = np.maximum(high - low, 0).prod(axis=2)
    areas = [(one[:, 2:] - one[:, :2]).prod(axis=1) for one in (boxes, every)]
    best: NDArray[np.float64] = (overlap / (areas[0][:, None] + areas[1] - overlap)).max(axis=1)
    return best


def _clipped(text: str) -> Pipeline:
    return parse_pipeline(
        text.replace("faster_rcnn {", "faster_rcnn { clip_anchors_to_image: true", 1)
    )


def test_the_first_anchors_of_efficientdet_d0_are_those_of_the_paper(repository: Path) -> None:
    design = anchor_design(load_pipeline(repository / "pipelines" / "effdet_d0.config"))
    anchors = design.anchors(512, 512)
    assert [level.grid for level in anchors.levels] == [
        (64, 64),
        (32, 32),
        (16, 16),
        (8, 8),
        (4, 4),
    ]
    # Scale 4 times stride 8, around the middle of the first cell; then a third of an octave more.
    corners = anchors.corners()
    np.testing.assert_allclose(corners[0], [4 - 16, 4 - 16, 4 + 16, 4 + 16])
    np.testing.assert_allclose(np.diff(corners[1, [0, 2]]), 32 * 2 ** (1 / 3))
    assert len(corners) == 9 * (64**2 + 32**2 + 16**2 + 8**2 + 4**2)
    assert anchors.border is Border.KEPT


def test_ssd_anchors_are_those_of_its_paper() -> None:
    anchors = anchor_design(parse_pipeline(_SSD)).anchors(300, 300)
    assert [level.grid[0] for level in anchors.levels] == [19, 10, 5, 3, 2, 1]
    # Three boxes in the lowest layer, of which the first has scale 0.1.
    np.testing.assert_allclose(anchors.levels[0].sizes, [30, 60, 60])
    np.testing.assert_allclose(anchors.levels[0].ratios, [1, 2, 0.5])
    # Layer 1 of 6: 0.2 + 0.75 / 5; the last anchor lies between this scale and the next.
    np.testing.assert_allclose(anchors.levels[1].sizes[:3], 300 * 0.35)
    np.testing.assert_allclose(anchors.levels[1].sizes[3], 300 * np.sqrt(0.35 * 0.5))
    assert anchors.levels[0].stride == pytest.approx((300 / 19, 300 / 19))


def test_a_flexible_grid_has_the_shapes_that_it_lists() -> None:
    pipeline = parse_pipeline(_FLEXIBLE)
    (level,) = anchor_design(pipeline).anchors(64, 64).levels
    # A ratio of 4 halves the height and doubles the width.
    np.testing.assert_allclose(level.heights, [20, 20])
    np.testing.assert_allclose(level.widths, [20, 80])
    assert level.grid == (4, 4)
    assert level.offset == (8, 8)


def test_a_first_stage_drops_the_anchors_that_leave_the_input_or_clips_them() -> None:
    dropped = anchor_design(parse_pipeline(_RPN)).anchors(160, 224)
    clipped = anchor_design(_clipped(_RPN)).anchors(160, 224)
    window = np.array([160, 224, 160, 224])
    for anchors in (dropped, clipped):
        assert (anchors.corners() >= 0).all()
        assert (anchors.corners() <= window).all()
    assert len(clipped.corners()) == 10 * 14 * 6
    # Squares of 64 pixels, centres every 16 from 0: inside are rows 32 to 128, columns 32 to 192.
    height, width = (np.diff(dropped.corners()[:, axis::2])[:, 0] for axis in (0, 1))
    assert (np.isclose(height, 64) & np.isclose(width, 64)).sum() == 7 * 11


@pytest.mark.parametrize(
    "pipeline",
    [parse_pipeline(_SSD), parse_pipeline(_RPN), _clipped(_RPN), parse_pipeline(_FLEXIBLE)],
    ids=["kept", "dropped", "clipped", "flexible"],
)
def test_the_best_anchor_is_the_best_of_all(pipeline: Pipeline) -> None:
    design = anchor_design(pipeline)
    height, width = design.resizer.fixed_size or (0, 0)
    anchors = design.anchors(height, width)
    boxes = _boxes(height, width, 300)
    best = best_anchors(anchors, boxes)
    np.testing.assert_allclose(best.iou, _by_trying_all(anchors, boxes), atol=1e-9)
    for index, level in enumerate(anchors.levels):
        of_level = best.level == index
        one = AnchorSet(height, width, (level,), anchors.border)
        np.testing.assert_allclose(best.iou[of_level], _by_trying_all(one, boxes[of_level]))


def test_a_box_that_no_anchor_overlaps_has_none() -> None:
    anchors = anchor_design(parse_pipeline(_RPN)).anchors(160, 224)
    best = best_anchors(anchors, np.array([[5000.0, 5000.0, 5100.0, 5100.0]]))
    assert best.iou.tolist() == [0]
    assert best.level.tolist() == [-1]


def test_a_box_equal_to_an_anchor_overlaps_it_wholly() -> None:
    anchors = anchor_design(parse_pipeline(_SSD)).anchors(300, 300)
    chosen = anchors.corners()[::37]
    np.testing.assert_allclose(best_anchors(anchors, chosen).iou, 1)


def test_thresholds_are_the_configs_in_ssd_and_fixed_in_a_first_stage() -> None:
    assert read_matcher(parse_pipeline(_SSD)) == Matcher(0.5, 0.4, forced=False)
    assert read_matcher(parse_pipeline(_RPN)) == Matcher(0.7, 0.3, forced=True)
    ignoring = parse_pipeline(
        _SSD.replace("argmax_matcher {", "argmax_matcher { ignore_thresholds: true")
    )
    assert read_matcher(ignoring).matched is None


def test_anchors_that_the_od_api_refuses_are_refused(repository: Path) -> None:
    text = (repository / "pipelines" / "effdet_d0.config").read_text(encoding="utf-8")
    pipeline = parse_pipeline(text)

    def fewer(proto: Any) -> None:
        proto.model.ssd.anchor_generator.multiscale_anchor_generator.min_level = 4

    def in_pixels(proto: Any) -> None:
        generator = proto.model.ssd.anchor_generator.multiscale_anchor_generator
        generator.normalize_coordinates = False

    with pytest.raises(ConfigError, match="anchors for 4 feature maps, and the extractor gives 5"):
        anchor_design(pipeline.edited(fewer)).anchors(512, 512)
    with pytest.raises(ConfigError, match="anchors in pixels"):
        anchor_design(pipeline.edited(in_pixels))


def test_a_center_net_has_no_anchors() -> None:
    with pytest.raises(ConfigError, match="a center_net has no anchors"):
        anchor_design(parse_pipeline("model { center_net { } }"))


@pytest.mark.parametrize(
    ("resizer", "image", "resized", "padded"),
    [
        ("fixed_shape_resizer { height: 300 width: 200 }", (480, 640), (300, 200), (300, 200)),
        ("identity_resizer { }", (480, 640), (480, 640), (480, 640)),
        # 896 / 640 is 1.4.
        (
            "keep_aspect_ratio_resizer { min_dimension: 896 max_dimension: 896 "
            "pad_to_max_dimension: true }",
            (480, 640),
            (672, 896),
            (896, 896),
        ),
        # The shorter side would be 600 at 800 for the longer.
        (
            "keep_aspect_ratio_resizer { min_dimension: 600 max_dimension: 1024 }",
            (480, 640),
            (600, 800),
            (600, 800),
        ),
        # ... and here the longer side stops it: 1024 / 1280 is 0.8.
        (
            "keep_aspect_ratio_resizer { min_dimension: 600 max_dimension: 1024 }",
            (1280, 400),
            (1024, 320),
            (1024, 320),
        ),
        (
            "conditional_shape_resizer { condition: GREATER size_threshold: 320 }",
            (480, 640),
            (240, 320),
            (240, 320),
        ),
        (
            "conditional_shape_resizer { condition: SMALLER size_threshold: 320 }",
            (480, 640),
            (480, 640),
            (480, 640),
        ),
    ],
)
def test_an_image_is_resized_as_the_config_says(
    resizer: str, image: tuple[int, int], resized: tuple[int, int], padded: tuple[int, int]
) -> None:
    pipeline = parse_pipeline(f"model {{ ssd {{ image_resizer {{ {resizer} }} }} }}")
    sizes = read_resizer(pipeline).sizes(np.array([image[0]]), np.array([image[1]]))
    assert (int(sizes.height[0]), int(sizes.width[0])) == resized
    assert (int(sizes.padded_height[0]), int(sizes.padded_width[0])) == padded
