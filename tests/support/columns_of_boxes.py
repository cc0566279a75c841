"""Splits of boxes without pictures, as columns: for what boxes alone decide."""

from __future__ import annotations

import numpy as np

from odapi_repro.datasets.census import (
    MASK_NONE,
    NO_NAME,
    BoxColumns,
    ImageColumns,
    SplitCensus,
)
from odapi_repro.datasets.record_files import Inventory

COCO_SIZES = ((480, 640), (640, 480), (427, 640), (640, 427), (375, 500), (500, 333), (640, 640))
# Of a box's side (the square root of its area) in sides of the image: median, and the spread that
# leaves 10 % below 0.024 and above 0.472 (Singh and Davis 2018, arXiv 1711.08189, section 1).
_MEDIAN, _SPREAD = 0.106, 1.16


def split_of(sizes: np.ndarray, image: np.ndarray, corners: np.ndarray) -> SplitCensus:
    """A split of images without pixels, whose boxes are shares."""
    count, boxes = len(sizes), len(image)
    texts = np.array([str(i) for i in range(count)], object)
    return SplitCensus(
        split="train",
        inventory=Inventory(()),
        files=(),
        images=ImageColumns(
            source_id=texts,
            filename=texts,
            file=np.zeros(count, np.int32),
            recorded_size=sizes.astype(np.int32),
            decoded_size=sizes.astype(np.int32),
            orientation=np.ones(count, np.uint8),
            num_boxes=np.bincount(image, minlength=count).astype(np.int32),
            keypoints=np.zeros(count, np.int32),
            visibilities=np.zeros(count, np.int32),
            keypoint_most=np.full(count, np.nan, np.float32),
            digest=np.zeros((count, 2), np.uint64),
            thumbnail=np.zeros((count, 16, 16, 3), np.uint8),
        ),
        boxes=BoxColumns(
            image=image,
            corners=corners.astype(np.float32),
            label=np.ones(boxes, np.int64),
            name=np.full(boxes, NO_NAME, np.int32),
            crowd=np.zeros(boxes, np.bool_),
            area=np.full(boxes, np.nan, np.float32),
            mask_state=np.full(boxes, MASK_NONE, np.uint8),
            mask_box=np.zeros((boxes, 4), np.int32),
            mask_pixels=np.zeros(boxes, np.int32),
        ),
        vocabulary=(),
        faults={},
    )


def coco_like(*, seed: int, images: int = 800) -> SplitCensus:
    """Boxes as large as COCO's, and as elongated: a third of them 2 to 1 or more."""
    rng = np.random.default_rng(seed)
    size = np.array(COCO_SIZES)[rng.integers(len(COCO_SIZES), size=images)]
    image = np.sort(rng.integers(images, size=7 * images))
    of = size[image].astype(float)
    side = np.exp(rng.normal(np.log(_MEDIAN), _SPREAD, len(image))) * np.sqrt(of.prod(axis=1))
    ratio = np.exp(rng.normal(0, 0.7, len(image)))
    sides = np.clip(np.stack([side / np.sqrt(ratio), side * np.sqrt(ratio)], axis=1), 1, of) / of
    first = rng.uniform(0, 1, sides.shape) * (1 - sides)
    return split_of(size, image, np.concatenate([first, first + sides], axis=1))
