"""What a mask head without error would give in a box: its own training target, pasted back.

The head gives `mask_height` x `mask_width` values a box. It is taught the ground-truth mask cropped
to the box and resized to that grid; what it gives is stretched over the box again and cut at 0.5.
So the IoU of the target, pasted back, with the mask it was made from is what the grid (and, in a
box that does not fit, the box) leaves of it, and the rest is the head's own error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.inference.mask_paste import paste_masks


def perfect_mask_ious(
    mask: Mapping[str, Any], boxes: NDArray[np.float64], mask_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Gives the IoU of a mask with itself, taken through a mask head's grid in each of some boxes.

    Args:
        mask: compressed run lengths, of the whole image.
        boxes: float64 [N, 4], x y width height in pixels; parts outside the image are allowed.
        mask_size: height and width of the grid.

    Returns:
        float64 [N]; 0 for an empty mask.

    Source: faster_rcnn_meta_arch, `_loss_box_classifier` crops the target with
    `tf.image.crop_and_resize`; the way back is `paste_masks`. The target is taken at the mask's
    own size here, as if the network's input had the size of the image.
    """
    from pycocotools import mask as mask_api

    height, width = mask["size"]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    shares = corners[:, [1, 0, 3, 2]] / np.array([height, width, height, width])
    shares = shares.astype(np.float32)
    pixels = mask_api.decode(mask)
    targets = np.stack([_target(pixels, box, mask_size) for box in shares])
    pasted = paste_masks(targets, shares, height, width)
    # maskApi.c gives NaN, or -1, for two empty masks.
    overlaps = np.nan_to_num(np.asarray(mask_api.iou(pasted, [mask], [0])[:, 0], np.float64))
    return np.maximum(overlaps, 0.0)


def _target(
    mask: NDArray[np.uint8], box: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Gives `tf.image.crop_and_resize` of a mask, bilinear, 0 outside of the image."""
    rows, columns = (
        _places(box[axis], box[axis + 2], size[axis], mask.shape[axis]) for axis in (0, 1)
    )
    inside = np.logical_and.outer(
        (rows >= 0) & (rows <= mask.shape[0] - 1), (columns >= 0) & (columns <= mask.shape[1] - 1)
    )
    rows, columns = (
        np.clip(places, np.float32(0), np.float32(side - 1))
        for places, side in zip((rows, columns), mask.shape, strict=True)
    )
    top, left = np.floor(rows), np.floor(columns)
    corners = [
        mask[np.ix_(row.astype(np.intp), column.astype(np.intp))].astype(np.float32)
        for row in (top, np.ceil(rows))
        for column in (left, np.ceil(columns))
    ]
    above = corners[0] + (corners[1] - corners[0]) * (columns - left)
    below = corners[2] + (corners[3] - corners[2]) * (columns - left)
    between = above + (below - above) * (rows - top)[:, None]
    return np.where(inside, between, np.float32(0))


def _places(low: np.float32, high: np.float32, count: int, side: int) -> NDArray[np.float32]:
    """Gives where on an axis of `side` pixels the samples lie, as crop_and_resize_op.cc does."""
    last = np.float32(side - 1)
    if count == 1:
        return np.array([np.float32(0.5) * (low + high) * last])
    step = (high - low) * last / np.float32(count - 1)
    return low * last + np.arange(count, dtype=np.float32) * step
