"""Tiles: what is drawn is where it belongs, and what leaves the image is seen beside it."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from odapi_repro.datasets.annotations import AnnotatedImage, ModelInput, RefusedInput
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.object_table import PickedRecord
from odapi_repro.features.show.show_pictures import (
    DrawnObject,
    Tile,
    input_tile,
    record_tile,
    render_tile,
)
from odapi_repro.page.canvas import WARNING, class_colour

_LABELS = LabelMap({1: "cat", 2: "dog"})
_SIDE = 200


def _jpeg(height: int, width: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (100, 100, 100)).save(stream, format="JPEG")
    return stream.getvalue()


def _record(boxes: list[list[float]], classes: list[int] | None = None) -> PickedRecord:
    image = AnnotatedImage(
        source_id="7",
        filename="",
        height=100,
        width=200,
        image_format="jpeg",
        encoded_image=_jpeg(100, 200),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        class_ids=np.array(classes or [1] * len(boxes)),
        is_crowd=np.zeros(len(boxes), np.bool_),
    )
    return PickedRecord(3, b"", image)


@pytest.mark.parametrize("value", [200, 0x8040, 65535])
def test_of_a_16_bit_png_the_high_byte_is_shown(value: int) -> None:
    """What TensorFlow's decode_image gives; Pillow's own conversion clips at 255."""
    stream = io.BytesIO()
    Image.fromarray(np.full((100, 200), value, np.uint16)).save(stream, format="PNG")
    record = _record([])
    assert record.image is not None
    deep = dataclasses.replace(record.image, encoded_image=stream.getvalue())
    pixels = _tile(dataclasses.replace(record, image=deep)).image
    assert pixels is not None
    assert pixels.shape == (100, 200, 3)
    assert np.unique(pixels).tolist() == [value >> 8]


def _tile(record: PickedRecord) -> Tile:
    return record_tile(record, _LABELS, with_masks=True)


def _pixels(tile: Tile) -> NDArray[np.uint8]:
    return np.asarray(render_tile(tile, _SIDE))


def _where(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.int64]:
    rows, columns = np.nonzero((pixels == np.array(colour)).all(axis=2))
    return np.array([rows.min(), columns.min(), rows.max(), columns.max()])


def test_a_box_is_drawn_where_it_is() -> None:
    tile = dataclasses.replace(
        _tile(_record([])), objects=[DrawnObject((0.2, 0.1, 0.8, 0.5), "", 1)]
    )
    # 200 x 100 fills the width, 50 rows above and below are left.
    found = _where(_pixels(tile), class_colour(1))
    expected = [50 + 20, 20, 50 + 80, 100]
    assert np.abs(found - expected).max() <= 20  # the label stands at a corner
    assert found[2:] == pytest.approx(expected[2:], abs=2)


def test_a_box_that_leaves_the_image_is_drawn_beyond_it_in_the_colour_of_warnings() -> None:
    inside, outside = _tile(_record([[0.2, 0.2, 0.8, 0.8]])), _tile(_record([[0.2, 0.2, 0.8, 1.1]]))
    assert not inside.warning
    assert outside.warning == "1 of 1 boxes outside"
    pixels = _pixels(outside)
    grey = (np.abs(pixels.astype(int) - 100) < 6).all(axis=2)
    red = (pixels == np.array(WARNING)).all(axis=2)
    assert np.nonzero(red)[1].max() > np.nonzero(grey)[1].max() + 5
    assert not (_pixels(inside) == np.array(WARNING)).all(axis=2).any()


def test_boxes_in_pixels_are_drawn_as_pixels_and_named() -> None:
    tile = _tile(_record([[20, 20, 80, 100]]))
    assert tile.warning == "1 of 1 boxes outside, up to 100"
    (drawn,) = tile.objects
    assert drawn.box == pytest.approx((0.2, 0.1, 0.8, 0.5))
    assert drawn.text == "cat, if pixels"


def test_what_is_wrong_with_a_record_is_written_below_it() -> None:
    assert _tile(_record([[0.8, 0.1, 0.2, 0.5]])).warning == "1 without area"
    assert _tile(_record([[0.1, 0.1, float("nan"), 0.5]])).warning == "1 not a number"
    unknown = _tile(_record([[0.1, 0.1, 0.2, 0.5]], [5]))
    assert unknown.objects[0].text == "id 5?"
    assert unknown.objects[0].is_wrong
    record = _record([])
    assert record.image is not None
    smaller = dataclasses.replace(record.image, height=50)
    assert _tile(PickedRecord(0, b"", smaller)).warning == "decodes to 200 x 100"
    cut = dataclasses.replace(record.image, encoded_image=record.image.encoded_image[:50])
    tile = _tile(PickedRecord(0, b"", cut))
    assert tile.image is None
    assert tile.message.startswith("the image does not decode")
    assert _tile(PickedRecord(4, b"", None, "no tf.train.Example")).title == "record 4"


def test_masks_are_tinted_and_those_of_another_size_told() -> None:
    def png(height: int, width: int) -> bytes:
        stream = io.BytesIO()
        Image.new("L", (width, height), 1).save(stream, format="PNG")
        return stream.getvalue()

    record = _record([[0.1, 0.1, 0.2, 0.2]])
    assert record.image is not None
    whole = dataclasses.replace(record.image, masks_png=(png(100, 200),))
    tile = _tile(PickedRecord(0, b"", whole))
    red, green, blue = class_colour(1)
    shown = _pixels(tile)[140, 180].astype(int)
    assert np.abs(shown - [(100 + red) / 2, (100 + green) / 2, (100 + blue) / 2]).max() < 4
    other = dataclasses.replace(record.image, masks_png=(png(50, 100),))
    assert "masks are not of the image's size" in _tile(PickedRecord(0, b"", other)).warning


def _input(**changes: object) -> ModelInput:
    one = ModelInput(
        source_id="7",
        image=np.full((100, 100, 3), 100, np.uint8),
        true_height=60,
        true_width=100,
        boxes=np.array([[0.1, 0.1, 0.5, 0.5]], np.float32),
        class_ids=np.array([2]),
        masks=None,
        boxes_in_record=3,
    )
    return dataclasses.replace(one, **changes)  # type: ignore[arg-type]


def test_a_model_input_says_how_many_objects_are_left_and_hatches_padding() -> None:
    tile = input_tile(_input(), _LABELS, draw=1, with_masks=True)
    assert tile.title == "draw 2: 1 of 3 objects"
    assert tile.warning == "2 of 3 objects are gone"
    pixels = _pixels(tile)
    assert (pixels[10:15, 150:160] == 100).all()
    assert not (pixels[130:] == 100).all(axis=2).any()
    whole = input_tile(_input(boxes_in_record=1), _LABELS, draw=0, with_masks=True)
    assert not whole.warning
    assert whole.note == "100 x 100"
    stopped = input_tile(RefusedInput("7", 0, "it stops"), _LABELS, draw=0, with_masks=True)
    assert stopped.warning == "training stops here"
    assert stopped.message == "it stops"


def test_a_class_beyond_num_classes_is_no_class() -> None:
    tile = input_tile(_input(class_ids=np.array([0])), _LABELS, draw=0, with_masks=True)
    assert tile.objects[0].text == "id 0?"
