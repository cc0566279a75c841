"""From the mask of a box to the run lengths of the whole image, without ever making that image.

The OD API resizes every mask to its whole image and thresholds there
(`eval_util._resize_detection_masks`, `ops.reframe_box_masks_to_image_masks`): for a hundred masks
of 640x480 px 120 MB of floats, nearly all zero. Outside of its box a mask is zero, so only the
pixels inside are computed, by the arithmetic of TensorFlow's CropAndResize in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Boxes are divided by their size (`ops.reframe_image_corners_relative_to_boxes`).
_LEAST_SIDE = np.float32(1e-4)
_THRESHOLD = np.float32(0.5)


def paste_masks(
    masks: NDArray[Any], boxes: NDArray[np.float32], height: int, width: int
) -> list[dict[str, Any]]:
    """Gives each mask as COCO's compressed RLE of the whole image.

    Args:
        masks: [N, h, w] relative to the boxes; float32 probabilities, a pixel counts above 0.5, or
            uint8, resized by nearest neighbour.
        boxes: float32 [N, 4], ymin xmin ymax xmax, as shares of the image.
        height, width: of the image in pixels.
    """
    return [
        _compressed(transitions, height, width)
        for transitions in _all_transitions(masks, boxes, height, width)
    ]


def _all_transitions(
    masks: NDArray[Any], boxes: NDArray[np.float32], height: int, width: int
) -> Iterator[NDArray[np.int64]]:
    """Gives for each mask the places in column order where it changes, beginning from 0."""
    ymin, xmin, ymax, xmax = np.asarray(boxes, np.float32).reshape(-1, 4).T
    rows = _samples(ymin, ymax, masks.shape[1], height)
    columns = _samples(xmin, xmax, masks.shape[2], width)
    for index, mask in enumerate(masks):
        first_row, end_row = _inside(rows[index], masks.shape[1])
        first_column, end_column = _inside(columns[index], masks.shape[2])
        if first_row >= end_row or first_column >= end_column:
            yield np.zeros(0, np.int64)
            continue
        region = _region(
            mask, rows[index, first_row:end_row], columns[index, first_column:end_column]
        )
        whole = np.zeros((end_column - first_column, height), np.bool_)
        whole[:, first_row:end_row] = region.T
        yield _transitions(whole.reshape(-1)) + first_column * height


def _samples(
    low: NDArray[np.float32], high: NDArray[np.float32], mask_size: int, size: int
) -> NDArray[np.float32]:
    """Gives where in the mask each pixel of an axis of the image lies: float32 [N, size].

    As crop_and_resize_op.cc computes `in_y` and `in_x` in float32.
    """
    side = np.maximum(high - low, _LEAST_SIDE)
    begin = (np.float32(0) - low) / side
    end = (np.float32(1) - low) / side
    last = np.float32(mask_size - 1)
    if size == 1:
        middle: NDArray[np.float32] = np.float32(0.5) * (begin + end) * last
        return middle[:, None]
    step = (end - begin) * last / np.float32(size - 1)
    pixels = np.arange(size, dtype=np.float32)
    samples: NDArray[np.float32] = (begin * last)[:, None] + pixels * step[:, None]
    return samples


def _inside(samples: NDArray[np.float32], mask_size: int) -> tuple[int, int]:
    """Gives the first sample inside the mask and the end of those; samples never fall."""
    first = int(np.searchsorted(samples, 0.0, "left"))
    end = int(np.searchsorted(samples, mask_size - 1, "right"))
    return first, end


def _region(
    mask: NDArray[Any], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Gives the thresholded mask at all pairs of samples."""
    if mask.dtype == np.uint8:
        # roundf rounds halves away from zero; samples are not negative.
        nearest = [np.floor(s + np.float32(0.5)).astype(np.intp) for s in (rows, columns)]
        return np.asarray(mask[nearest[0][:, None], nearest[1]] > 0)
    left = np.floor(columns)
    first, last = left.astype(np.intp), np.ceil(columns).astype(np.intp)
    # Every row of the mask at the columns, then between rows: CropAndResize's order.
    across = mask[:, first] + (mask[:, last] - mask[:, first]) * (columns - left)
    top = np.floor(rows)
    above = across[top.astype(np.intp)]
    below = across[np.ceil(rows).astype(np.intp)]
    below -= above
    below *= (rows - top)[:, None]
    below += above
    return np.asarray(below > _THRESHOLD)


def _transitions(flat: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Gives the places where a row of pixels changes, with False before and after it."""
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begin = [0] if flat[0] else []
    end = [len(flat)] if flat[-1] else []
    return np.concatenate([begin, changes, end]).astype(np.int64)


def _compressed(transitions: NDArray[np.int64], height: int, width: int) -> dict[str, Any]:
    from pycocotools import mask as mask_api

    places = transitions.tolist()
    if not places or places[-1] < height * width:
        places.append(height * width)
    counts = [b - a for a, b in zip([0, *places], places, strict=False)]
    rle = mask_api.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}
