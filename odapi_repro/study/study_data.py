"""The records of a study: found, counted, and read whole or in part."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.records import RecordManifest, manifest, resolve_patterns
from odapi_repro.datasets.source import DataSource

__all__ = ["StudyData"]


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


def _absolute(patterns: Sequence[str]) -> tuple[Path, ...]:
    return tuple(file.absolute() for file in resolve_patterns(patterns))
