"""Anchors as grids: the same few shapes at every point of every feature map."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
