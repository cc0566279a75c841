"""The records of a study: found, counted, and read whole or in part."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.made_folder import default_cache_root
from odapi_repro.datasets.records import RecordFile, RecordManifest, manifest, resolve_patterns
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP, ShapesSpec
from odapi_repro.datasets.source import EMBEDDED, DataSource


@dataclass(frozen=True)
class StudyData:
    """The records of a study, found and counted."""

    source: DataSource
    label_map: LabelMap
    train: RecordManifest
    eval: RecordManifest

    @property
    def train_files(self) -> tuple[Path, ...]:
        """Absolute paths, sorted."""
        return _absolute(self.source.train_patterns)

    @property
    def eval_files(self) -> tuple[Path, ...]:
        """Absolute paths, sorted."""
        return _absolute(self.source.eval_patterns)

    def reading(self, train_shards: int | None) -> StudyData:
        """Gives the data of which only the first training files by path are read; all for None.

        Training on the first of a hundred files is then the same trial as training on a data set
        of that one file.
        """
        if train_shards is None:
            return self
        files = self.train_files[:train_shards]
        patterns = tuple(glob.escape(str(file)) for file in files)
        source = replace(self.source, train_patterns=patterns)
        return replace(self, source=source, train=manifest(files))


class _Unmade(StudyData):
    """Records of which only their number is known."""

    @property
    def train_files(self) -> tuple[Path, ...]:
        return _not_there(self.train)

    @property
    def eval_files(self) -> tuple[Path, ...]:
        return _not_there(self.eval)

    def reading(self, train_shards: int | None) -> StudyData:
        return self


def unmade_embedded() -> StudyData:
    """Gives the embedded set as it will be, before it is made: to check a plan, not to run one."""
    spec = ShapesSpec()
    folder = default_cache_root() / "unmade"
    source = DataSource(EMBEDDED, (), (), folder / "label_map.pbtxt", has_masks=True)
    return _Unmade(
        source,
        SHAPES_LABEL_MAP,
        _promised("train", spec.train_images, spec.train_shards),
        _promised("val", spec.val_images, spec.val_shards),
    )


def _promised(split: str, images: int, shards: int) -> RecordManifest:
    files = [RecordFile(f"{split}-{i:05d}", 0, images // shards, split) for i in range(shards)]
    return RecordManifest(tuple(files), split, images)


def _not_there(records: RecordManifest) -> tuple[Path, ...]:
    return tuple(default_cache_root().absolute() / "unmade" / file.name for file in records.files)


def _absolute(patterns: Sequence[str]) -> tuple[Path, ...]:
    return tuple(file.absolute() for file in resolve_patterns(patterns))
