"""Objects at the network's input, and what a pipeline's anchors reach of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from odapi_repro.datasets.anchor_fit import fit_anchors, objects_at_input
from odapi_repro.datasets.object_table import ObjectTable
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.pipeline.anchors import Matcher, anchor_design, best_anchors, read_resizer


@pytest.fixture(scope="module")
def effdet(repository: Path) -> Pipeline:
    return load_pipeline(repository / "pipelines" / "effdet_d0.config")


def _table(boxes: list[list[float]], sizes: list[tuple[int, int]], image: list[int]) -> ObjectTable:
    return ObjectTable(
        image_heights=np.array([height for height, _ in sizes]),
        image_widths=np.array([width for _, width in sizes]),
        image_index=np.array(image),
        boxes=np.array(boxes, np.float32),
        class_ids=np.ones(len(boxes), np.int64),
        is_crowd=np.zeros(len(boxes), np.bool_),
    )


def test_padding_does_not_stretch_boxes_and_a_fixed_shape_does(
    effdet: Pipeline, repository: Path
) -> None:
    table = _table([[0.0, 0.0, 0.5, 0.5]], [(100, 200)], [0])
    padded = objects_at_input(table, read_resizer(effdet))
    # 200 becomes 512, and 100 becomes 256 of a height of 512.
    np.testing.assert_allclose(padded.boxes, [[0, 0, 128, 256]])
    assert padded.sizes.tolist() == [[512, 512]]
    assert padded.ratios.tolist() == [2.0]
    mask_rcnn = load_pipeline(repository / "pipelines" / "mask_rcnn.config")
    stretched = objects_at_input(table, read_resizer(mask_rcnn))
    np.testing.assert_allclose(stretched.boxes, [[0, 0, 512, 512]])
    assert objects_at_input(table, None).boxes.tolist() == [[0, 0, 50, 100]]


def test_boxes_without_area_are_counted_and_left_out() -> None:
    table = _table(
        [[0, 0, 1, 1], [0.5, 0, 0.5, 1], [0.9, 0, 0.1, 1], [0, 0, float("nan"), 1]],
        [(10, 10)],
        [0, 0, 0, 0],
    )
    objects = objects_at_input(table, None)
    assert len(objects.boxes) == 1
    assert objects.num_without_area == 3


def test_every_object_meets_the_anchors_of_its_own_input(repository: Path) -> None:
    def not_padded(proto: object) -> None:
        model = proto.model.faster_rcnn  # type: ignore[attr-defined]
        resizer = model.image_resizer.keep_aspect_ratio_resizer
        resizer.min_dimension, resizer.max_dimension = 256, 512

    pipeline = load_pipeline(repository / "pipelines" / "mask_rcnn.config").edited(not_padded)
    design = anchor_design(pipeline)
    table = _table(
        [[0.1, 0.1, 0.6, 0.4], [0.2, 0.3, 0.9, 0.8], [0.1, 0.1, 0.6, 0.4]],
        [(100, 200), (300, 300)],
        [0, 1, 1],
    )
    objects = objects_at_input(table, design.resizer)
    assert objects.sizes.tolist() == [[256, 512], [256, 256], [256, 256]]
    fit = fit_anchors(objects, design, Matcher(0.7, 0.3, forced=True))
    for size, box, iou in zip(objects.sizes.tolist(), objects.boxes, fit.iou, strict=True):
        assert best_anchors(design.anchors(*size), box[None]).iou[0] == iou
    assert (fit.anchors.height, fit.anchors.width) == (256, 256)


def test_what_no_anchor_reaches_is_told_by_the_two_thresholds(effdet: Pipeline) -> None:
    # The first is an anchor, the second five times as wide as high, the third a hair.
    anchors = anchor_design(effdet).anchors(512, 512)
    middle = anchors.levels[1].corners()[16 * 32 * 9]
    boxes = [(middle / 512).tolist(), [0.5, 0.2, 0.6, 0.7], [0.5, 0.1, 0.502, 0.9]]
    objects = objects_at_input(_table(boxes, [(512, 512)], [0, 0, 0]), read_resizer(effdet))
    fit = fit_anchors(objects, anchor_design(effdet), Matcher(0.6, 0.2, forced=True))
    assert fit.iou[0] == pytest.approx(1, abs=1e-4)
    assert fit.is_below_matched.tolist() == [False, True, True]
    assert fit.is_below_unmatched.tolist() == [False, False, True]


def test_a_sample_is_the_seeds_and_a_part_of_all(effdet: Pipeline) -> None:
    rng = np.random.default_rng(0)
    low = rng.random((500, 2)) * 0.5
    boxes = np.concatenate([low, low + 0.05 + rng.random((500, 2)) * 0.4], axis=1)
    table = _table(boxes.tolist(), [(100, 100)], [0] * 500)
    objects = objects_at_input(table, read_resizer(effdet))
    matcher = Matcher(0.5, 0.5, forced=True)
    every = fit_anchors(objects, anchor_design(effdet), matcher)
    part = fit_anchors(objects, anchor_design(effdet), matcher, limit=50, seed=1)
    assert len(part.index) == 50
    np.testing.assert_array_equal(part.iou, every.iou[part.index])
    again = fit_anchors(objects, anchor_design(effdet), matcher, limit=50, seed=1)
    np.testing.assert_array_equal(again.index, part.index)
