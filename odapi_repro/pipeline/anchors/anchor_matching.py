"""Anchors as grids, and which ground truth they reach.

An overlap along one axis depends on the distance of the two centres alone and falls with it, so the
best anchor of one shape stands on the nearest row and the nearest column: one candidate a shape and
level instead of every anchor, and no approximation.

Source: matchers/argmax_matcher, builders/matcher_builder (SSD), core/target_assigner
.create_target_assigner('FasterRCNN', 'proposal').
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.parse import Pipeline

# --- Anchors as grids: the same few shapes at every point of every feature map ---


Floats = NDArray[np.float64]


class Border(enum.Enum):
    """What happens to anchors that leave the input while a model is trained.

    SSD keeps them. Faster R-CNN's first stage drops them, or clips them where
    `clip_anchors_to_image` is set (FasterRCNNMetaArch._predict_first_stage).
    """

    KEPT = "kept"
    DROPPED = "dropped"
    CLIPPED = "clipped"


@dataclass(frozen=True, eq=False)
class AnchorLevel:
    """The anchors of one feature map, in pixels of the network's input.

    Attributes:
        grid: rows and columns of the feature map.
        stride: from a centre to the next one below, and to the right.
        offset: the first centre, y and x.
        heights, widths: float64 [K], of the anchors at one point.
    """

    grid: tuple[int, int]
    stride: tuple[float, float]
    offset: tuple[float, float]
    heights: Floats
    widths: Floats

    @property
    def sizes(self) -> Floats:
        """Square roots of the areas, [K], in pixels."""
        return np.sqrt(self.heights * self.widths)

    @property
    def ratios(self) -> Floats:
        """Width over height, [K]."""
        return self.widths / self.heights

    def corners(self) -> Floats:
        """ymin xmin ymax xmax, [rows x columns x K, 4], in the order of the OD API."""
        y, x = (
            self.offset[axis] + self.stride[axis] * np.arange(self.grid[axis]) for axis in (0, 1)
        )
        centres = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)[:, :, None, :]
        half = np.stack([self.heights, self.widths], axis=-1)[None, None] / 2
        return np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4)


@dataclass(frozen=True, eq=False)
class AnchorSet:
    """All anchors of an input of one size.

    Attributes:
        height, width: of the input in pixels, with padding.
        levels: from the finest feature map to the coarsest.
        border: what becomes of those that leave the input.
    """

    height: int
    width: int
    levels: tuple[AnchorLevel, ...]
    border: Border

    def corners(self) -> Floats:
        """All anchors that training uses, ymin xmin ymax xmax, [A, 4], in pixels."""
        every: Floats = np.concatenate([level.corners() for level in self.levels])
        window = np.array([self.height, self.width, self.height, self.width], np.float64)
        if self.border is Border.CLIPPED:
            np.clip(every, 0, window, out=every)
        if self.border is Border.DROPPED:
            return every[(every[:, :2] >= 0).all(axis=1) & (every <= window).all(axis=1)]
        return every


# --- Which ground truth the anchors reach: the overlap of each box with its best anchor ---


_RPN_MATCHED, _RPN_UNMATCHED = 0.7, 0.3
_CHUNK = 1 << 16
_DENSE_CHUNK = 64


@dataclass(frozen=True)
class Matcher:
    """When an anchor is an example of a box.

    Attributes:
        matched: least overlap of a positive; None where there is no threshold.
        unmatched: below it an anchor is background, between the two it is ignored.
        forced: whether the best anchor of each box is a positive however little it overlaps.
    """

    matched: float | None
    unmatched: float
    forced: bool


@dataclass(frozen=True, eq=False)
class BestAnchors:
    """The best anchor of each box.

    Attributes:
        iou: float64 [N]; 0 where no anchor overlaps.
        level: int64 [N], index of the feature map; -1 where no anchor overlaps.
    """

    iou: Floats
    level: NDArray[np.int64]


def read_matcher(pipeline: Pipeline) -> Matcher:
    """Gives the matcher of the anchors, in Faster R-CNN that of the first stage, which is fixed.

    Raises:
        ConfigError: no argmax_matcher; TF2 knows no other.
    """
    if pipeline.meta_architecture == "faster_rcnn":
        return Matcher(_RPN_MATCHED, _RPN_UNMATCHED, forced=True)
    matcher = pipeline.proto.model.ssd.matcher
    if matcher.WhichOneof("matcher_oneof") != "argmax_matcher":
        raise ConfigError(
            f"the matcher is {matcher.WhichOneof('matcher_oneof') or 'not set'}",
            expected="an argmax_matcher, the one that the OD API has for TF2",
            mend="see ssd.matcher of a file in pipelines/",
            where=pipeline.path,
        )
    argmax = matcher.argmax_matcher
    forced = bool(argmax.force_match_for_each_row)
    if argmax.ignore_thresholds:
        return Matcher(None, 0.0, forced)
    matched, unmatched = (
        round(float(value), 6) for value in (argmax.matched_threshold, argmax.unmatched_threshold)
    )
    return Matcher(matched, unmatched, forced)


def best_anchors(anchors: AnchorSet, boxes: Floats) -> BestAnchors:
    """Gives the best anchor of each box.

    Args:
        anchors: of the input.
        boxes: [N, 4], ymin xmin ymax xmax in pixels of that input, of positive area.
    """
    iou = np.zeros(len(boxes))
    level = np.full(len(boxes), -1, np.int64)
    find = _dense if anchors.border is Border.CLIPPED else _nearest
    chunk = _DENSE_CHUNK if anchors.border is Border.CLIPPED else _CHUNK
    for start in range(0, len(boxes), chunk):
        part = slice(start, start + chunk)
        for index, one in enumerate(anchors.levels):
            found = find(anchors, one, boxes[part])
            better = found > iou[part]
            iou[part][better] = found[better]
            level[part][better] = index
    return BestAnchors(iou, level)


def _nearest(anchors: AnchorSet, level: AnchorLevel, boxes: Floats) -> Floats:
    best = np.zeros(len(boxes))
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    window = (anchors.height, anchors.width)
    inside = anchors.border is Border.DROPPED
    for height, width in zip(level.heights, level.widths, strict=True):
        overlap = np.ones(len(boxes))
        for axis, length in enumerate((height, width)):
            overlap *= _overlap(level, axis, length, boxes, window[axis] if inside else None)
        np.maximum(best, overlap / (area + height * width - overlap), out=best)
    return best


def _overlap(
    level: AnchorLevel, axis: int, length: float, boxes: Floats, window: float | None
) -> Floats:
    """Gives the largest overlap along one axis, [N]; 0 where no anchor lies within the window."""
    low, high = boxes[:, axis], boxes[:, axis + 2]
    stride, offset = level.stride[axis], level.offset[axis]
    first, last = 0, level.grid[axis] - 1
    if window is not None:
        # A rounding error must not cost the anchor that touches the border.
        first = max(first, int(np.ceil((length / 2 - offset) / stride - 1e-6)))
        last = min(last, int(np.floor((window - length / 2 - offset) / stride + 1e-6)))
    if last < first:
        return np.zeros(len(boxes))
    index = np.clip(np.rint(((low + high) / 2 - offset) / stride), first, last)
    centre = offset + stride * index
    end = np.minimum(high, centre + length / 2)
    overlap: Floats = np.maximum(end - np.maximum(low, centre - length / 2), 0.0)
    return overlap


def _dense(anchors: AnchorSet, level: AnchorLevel, boxes: Floats) -> Floats:
    """Gives the best overlap with clipped anchors, whose shape changes with their place."""
    one = AnchorSet(anchors.height, anchors.width, (level,), anchors.border).corners()
    overlap = np.ones((len(boxes), len(one)))
    for axis in (0, 1):
        high = np.minimum(boxes[:, None, axis + 2], one[None, :, axis + 2])
        low = np.maximum(boxes[:, None, axis], one[None, :, axis])
        overlap *= np.maximum(high - low, 0.0)
    area, anchor_area = (
        (these[:, 2] - these[:, 0]) * (these[:, 3] - these[:, 1]) for these in (boxes, one)
    )
    best: Floats = (overlap / (area[:, None] + anchor_area[None] - overlap)).max(axis=1)
    return best
