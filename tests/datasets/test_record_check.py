"""Checks of records: what passes is summed up, what would spoil a training is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.embedded import EmbeddedDataset
from odapi_repro.datasets.example import make_example
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.record_check import RecordSummary, check_records
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.errors import DataError

_JPEG = cv2.imencode(".jpg", np.zeros((200, 200, 3), np.uint8))[1].tobytes()
_ONE = LabelMap({1: "a", 5: "e"})


def _image(
    *boxes: tuple[float, ...], class_id: int = 1, name: str = "", encoded: bytes = _JPEG
) -> bytes:
    count = len(boxes)
    return AnnotatedImage(
        source_id="17",
        filename="",
        height=200,
        width=200,
        image_format="jpeg",
        encoded_image=encoded,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        class_ids=np.full(count, class_id, np.int64),
        class_names=(name,) * count if name else (),
        is_crowd=np.zeros(count, np.bool_),
    ).to_example()


_GOOD = _image((0.0, 0.0, 0.5, 0.5))


def _check(tmp_path: Path, *records: bytes, masks: bool = False, limit: int = 9) -> RecordSummary:
    path = tmp_path / "some.record"
    write_records(path, records)
    return check_records([path], _ONE, num_classes=4, needs_masks=masks, limit=limit)


def test_the_embedded_set_passes_and_is_summed_up(
    small: EmbeddedDataset, train_files: list[Path]
) -> None:
    summary = check_records(train_files, SHAPES_LABEL_MAP, num_classes=6, needs_masks=True)
    made = json.loads(small.instances_train.read_text())["annotations"]
    assert summary.images == 12
    assert summary.is_complete
    assert summary.has_masks
    assert summary.boxes == len(made) == sum(summary.boxes_per_class.values())
    assert summary.crowd == sum(a["iscrowd"] for a in made) > 0
    assert summary.boxes_per_size["small"] == sum(a["area"] < 32**2 for a in made)
    assert sum(summary.boxes_per_size.values()) == len(made)
    assert summary.boxes_outside == summary.boxes_without_area == 0


def test_odd_boxes_are_counted(tmp_path: Path) -> None:
    summary = _check(
        tmp_path, _GOOD, _image((0, 0, 200, 100)), _image((0.5, 0.5, 0.5, 0.6)), _image()
    )
    assert summary.boxes_outside == 1
    assert summary.boxes_without_area == 1
    assert summary.images_without_boxes == 1
    assert not summary.has_masks
    assert summary.boxes_per_class == {1: 3, 5: 0}


def test_the_limit_is_spread_over_the_files(train_files: list[Path]) -> None:
    summary = check_records(
        train_files, SHAPES_LABEL_MAP, num_classes=6, needs_masks=False, limit=8
    )
    assert summary.images == 8
    assert not summary.is_complete


@pytest.mark.parametrize(
    ("records", "masks", "message"),
    [
        ([], False, "hold no example"),
        ([_GOOD, b"\xff\xff\xff"], False, "no tf.train.Example"),
        ([_image()], False, "no box at all"),
        ([_image((0, 0, 1, 1), class_id=9)], False, "class id 9; the label map's highest is 5"),
        ([_image((0, 0, 1, 1), class_id=0)], False, "class id 0"),
        ([_image((0, 0, 1, 1), class_id=5)], False, "class id 5; the pipeline's num_classes is 4"),
        ([_image((0, 0, 1, 1), name="b")], False, "class 'b', which the label map does not hold"),
        ([_GOOD], True, "image '17' has 1 boxes and no PNG masks"),
        ([make_example({"image/source_id": "3"})], False, "record of 3 has no 'image/encoded'"),
        ([_image((0, 0, 1, 1), encoded=b"GIF")], False, "'17' does not decode"),
    ],
)
def test_what_would_spoil_a_training_is_refused(
    tmp_path: Path, records: list[bytes], masks: bool, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        _check(tmp_path, *records, masks=masks)
    assert "some.record" in caught.value.where
    assert caught.value.expected
    assert caught.value.mend


def test_damage_at_any_offset_is_a_data_error(train_files: list[Path], tmp_path: Path) -> None:
    content = train_files[0].read_bytes()
    draw = random.Random(3)
    path = tmp_path / "damaged.record"
    for _ in range(25):
        offset = draw.randrange(1, len(content))
        flipped = bytes([content[offset] ^ 0x10])
        for damaged in (content[:offset], content[:offset] + flipped + content[offset + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=r"damaged\.record"):
                check_records([path], SHAPES_LABEL_MAP, num_classes=6, needs_masks=True)


def test_a_truncated_file_beyond_the_limit_is_found(
    train_files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "cut.record"
    path.write_bytes(train_files[0].read_bytes()[:-3])
    with pytest.raises(DataError, match="truncated"):
        check_records([path], SHAPES_LABEL_MAP, num_classes=6, needs_masks=False, limit=1)
