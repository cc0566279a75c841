"""A census in a few numbers, for a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from odapi_repro.datasets.census.columns import MASK_NONE
from odapi_repro.datasets.census.split import SplitCensus
from odapi_repro.datasets.label_map import LabelMap

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
