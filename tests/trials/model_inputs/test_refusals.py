"""What TensorFlow says of a record becomes what is wrong with it, where that gives the message.

Each message was seen from the OD API's own input functions with such a record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odapi_repro.datasets.example import make_example, parse_example
from odapi_repro.pipeline import Pipeline, set_field
from odapi_repro.reference import reference_named
from odapi_repro.trials.model_inputs.drawing import explained_refusal

EMPTY = "indices[0] = 0 is not in [0, 0)"
ONE = "indices[1] = 1 is not in [0, 1)"
EDGES = ("ymin", "xmin", "ymax", "xmax")


def ragged(values: int, multiple: int) -> str:
    return (
        f"Input to reshape is a tensor with {values} values, but the requested shape requires a "
        f"multiple of {multiple}"
    )


def record(**changes: Any) -> Any:
    """Two boxes with classes; `keypoint` gives x and y so many values."""
    features: dict[str, Any] = {f"image/object/bbox/{edge}": np.full(2, 0.5) for edge in EDGES}
    features |= {"image/object/class/label": [1, 1], "image/height": [4], "image/width": [5]}
    for key, value in changes.items():
        features[f"image/object/{key.replace('__', '/')}"] = value
    return parse_example(make_example(features))


def keypoints(x: int, y: int | None = None) -> Any:
    return record(keypoint__x=np.full(x, 0.5), keypoint__y=np.full(x if y is None else y, 0.5))


def reading(reference: str = "centernet_hourglass104_512_kpts", **fields: Any) -> Pipeline:
    def edit(proto: Any) -> None:
        for key, value in fields.items():
            set_field(proto, f"train_input_reader.{key}", value)

    return reference_named(reference).pipeline().edited(edit)


MASKS = {"load_instance_masks": True, "mask_type": "PNG_MASKS"}
BOXES = "ssd_mobilenet_v2_320"


@pytest.mark.parametrize(
    ("message", "example", "pipeline", "found"),
    [
        (EMPTY, record(), reading(), "2 boxes and no keypoints, and num_keypoints is 17"),
        (ONE, keypoints(17), reading(), "17 keypoint values for 2 boxes"),
        (ragged(34, 16), keypoints(34), reading(num_keypoints=16), "34 keypoint values"),
        (ragged(68, 32), keypoints(34), reading(num_keypoints=16), "34 keypoint values"),
        (
            "ConcatOp : Dimension 0 in both shapes must be equal: shape[0] = [33,1]",
            keypoints(34, 33),
            reading(),
            "34 values in keypoint/x and 33 in keypoint/y",
        ),
        (EMPTY, record(class__label=[]), reading(BOXES), "2 boxes and no classes"),
        (ONE, record(class__label=[1]), reading(BOXES), "2 boxes and 1 class"),
        (EMPTY, record(), reading(BOXES, **MASKS), "2 boxes and no masks"),
        (ONE, record(mask=[b"png"]), reading(BOXES, **MASKS), "2 boxes and 1 mask"),
        (
            ragged(35, 20),
            record(mask=np.ones(35)),
            reading(BOXES, load_instance_masks=True),
            "35 mask values, of 20 pixels an image",
        ),
        (ragged(3, 2), record(area=np.ones(3)), reading(BOXES), "3 values of image/object/area"),
        (ragged(1, 2), record(difficult=[1]), reading(BOXES), "1 values of image/object/difficult"),
        (
            "ConcatOp : Dimension 1 in both shapes must be equal: shape[0] = [1,2]",
            record(bbox__xmax=[0.5]),
            reading(BOXES),
            "1 values in bbox/xmax and 2 in bbox/ymin",
        ),
    ],
)
def test_a_message_is_told_by_what_is_wrong(message, example, pipeline, found) -> None:
    told, mend = explained_refusal(message, example, pipeline)
    assert told.startswith(found)
    assert told.endswith(f"({message})")
    assert mend


def test_a_permutation_beyond_the_keypoints_is_told_as_such() -> None:
    field = "train_config.data_augmentation_options[0].random_horizontal_flip"
    pipeline = reading().edited(
        lambda proto: set_field(proto, f"{field}.keypoint_flip_permutation", [*range(16), 17])
    )
    message = "indices[16] = 17 is not in [0, 17)"
    told, _ = explained_refusal(message, keypoints(34), pipeline)
    assert told.startswith("keypoint_flip_permutation of random_horizontal_flip has 17")


def test_a_reader_whose_model_has_no_keypoints_is_to_do_without() -> None:
    pipeline = reading("centernet_hourglass104_512", num_keypoints=17)
    assert "leave num_keypoints out" in explained_refusal(EMPTY, record(), pipeline)[1]
    assert "with keypoints" in explained_refusal(EMPTY, record(), reading())[1]


@pytest.mark.parametrize(
    ("message", "example"),
    [
        ("assertion failed", record()),
        (EMPTY, keypoints(34)),
        (ragged(7, 3), keypoints(34)),
        ("indices[0] = 3 is not in [0, 2)", keypoints(34)),
        (EMPTY, record(keypoint__x=[1, 2])),
    ],
)
def test_a_message_that_nothing_explains_stays_as_it_is(message, example) -> None:
    assert explained_refusal(message, example, reading()) == (message, "")
