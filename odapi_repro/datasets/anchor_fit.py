"""A data set's objects at the network's input, and the anchors that reach them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.object_table import ObjectTable
from odapi_repro.pipeline.anchors import (
    AnchorDesign,
    AnchorSet,
    Border,
    InputSizes,
    Matcher,
    Resizer,
    best_anchors,
)

Floats = NDArray[np.float64]
_MOST_AGAINST_CLIPPED = 2_000


@dataclass(frozen=True, eq=False)
class InputObjects:
    """The objects with an area, in pixels of the network's input.

    Attributes:
        boxes: float64 [n, 4], ymin xmin ymax xmax.
        class_ids: int64 [n].
        sizes: the input of each object's image, int64 [n, 2], height and width with padding.
        num_without_area: objects left out: of no area, or not finite.
    """

    boxes: Floats
    class_ids: NDArray[np.int64]
    sizes: NDArray[np.int64]
    num_without_area: int

    @property
    def sides(self) -> Floats:
        """Square roots of the areas, [n], in pixels."""
        sides: Floats = np.sqrt(self._lengths.prod(axis=1))
        return sides

    @property
    def ratios(self) -> Floats:
        """Width over height, [n]."""
        height, width = self._lengths.T
        ratios: Floats = width / height
        return ratios

    @property
    def _lengths(self) -> Floats:
        return self.boxes[:, 2:] - self.boxes[:, :2]


@dataclass(frozen=True, eq=False)
class AnchorFit:
    """How well the anchors reach the objects.

    Attributes:
        index: int64 [m], the objects that were compared; all of them, or a sample.
        iou: float64 [m], with the best anchor.
        level: int64 [m], the feature map of that anchor; -1 where none overlaps.
        anchors: of the most frequent input size.
        matcher: the thresholds.
    """

    index: NDArray[np.int64]
    iou: Floats
    level: NDArray[np.int64]
    anchors: AnchorSet
    matcher: Matcher

    @property
    def is_below_matched(self) -> NDArray[np.bool_]:
        """[m]; no anchor reaches the threshold of a positive: at most one forced match is left."""
        return self.iou < (self.matcher.matched or 0.0)

    @property
    def is_below_unmatched(self) -> NDArray[np.bool_]:
        """[m]; without being forced, even the best anchor would be taught as background."""
        return self.iou < self.matcher.unmatched


def objects_at_input(table: ObjectTable, resizer: Resizer | None) -> InputObjects:
    """Gives the objects where the resizer puts them; without one, in pixels of their image."""
    heights, widths = table.image_heights, table.image_widths
    sizes = InputSizes(heights, widths, heights, widths)
    if resizer is not None:
        sizes = resizer.sizes(heights, widths)
    image = table.image_index
    scale = np.stack([sizes.height, sizes.width] * 2, axis=1)[image].astype(np.float64)
    boxes = table.boxes.astype(np.float64) * scale
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    padded = np.stack([sizes.padded_height, sizes.padded_width], axis=1)[image]
    return InputObjects(
        boxes=boxes[usable],
        class_ids=table.class_ids[usable],
        sizes=padded[usable],
        num_without_area=int((~usable).sum()),
    )


def fit_anchors(
    objects: InputObjects,
    design: AnchorDesign,
    matcher: Matcher,
    *,
    limit: int | None = None,
    seed: int = 0,
) -> AnchorFit:
    """Compares objects with the anchors of their input.

    Args:
        objects: at least one.
        design: makes the anchors of an input of any size.
        matcher: the thresholds.
        limit: compare a sample of this many; None for all. Clipped anchors, which have to be
            compared one by one, are compared with 2,000 at most.
        seed: of the sample.

    Raises:
        ConfigError: the anchors do not fit the feature maps.
    """
    count = len(objects.boxes)
    most = min(count, limit or count)
    if design.border is Border.CLIPPED:
        most = min(most, _MOST_AGAINST_CLIPPED)
    index = np.arange(count)
    if most < count:
        index = np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
    iou, level = np.zeros(most), np.full(most, -1, np.int64)
    sizes, which, frequency = np.unique(
        objects.sizes[index], axis=0, return_inverse=True, return_counts=True
    )
    order = np.argsort(which.reshape(-1), kind="stable")
    for place, members in enumerate(np.split(order, np.cumsum(frequency)[:-1])):
        anchors = design.anchors(int(sizes[place, 0]), int(sizes[place, 1]))
        best = best_anchors(anchors, objects.boxes[index[members]])
        iou[members], level[members] = best.iou, best.level
    height, width = sizes[frequency.argmax()].tolist()
    return AnchorFit(index, iou, level, design.anchors(height, width), matcher)
