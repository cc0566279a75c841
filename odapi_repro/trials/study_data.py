"""The records of a study: found, counted, and read whole or in part."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap, read_label_map
from odapi_repro.datasets.made_folder import default_cache_root
from odapi_repro.datasets.record_files import Inventory
from odapi_repro.datasets.records import RecordFile, RecordManifest, manifest
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP, ShapesSpec
from odapi_repro.datasets.source import EMBEDDED, DataSource
from odapi_repro.datasets.tfrecord import read_records

_MASK_PEEK = 20  # images to look at before deciding that records hold no masks


@dataclass(frozen=True)
class StudyData:
    """The records of a study, found and counted."""

    source: DataSource
    label_map: LabelMap
    train: RecordManifest
    eval: RecordManifest

    @classmethod
    def of(cls, source: DataSource) -> Self:
        """Reads the label map of a source, and counts its records."""
        train, evaluation = (manifest(source.files(split)) for split in ("train", "eval"))
        return cls(source, read_label_map(source.label_map_path), train, evaluation)

    @property
    def train_files(self) -> tuple[Path, ...]:
        """Absolute paths, sorted."""
        return tuple(file.absolute() for file in self.source.files("train"))

    @property
    def eval_files(self) -> tuple[Path, ...]:
        """Absolute paths, sorted."""
        return tuple(file.absolute() for file in self.source.files("eval"))

    @cached_property
    def has_masks(self) -> bool:
        """Whether the first training image with boxes holds PNG masks."""
        records = itertools.chain.from_iterable(map(read_records, self.train_files))
        for data in itertools.islice(records, _MASK_PEEK):
            image = AnnotatedImage.from_example(data)
            if len(image.boxes):
                return bool(image.masks_png)
        return False

    def reading(self, train_shards: int | None) -> StudyData:
        """Gives the data of which only the first training files by path are read; all for None.

        Training on the first of a hundred files is then the same trial as training on a data set
        of that one file.
        """
        if train_shards is None:
            return self
        files = self.train_files[:train_shards]
        return replace(self, source=self.source.reading({"train": files}), train=manifest(files))


class _Unmade(StudyData):
    """Records of which only their number is known."""

    has_masks = True

    def reading(self, train_shards: int | None) -> StudyData:
        return self


def unmade_embedded() -> StudyData:
    """Gives the embedded set as it will be, before it is made: to check a plan, not to run one."""
    spec = ShapesSpec()
    folder = default_cache_root().absolute() / "unmade"
    train = _promised("train", spec.train_images, spec.train_shards)
    evaluation = _promised("val", spec.val_images, spec.val_shards)
    inventories = {
        split: Inventory(tuple(folder / file.name for file in one.files))
        for split, one in (("train", train), ("eval", evaluation))
    }
    source = DataSource(EMBEDDED, inventories, folder / "label_map.pbtxt")
    return _Unmade(source, SHAPES_LABEL_MAP, train, evaluation)


def _promised(split: str, images: int, shards: int) -> RecordManifest:
    files = [RecordFile(f"{split}-{i:05d}", 0, images // shards, split) for i in range(shards)]
    return RecordManifest(tuple(files), split, images)
