"""The boxes of a json held against its outlines, areas and images, before anything is written."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.box_units import BoxSample, misread_boxes, spread
from odapi_repro.datasets.conversion.coco_index import UNKNOWN, CocoIndex
from odapi_repro.datasets.conversion.outline_bounds import outline_bounds
from odapi_repro.errors import DataError

__all__ = ["check_boxes"]

_MOST_OUTLINES = 1000
_LARGEST = 1e9  # pixels; beyond it is no box of any image


def check_boxes(index: CocoIndex) -> None:
    """Looks whether the boxes are x, y, width, height in pixels.

    Raises:
        DataError: they are something else.
    """
    boxes = index.boxes
    with np.errstate(invalid="ignore"):
        sound = (np.abs(boxes) < _LARGEST).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    rows = spread(np.flatnonzero(sound & (index.images != UNKNOWN) & ~index.crowd))
    images = index.images[rows]
    sample = BoxSample(
        boxes=boxes[rows],
        sizes=np.stack([index.widths[images], index.heights[images]], axis=1).astype(np.float64),
        areas=index.areas[rows],
        outlines=_outlines(index, rows),
    )
    if found := misread_boxes(sample):
        raise DataError(
            f"the boxes are not x, y, width, height in pixels: {found}",
            expected="bbox: [x, y, width, height], x and y of the upper left corner, in pixels of "
            "the image",
            mend="write them so; or take them as they are, with --nocheck_boxes",
            where=str(index.path),
        )


def _outlines(index: CocoIndex, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Gives the edges of some outlines, float64 [rows, 4]; NaN where none was looked at."""
    edges = np.full((len(rows), 4), np.nan)
    starts, lengths = index.segmentations.starts[rows], index.segmentations.lengths[rows]
    with open(index.path, "rb", buffering=0) as file:
        for place in spread(np.flatnonzero(starts >= 0), _MOST_OUTLINES).tolist():
            text = os.pread(file.fileno(), int(lengths[place]), int(starts[place]))
            image = index.images[rows[place]]
            size = int(index.heights[image]), int(index.widths[image])
            edges[place] = outline_bounds(_parsed(text), *size)
    return edges


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
