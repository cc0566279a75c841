"""All objects of a data set as columns, and some of its records, from one pass over the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.tfrecord import (
    FRAME_BYTES,
    read_frames,
    read_record_at,
    read_records,
)
from odapi_repro.errors import DataError

_MOST_BROKEN = 4


@dataclass(frozen=True, eq=False)
class ObjectTable:
    """What the records hold, without the images.

    Attributes:
        image_heights, image_widths: int64 [I], pixels, as the records say.
        image_index: int64 [N], the image of each object; images are in the order of the files.
        boxes: float32 [N, 4], ymin xmin ymax xmax, as shares of the image.
        class_ids: int64 [N], as the OD API's decoder has them; -1 for names that the label map
            does not hold.
        is_crowd: bool [N].
    """

    image_heights: NDArray[np.int64]
    image_widths: NDArray[np.int64]
    image_index: NDArray[np.int64]
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    is_crowd: NDArray[np.bool_]

    @property
    def num_images(self) -> int:
        """Images, those without objects too."""
        return len(self.image_heights)

    @property
    def num_objects(self) -> int:
        """Objects of all images, crowd regions too."""
        return len(self.boxes)

    @property
    def objects_per_image(self) -> NDArray[np.int64]:
        """[I]."""
        return np.bincount(self.image_index, minlength=self.num_images).astype(np.int64)


@dataclass(frozen=True, eq=False)
class PickedRecord:
    """A record to look at.

    Attributes:
        position: in all files together, from 0.
        data: the serialised Example; empty where its checksum does not match.
        image: what it holds; None where that could not be read.
        problem: why it could not be read.
    """

    position: int
    data: bytes
    image: AnnotatedImage | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over the records gave.

    Attributes:
        table: every record that could be read.
        picked: the records to look at, in the order of the files.
        num_matching: how many records `wanted` holds of.
        num_broken: records whose checksum does not match, that are no Example or whose lists
            disagree; they are not in the table.
        broken: the first of them.
    """

    table: ObjectTable
    picked: tuple[PickedRecord, ...]
    num_matching: int
    num_broken: int
    broken: tuple[PickedRecord, ...]


def survey_records(
    files: Sequence[Path],
    label_map: LabelMap,
    *,
    pick: int,
    seed: int,
    wanted: Callable[[AnnotatedImage], bool] = lambda image: True,
    on_record: Callable[[int], None] = lambda count: None,
) -> Survey:
    """Reads all records once and picks `pick` of those `wanted`, each as likely as another.

    Only what is picked is kept in memory, beside about 40 bytes an object.

    Args:
        files: record files.
        label_map: decides the classes.
        pick: records to keep.
        seed: of the choice.
        wanted: which records may be picked.
        on_record: gets the number of records read so far.

    Raises:
        DataError: a file cannot be read or is truncated, or the length of a record is corrupt.
    """
    columns = _Columns()
    reservoir = _Reservoir(pick, seed)
    broken: list[PickedRecord] = []
    num_broken = 0
    for position, (data, problem) in enumerate(_records(files)):
        on_record(position + 1)
        record = _parsed(position, data, problem, label_map)
        if record.image is None:
            num_broken += 1
            if len(broken) < _MOST_BROKEN:
                broken.append(record)
            continue
        columns.add(record.image)
        if wanted(record.image):
            reservoir.offer(record)
    return Survey(columns.table(), reservoir.picked(), reservoir.seen, num_broken, tuple(broken))


def _parsed(position: int, data: bytes, problem: str, label_map: LabelMap) -> PickedRecord:
    if problem:
        return PickedRecord(position, data, None, problem)
    try:
        return PickedRecord(position, data, AnnotatedImage.from_example(data, label_map))
    except DataError as error:
        return PickedRecord(position, data, None, error.found)


def _records(files: Sequence[Path]) -> Iterator[tuple[bytes, str]]:
    """Gives each record, or b"" and why it cannot be read where its checksum does not match."""
    for file in files:
        count = 0
        try:
            for data in read_records(file):
                count += 1
                yield data, ""
        except DataError:
            yield from _one_by_one(file, count)


def _one_by_one(file: Path, start: int) -> Iterator[tuple[bytes, str]]:
    """Gives the records of a damaged file from number `start` on, as `_records` does."""
    offset = 0
    for number, (length, _) in enumerate(read_frames(file)):
        if number >= start:
            try:
                data, problem = read_record_at(file, offset), ""
            except DataError as error:
                data, problem = b"", error.found
            yield data, problem
        offset += length + FRAME_BYTES


class _Reservoir:
    """A uniform sample of a stream (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._rng = np.random.default_rng(seed)
        self._held: list[PickedRecord] = []
        self.seen = 0

    def offer(self, record: PickedRecord) -> None:
        self.seen += 1
        if len(self._held) < self._size:
            self._held.append(record)
            return
        place = int(self._rng.integers(self.seen))
        if place < self._size:
            self._held[place] = record

    def picked(self) -> tuple[PickedRecord, ...]:
        return tuple(sorted(self._held, key=lambda record: record.position))


class _Columns:
    """Grows by an image at a time."""

    def __init__(self) -> None:
        self._sizes: list[tuple[int, int]] = []
        self._counts: list[int] = []
        self._boxes: list[NDArray[np.float32]] = []
        self._classes: list[NDArray[np.int64]] = []
        self._crowd: list[NDArray[np.bool_]] = []

    def add(self, image: AnnotatedImage) -> None:
        self._sizes.append((image.height, image.width))
        self._counts.append(len(image.boxes))
        if len(image.boxes):
            self._boxes.append(image.boxes)
            self._classes.append(image.class_ids)
            self._crowd.append(image.is_crowd)

    def table(self) -> ObjectTable:
        sizes = np.array(self._sizes, np.int64).reshape(-1, 2)
        return ObjectTable(
            image_heights=sizes[:, 0],
            image_widths=sizes[:, 1],
            image_index=np.repeat(np.arange(len(sizes)), self._counts),
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *self._boxes]),
            class_ids=np.concatenate([np.zeros(0, np.int64), *self._classes]),
            is_crowd=np.concatenate([np.zeros(0, np.bool_), *self._crowd]),
        )
