"""The contact sheet: as many tiles as asked for, and something drawn on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odapi_repro.datasets.contact_sheet import contact_sheet
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.errors import DataError


def test_boxes_and_masks_change_the_picture(train_files: list[Path], tmp_path: Path) -> None:
    paths = [tmp_path / "plain.png", tmp_path / "masks.png"]
    for path, with_masks in zip(paths, (False, True), strict=True):
        drawn = contact_sheet(
            train_files, SHAPES_LABEL_MAP, path, columns=3, rows=2, with_masks=with_masks
        )
        assert drawn == 6
    plain, masks = (np.asarray(Image.open(path)).astype(int) for path in paths)
    assert plain.shape == masks.shape == (2 * 262 + 6, 3 * 262 + 6, 3)
    assert (np.abs(plain - masks).sum(axis=2) > 30).mean() > 0.05


def test_fewer_images_than_tiles_are_all_drawn(val_files: list[Path], tmp_path: Path) -> None:
    assert contact_sheet(val_files, SHAPES_LABEL_MAP, tmp_path / "s.png", columns=9, rows=9) == 6


def test_no_image_is_a_data_error(tmp_path: Path) -> None:
    write_records(tmp_path / "empty.record", [])
    with pytest.raises(DataError, match="no image to draw"):
        contact_sheet([tmp_path / "empty.record"], SHAPES_LABEL_MAP, tmp_path / "s.png")
