"""The census of one split and of a data set, and its facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import UNKNOWN_CLASS
from odapi_repro.datasets.census.record_columns import (
    MASK_NONE,
    NO_NAME,
    BoxColumns,
    ImageColumns,
    Tally,
    images_told,
)
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.record_files import Inventory
from odapi_repro.errors import DataError

# --- The census of one split and of a data set, and what follows from the columns alone ---


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


# --- A census in a few numbers, for a table ---


_SMALL, _LARGE = 32**2, 96**2  # COCO's: small is below the first, large from the second


@dataclass(frozen=True)
class SplitFacts:
    """One split in numbers.

    Attributes:
        split: `train` or `eval`.
        files, bytes: record files and their size.
        shards_named, shards_present: by the file names; 0 where they name none.
        records: all that could be framed.
        images: records that hold an image.
        images_decoded: images whose pixels decode, to the last byte.
        images_empty: images without objects.
        image_sizes: (least, median, most) of rows and columns, in pixels; none without images.
        boxes: objects, crowd regions among them.
        crowd: crowd regions.
        boxes_per_image: (median, 90th percentile, most).
        boxes_by_size: objects by COCO's `small`, `medium`, `large`; recorded areas, else boxes.
        masks: objects with a mask.
        objects_by_class: name -> objects, as the OD API decodes them, by id.
        unknown_class: objects of a class that the label map does not have.
    """

    split: str
    files: int
    bytes: int
    shards_named: int
    shards_present: int
    records: int
    images: int
    images_decoded: int
    images_empty: int
    image_sizes: tuple[tuple[int, int, int], tuple[int, int, int]] | None
    boxes: int
    crowd: int
    boxes_per_image: tuple[int, int, int]
    boxes_by_size: Mapping[str, int]
    masks: int
    objects_by_class: Mapping[str, int]
    unknown_class: int


@dataclass(frozen=True)
class DataFacts:
    """What was looked at.

    Attributes:
        name: of the data set.
        splits: those that are there.
        pipeline: path of the config that it was held against; empty without one.
        label_map: its path; empty without one.
        compared: what else the records were held against, in words.
        not_looked_at: what nobody looked at, and why, in words.
    """

    name: str
    splits: tuple[SplitFacts, ...]
    pipeline: str = ""
    label_map: str = ""
    compared: tuple[str, ...] = ()
    not_looked_at: tuple[str, ...] = ()


def split_facts(split: SplitCensus, label_map: LabelMap | None) -> SplitFacts:
    """Gives the numbers of one split."""
    images, boxes = split.images, split.boxes
    counted = images.num_boxes[images.num_boxes >= 0]
    shards = split.inventory.shard_sets
    classes, unknown = _classes(split, label_map)
    return SplitFacts(
        split=split.split,
        files=len(split.files),
        bytes=sum(file.bytes for file in split.files),
        shards_named=sum(one.total for one in shards),
        shards_present=sum(len(one.present) for one in shards),
        records=split.records,
        images=len(images),
        images_decoded=int(images.decodes.sum()),
        images_empty=int((counted == 0).sum()),
        image_sizes=_sizes(split),
        boxes=len(boxes),
        crowd=int(boxes.crowd.sum()),
        boxes_per_image=(
            int(np.median(counted)) if len(counted) else 0,
            int(np.percentile(counted, 90)) if len(counted) else 0,
            int(counted.max()) if len(counted) else 0,
        ),
        boxes_by_size=_by_size(split),
        masks=int((boxes.mask_state != MASK_NONE).sum()),
        objects_by_class=classes,
        unknown_class=unknown,
    )


def _sizes(split: SplitCensus) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    size = split.images.decoded_size[split.images.decodes]
    if not len(size):
        return None
    low, middle, high = size.min(axis=0), np.median(size, axis=0), size.max(axis=0)
    rows, columns = ((int(low[i]), int(middle[i]), int(high[i])) for i in (0, 1))
    return rows, columns


def _by_size(split: SplitCensus) -> dict[str, int]:
    heights, widths = split.box_sizes.T
    with np.errstate(invalid="ignore"):
        area = np.where(split.boxes.area > 0, split.boxes.area, heights * widths)
        small, large = int((area < _SMALL).sum()), int((area >= _LARGE).sum())
    return {"small": small, "medium": len(area) - small - large, "large": large}


def _classes(split: SplitCensus, label_map: LabelMap | None) -> tuple[dict[str, int], int]:
    ids, counts = np.unique(split.class_ids(label_map), return_counts=True)
    found = {int(one): int(count) for one, count in zip(ids, counts, strict=True)}
    if label_map is None:
        if split.vocabulary:
            return _by_name(split), 0
        return {f"id {one}": count for one, count in found.items()}, 0
    known = {label_map.items[one]: found.get(one, 0) for one in sorted(label_map.items)}
    return known, len(split.boxes) - sum(known.values())


def _by_name(split: SplitCensus) -> dict[str, int]:
    counts = np.bincount(split.boxes.name[split.boxes.name >= 0], minlength=len(split.vocabulary))
    return {name: int(count) for name, count in zip(split.vocabulary, counts, strict=True)}
