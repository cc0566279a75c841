"""A small embedded data set, made once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from odapi_repro.datasets.embedded import EmbeddedDataset, embedded_dataset
from odapi_repro.datasets.shapes_spec import ShapesSpec

SMALL_SPEC = ShapesSpec(
    seed=7, train_images=12, val_images=6, train_shards=4, val_shards=2, crowd_share=0.4
)


@pytest.fixture(scope="session")
def small_spec() -> ShapesSpec:
    return SMALL_SPEC


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedDataset:
    return embedded_dataset(tmp_path_factory.mktemp("cache"), spec=SMALL_SPEC)


@pytest.fixture(scope="session")
def train_files(small: EmbeddedDataset) -> list[Path]:
    return sorted(small.folder.glob("train-*.tfrecord"))


@pytest.fixture(scope="session")
def val_files(small: EmbeddedDataset) -> list[Path]:
    return sorted(small.folder.glob("val-*.tfrecord"))
