"""What `data show` found, as types: the page, show.json and the plots read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.anchor_fit import AnchorFit, InputObjects
from odapi_repro.datasets.object_table import ObjectTable
from odapi_repro.pipeline.anchors import AnchorDesign


@dataclass(frozen=True)
class Reached:
    """How many of some objects the anchors reach.

    Attributes:
        compared: objects.
        below_matched: of them, those that no anchor reaches at the matched threshold.
        below_unmatched: of those, the ones below the unmatched threshold, too.
    """

    compared: int
    below_matched: int
    below_unmatched: int

    @property
    def share_below_matched(self) -> float:
        """From 0 to 1; 0 without objects."""
        return self.below_matched / self.compared if self.compared else 0.0

    @property
    def share_below_unmatched(self) -> float:
        """From 0 to 1; 0 without objects."""
        return self.below_unmatched / self.compared if self.compared else 0.0


@dataclass(frozen=True)
class ClassRow:
    """A class, whether the label map holds it, its objects, and what the anchors reach of them."""

    class_id: int
    name: str
    is_known: bool
    objects: int
    reached: Reached | None


@dataclass(frozen=True)
class SizeRow:
    """Objects whose square root of the area lies in [low, high) pixels of the input."""

    low: float
    high: float
    objects: int
    reached: Reached | None


@dataclass(frozen=True)
class LevelRow:
    """The anchors of one feature map, and how many objects have their best anchor on it."""

    grid: tuple[int, int]
    stride: tuple[float, float]
    sides: tuple[float, ...]
    ratios: tuple[float, ...]
    best_for: int


@dataclass(frozen=True, eq=False)
class AnchorReport:
    """The anchors and the objects.

    Attributes:
        design: how the anchors are made.
        objects: at the network's input.
        fit: the best anchor of each.
        reached: of all objects that were compared.
        levels: from the finest to the coarsest.
    """

    design: AnchorDesign
    objects: InputObjects
    fit: AnchorFit
    reached: Reached
    levels: tuple[LevelRow, ...]

    @property
    def is_sample(self) -> bool:
        """Whether some objects were not compared."""
        return len(self.fit.index) < len(self.objects.boxes)


@dataclass(frozen=True)
class DrawsReport:
    """What the input functions left of the objects of the images shown.

    Attributes:
        images: records that were drawn from.
        draws: of each.
        objects_in_records: of all draws together.
        objects_left: of all draws together.
        draws_without_objects: draws that lost the last of their objects.
        refused: draws at which training would stop.
        messages: what the OD API says there, each once.
    """

    images: int
    draws: int
    objects_in_records: int
    objects_left: int
    draws_without_objects: int
    refused: int
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SplitReport:
    """One split.

    Attributes:
        split: `train` or `val`.
        files: record files.
        table: all objects.
        objects: those with an area, in pixels of the network's input (of the image without a
            pipeline).
        num_broken: records that could not be read.
        num_matching: images among which those shown were chosen.
        num_shown: images on the contact sheet.
        max_number_of_boxes: of the split's input reader; None without a pipeline.
        classes: by falling number of objects.
        sizes: by rising size.
        anchors: None without a pipeline, or where it has none.
        draws: None where the augmented sheets were not made.
        notes: what could not be done, and why.
    """

    split: str
    files: int
    table: ObjectTable
    objects: InputObjects
    num_broken: int
    num_matching: int
    num_shown: int
    max_number_of_boxes: int | None
    classes: tuple[ClassRow, ...]
    sizes: tuple[SizeRow, ...]
    anchors: AnchorReport | None
    draws: DrawsReport | None
    notes: tuple[str, ...]

    @property
    def num_outside(self) -> int:
        """Boxes that leave the image by more than a thousandth of it."""
        boxes = self.table.boxes
        return int(((boxes < -1e-3) | (boxes > 1 + 1e-3)).any(axis=1).sum())

    @property
    def num_beyond_limit(self) -> int:
        """Objects that max_number_of_boxes cuts off."""
        if self.max_number_of_boxes is None:
            return 0
        over = self.table.objects_per_image - self.max_number_of_boxes
        return int(np.maximum(over, 0).sum())

    @property
    def num_unknown_class(self) -> int:
        """Objects whose class the label map does not hold."""
        return sum(row.objects for row in self.classes if not row.is_known)


@dataclass(frozen=True, eq=False)
class ShowReport:
    """All of it.

    Attributes:
        command: as it was given.
        data: name of the data.
        label_map: its file's name.
        pipeline: the config's path; empty without one.
        model: meta-architecture and extractor; empty without a pipeline.
        resized: what the resizer does, in a clause; empty without a pipeline.
        only: what the images had to be; empty for any.
        seed: of every choice.
        splits: in the order train, val.
        notes: what holds for all splits.
    """

    command: str
    data: str
    label_map: str
    pipeline: str
    model: str
    resized: str
    only: str
    seed: int
    splits: tuple[SplitReport, ...]
    notes: tuple[str, ...] = ()


def reached_of(fit: AnchorFit, chosen: NDArray[np.bool_] | None = None) -> Reached:
    """Gives what the anchors reach of the objects `chosen` [m] among those compared."""
    below = [fit.is_below_matched, fit.is_below_unmatched & fit.is_below_matched]
    if chosen is not None:
        below = [one & chosen for one in below]
    compared = len(fit.index) if chosen is None else int(chosen.sum())
    return Reached(compared, *(int(one.sum()) for one in below))


def values_of(values: Sequence[float]) -> tuple[float, ...]:
    """Gives the different values, rounded and sorted."""
    return tuple(sorted({round(float(value), 3) for value in values}))


def size_name(low: float, high: float) -> str:
    """Gives an interval of sizes."""
    if high == math.inf:
        return f"≥ {low:g}"
    return f"< {high:g}" if low == 0 else f"{low:g} to {high:g}"


def listed(values: tuple[float, ...]) -> str:
    """Gives numbers with at most three digits that count."""
    return ", ".join(f"{value:.3g}" for value in values)
