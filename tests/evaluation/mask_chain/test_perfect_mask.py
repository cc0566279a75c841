"""What a mask head's grid leaves of a mask, by hand and against the OD API's own two resizings."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from pycocotools import mask as mask_api

from odapi_repro.evaluation.mask_chain.recall_chain import perfect_mask_ious

# Of 5 x 5 pixels the places are 0, 1/4 ... 1: a grid of 3 sees every second row and column.
WHOLE = (0.0, 0.0, 5.0, 5.0)


def rle(mask: np.ndarray) -> dict:
    return mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))


def columns(*filled: int) -> np.ndarray:
    mask = np.zeros((5, 5), np.uint8)
    mask[:, list(filled)] = 1
    return mask


def left_over(mask: np.ndarray, *boxes: tuple[float, ...], size: tuple[int, int]) -> list[float]:
    found: list[float] = perfect_mask_ious(rle(mask), np.array(boxes, float), size).tolist()
    return found


@pytest.mark.parametrize(
    ("filled", "expected"),
    [
        # Grid values 0 1 0; back at the pixels 0, 1/2, 1, 1/2, 0: only what is above 1/2 is in.
        ((2,), 1.0),
        # Between the places that the grid looks at, so it is not seen at all.
        ((1,), 0.0),
        # Again 0 1 0: one column of three is left.
        ((1, 2, 3), 1 / 3),
        # Grid values 1 1 0; back at 1, 1, 1, 1/2, 0.
        ((0, 1, 2), 1.0),
        # Grid values 1 0 0; back at 1, 1/2, 0, 0, 0.
        ((0, 1), 1 / 2),
        ((0, 1, 2, 3, 4), 1.0),
    ],
)
def test_a_grid_of_three_keeps_of_five_columns_what_can_be_worked_out_by_hand(
    filled: tuple[int, ...], expected: float
) -> None:
    mask = columns(*filled)
    assert left_over(mask, WHOLE, size=(3, 3)) == pytest.approx([expected])
    assert left_over(mask.T, WHOLE, size=(3, 3)) == pytest.approx([expected])


def test_a_grid_as_fine_as_the_box_keeps_every_mask() -> None:
    masks = np.random.default_rng(0).integers(0, 2, (20, 5, 5))
    masks[:, 0, 0] = 1
    for mask in masks:
        assert left_over(mask, WHOLE, size=(5, 5)) == [1.0]


def test_outside_of_the_box_a_mask_head_draws_nothing() -> None:
    # The left half ends at place 1/2, the third of five columns.
    full = columns(0, 1, 2, 3, 4)
    assert left_over(full, WHOLE, (0, 0, 2.5, 5), size=(3, 3)) == pytest.approx([1.0, 3 / 5])


def test_a_box_beyond_the_image_or_without_size_is_no_error() -> None:
    full = columns(0, 1, 2, 3, 4)
    beyond, empty = left_over(full, (-20, -20, 10, 10), (2, 2, 0, 0), size=(3, 3))
    assert beyond == 0.0
    assert 0.0 <= empty <= 1 / 25
    assert left_over(np.zeros((5, 5)), WHOLE, size=(3, 3)) == [0.0]


_ODAPI = """
import json, sys
import numpy as np
from odapi_repro.training.compat import apply_patches
apply_patches()
import tensorflow as tf
from object_detection.utils import ops

given = json.load(sys.stdin)
masks = np.array(given["masks"], np.float32)
boxes = np.array(given["boxes"], np.float32)
height, width = masks.shape[1:]
shares = np.stack(
    [
        boxes[:, 1] / height,
        boxes[:, 0] / width,
        (boxes[:, 1] + boxes[:, 3]) / height,
        (boxes[:, 0] + boxes[:, 2]) / width,
    ],
    axis=1,
)
target = tf.image.crop_and_resize(
    masks[..., None], shares, tf.range(len(masks)), given["size"]
)[..., 0]
pasted = ops.reframe_box_masks_to_image_masks(target, shares, height, width).numpy() > 0.5
common = (pasted & (masks > 0)).sum(axis=(1, 2))
union = (pasted | (masks > 0)).sum(axis=(1, 2))
print(json.dumps((common / union).tolist()))
"""


@pytest.mark.tensorflow
def test_it_is_what_the_od_api_crops_as_target_and_pastes_back() -> None:
    generator = np.random.default_rng(1)
    y, x = np.mgrid[:60, :80]
    masks, boxes = [], []
    for _ in range(20):
        low, high = generator.uniform(10, 30, 2), generator.uniform(8, 28, 2)
        disc = ((y - low[0] - 10) / high[0]) ** 2 + ((x - low[1] - 15) / high[1]) ** 2 < 1
        masks.append((disc & (generator.uniform(size=disc.shape) < 0.9)).astype(int))
        own = mask_api.toBbox(rle(masks[-1])) + generator.uniform(-3, 3, 4)
        boxes.append(np.maximum(own, (-5, -5, 4, 4)).tolist())
    given = {"masks": [mask.tolist() for mask in masks], "boxes": boxes, "size": [15, 11]}
    theirs = subprocess.run(
        [sys.executable, "-c", _ODAPI],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert theirs.returncode == 0, theirs.stderr[-3000:]
    expected = json.loads(theirs.stdout.strip().splitlines()[-1])
    ours = [left_over(m, b, size=(15, 11))[0] for m, b in zip(masks, boxes, strict=True)]
    # A pixel may fall on the other side of 0.5 by the order of two sums.
    assert ours == pytest.approx(expected, abs=0.01)
    assert np.median(np.abs(np.array(ours) - expected)) < 1e-12
