"""Sets to convert; lets the tests of this folder import its helpers, in importlib mode too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from coco_sets import CocoSet


@pytest.fixture
def coco_set(tmp_path: Path) -> CocoSet:
    return CocoSet(tmp_path)


@pytest.fixture
def ten_images(coco_set: CocoSet) -> CocoSet:
    """Ten images with two objects each, polygons among them."""
    for number in range(1, 11):
        coco_set.image(number)
        coco_set.annotation(number, [2, 3, 20, 10], segmentation=[[2, 3, 22, 3, 22, 13, 2, 13]])
        coco_set.annotation(number, [30, 5, 8, 30], 18, segmentation=[[30, 5, 38, 5, 34, 35]])
    coco_set.write()
    return coco_set


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    def read(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    return read
