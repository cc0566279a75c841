"""The census of one split and of a data set, and what follows from the columns alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import UNKNOWN_CLASS
from odapi_repro.datasets.census.columns import (
    NO_NAME,
    BoxColumns,
    ImageColumns,
    Tally,
    images_told,
)
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.record_files import Inventory
from odapi_repro.errors import DataError


@dataclass(frozen=True)
class FileFacts:
    """One record file.

    Attributes:
        path: where it lies.
        bytes: its size.
        records: records that could be framed.
        fault: why reading stops there; empty where it does not.
    """

    path: Path
    bytes: int
    records: int
    fault: str = ""


@dataclass(frozen=True, eq=False)
class SplitCensus:
    """What the records of one split hold.

    Attributes:
        split: `train` or `eval`.
        inventory: the files that were named.
        files: each as it was found.
        images: a row a record that holds an image, whether it decodes or not.
        boxes: a row an object, of records whose lists have one length.
        vocabulary: class names in the records, by their first appearance.
        faults: records that hold no such row, by kind: `corrupt`, `not_example`, `no_image`,
            `wrong_kind`, `lists_differ` (an image without its boxes); and `not_decodable`.
    """

    split: str
    inventory: Inventory
    files: tuple[FileFacts, ...]
    images: ImageColumns
    boxes: BoxColumns
    vocabulary: tuple[str, ...]
    faults: Mapping[str, Tally]

    @property
    def records(self) -> int:
        """Records in all files, readable ones and others."""
        return sum(file.records for file in self.files)

    @cached_property
    def box_sizes(self) -> NDArray[np.float64]:
        """Height and width of every box in pixels, float64 [M, 2], corners taken for shares."""
        scale = self.images.size[self.boxes.image]
        corners = self.boxes.corners.astype(np.float64)
        with np.errstate(invalid="ignore"):  # a record may hold infinities
            return np.asarray((corners[:, 2:] - corners[:, :2]) * scale)

    def class_ids(self, label_map: LabelMap | None) -> NDArray[np.int64]:
        """Gives the class of every object as the OD API's decoder has it, int64 [M].

        Where a record names its classes and there is a label map the names decide, and one that it
        does not hold is UNKNOWN_CLASS (tf_example_decoder._ClassTensorHandler, BackupHandler).
        """
        boxes = self.boxes
        if label_map is None:
            return boxes.label
        known = [label_map.id_of(name) or UNKNOWN_CLASS for name in self.vocabulary]
        by_name = np.array([*known, UNKNOWN_CLASS], np.int64)[boxes.name]
        return np.where(boxes.name == NO_NAME, boxes.label, by_name)

    def examples(self, where: NDArray[np.bool_]) -> tuple[str, ...]:
        """Gives the first few images that hold one of the objects `where` says, bool [M]."""
        return self.images.names(self.boxes.image[where][:200])

    def images_told(self, where: NDArray[np.bool_]) -> str:
        """Gives how many images hold one of the objects `where` says, bool [M]: `3 images`."""
        return images_told(len(np.unique(self.boxes.image[where])))


@dataclass(frozen=True, eq=False)
class Census:
    """All that was looked at.

    Attributes:
        splits: `train`, `eval`, those that are there.
        label_map: None where none is named or it cannot be used.
        label_map_path: as it was named; None where none is.
        label_map_error: why a label map that is named cannot be used.
    """

    splits: tuple[SplitCensus, ...]
    label_map: LabelMap | None = None
    label_map_path: Path | None = None
    label_map_error: DataError | None = None

    def split(self, name: str) -> SplitCensus | None:
        """Gives the split of that name; None where it is not there."""
        return next((one for one in self.splits if one.split == name), None)
