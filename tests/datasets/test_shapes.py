"""The scenes: what a box, an area and a mask stand for, and that seeds decide everything."""

from __future__ import annotations

import numpy as np
import pytest

from odapi_repro.datasets.shapes import MIN_VISIBLE_PIXELS, draw_scene, outline
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP, ShapesSpec

_SPEC = ShapesSpec()


@pytest.mark.parametrize("class_id", SHAPES_LABEL_MAP.items)
def test_an_outline_covers_its_nominal_area(class_id: int) -> None:
    import cv2

    mask = np.zeros((3200, 3200), np.uint8)
    contours = [np.round(points * 1000 + 1600).astype(np.int32) for points in outline(class_id)]
    cv2.fillPoly(mask, contours, 1)
    assert int(mask.sum()) == pytest.approx(1000**2, rel=0.01)


def test_a_scene_depends_on_seed_split_and_index_alone() -> None:
    first = draw_scene(_SPEC, "train", 5)
    again = draw_scene(ShapesSpec(train_images=3), "train", 5)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.class_ids == again.class_ids
    others = [
        draw_scene(_SPEC, "val", 5),
        draw_scene(_SPEC, "train", 6),
        draw_scene(ShapesSpec(seed=1), "train", 5),
    ]
    assert all(not np.array_equal(first.image, other.image) for other in others)
    assert first.image_id != others[0].image_id


def test_masks_are_disjoint_and_boxes_tight() -> None:
    for index in range(30):
        scene = draw_scene(_SPEC, "train", index)
        if not scene.masks:
            continue
        assert np.sum(scene.masks, axis=0).max() == 1
        for mask, (ymin, xmin, ymax, xmax) in zip(scene.masks, scene.boxes(), strict=True):
            assert mask.sum() >= MIN_VISIBLE_PIXELS
            assert mask.sum() == mask[ymin:ymax, xmin:xmax].sum()
            assert mask[ymin].any()
            assert mask[ymax - 1].any()
            assert mask[:, xmin].any()
            assert mask[:, xmax - 1].any()


def test_proportions_are_those_of_the_spec() -> None:
    scenes = [draw_scene(_SPEC, "train", index) for index in range(100)]
    areas = np.array(
        [m.sum() for s in scenes for m, crowd in zip(s.masks, s.is_crowd, strict=True) if not crowd]
    )
    small, large = (areas < 32**2).mean(), (areas >= 96**2).mean()
    assert 0.15 < small < 0.35
    assert 0.15 < large < 0.35
    assert {class_id for s in scenes for class_id in s.class_ids} == set(SHAPES_LABEL_MAP.items)
    assert 1 <= sum(any(s.is_crowd) for s in scenes) <= 15
    assert max(len(s.masks) for s in scenes) <= _SPEC.max_objects + 1
    assert len({s.image.shape for s in scenes}) == len(_SPEC.image_sizes)


def test_shares_of_one_give_only_empty_or_only_crowded_images() -> None:
    empty = [draw_scene(ShapesSpec(empty_share=1.0), "train", index) for index in range(3)]
    assert all(not scene.masks for scene in empty)
    crowded = ShapesSpec(crowd_share=1.0, empty_share=0.0, max_objects=1)
    assert sum(any(draw_scene(crowded, "val", index).is_crowd) for index in range(6)) >= 4
