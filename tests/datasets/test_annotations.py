"""Annotated images as Examples: the OD API's keys, its rule for classes, damaged records."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.datasets.annotations import UNKNOWN_CLASS, AnnotatedImage
from odapi_repro.datasets.embedded import EmbeddedDataset
from odapi_repro.datasets.example import make_example, parse_example
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import DataError

_JPEG = cv2.imencode(".jpg", np.zeros((6, 8, 3), np.uint8))[1].tobytes()
_CATS = LabelMap({3: "cat", 7: "dog"}, {7: "hound"})


def _record(**features: object) -> bytes:
    one_box = {f"image/object/bbox/{edge}": [0.25] for edge in ("ymin", "xmin")}
    one_box |= {f"image/object/bbox/{edge}": [0.75] for edge in ("ymax", "xmax")}
    keys = {name.replace("__", "/"): value for name, value in features.items()}
    return make_example({"image/encoded": _JPEG, **one_box, **keys})  # type: ignore[dict-item]


@settings(max_examples=30, deadline=None)
@given(
    corners=st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=5),
    source_id=st.text(max_size=8),
    data=st.data(),
)
def test_an_image_survives_its_example(
    corners: list[tuple[float, ...]], source_id: str, data: st.DataObject
) -> None:
    count = len(corners)
    image = AnnotatedImage(
        source_id=source_id,
        filename="a.jpg",
        height=6,
        width=8,
        image_format="jpeg",
        encoded_image=_JPEG,
        boxes=np.array(corners, np.float32).reshape(-1, 4),
        class_ids=np.array(
            data.draw(st.lists(st.integers(1, 90), min_size=count, max_size=count)), np.int64
        ),
        class_names=("thing",) * count,
        areas=np.arange(count, dtype=np.float32),
        is_crowd=np.array(
            data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.bool_
        ),
        masks_png=(b"png",) * count,
    )
    again = AnnotatedImage.from_example(image.to_example())
    assert (again.source_id, again.filename, again.height, again.width) == (
        source_id, "a.jpg", 6, 8,
    )  # fmt: skip
    assert again.encoded_image == _JPEG
    assert again.class_names == image.class_names
    assert again.masks_png == image.masks_png
    for name in ("boxes", "class_ids", "areas", "is_crowd"):
        np.testing.assert_array_equal(getattr(again, name), getattr(image, name))
        assert getattr(again, name).dtype == getattr(image, name).dtype


def test_keys_are_those_that_create_coco_tf_record_writes(train_files: list[Path]) -> None:
    records = [data for file in train_files for data in read_records(file)]
    keys = {key for data in records for key in parse_example(data)}
    boxes = {f"image/object/bbox/{edge}" for edge in ("ymin", "xmin", "ymax", "xmax")}
    assert keys == boxes | {
        "image/encoded", "image/filename", "image/format", "image/height", "image/key/sha256",
        "image/object/area", "image/object/class/label", "image/object/class/text",
        "image/object/is_crowd", "image/object/mask", "image/source_id", "image/width",
    }  # fmt: skip


def test_keypoints_survive_their_example() -> None:
    places = np.arange(12, dtype=np.float32).reshape(2, 3, 2) / 12
    image = AnnotatedImage(
        source_id="1",
        filename="a.jpg",
        height=6,
        width=8,
        image_format="jpeg",
        encoded_image=_JPEG,
        boxes=np.array([[0, 0, 1, 1]] * 2, np.float32),
        class_ids=np.ones(2, np.int64),
        areas=np.ones(2, np.float32),
        is_crowd=np.zeros(2, np.bool_),
        keypoint_names=("nose", "tail", "foot"),
        keypoints=places,
        keypoint_visibility=np.array([[2, 1, 0], [0, 0, 2]]),
        keypoint_counts=np.array([2, 1]),
    )
    again = AnnotatedImage.from_example(image.to_example())
    assert again.keypoint_names == image.keypoint_names
    assert np.array_equal(again.keypoints, places)
    assert np.array_equal(again.keypoint_visibility, image.keypoint_visibility)
    assert again.keypoint_counts.tolist() == [2, 1]


def test_keypoints_that_do_not_fit_the_objects_are_a_data_error() -> None:
    keypoints = {f"image/object/keypoint/{axis}": [0.5, 0.5] for axis in "xy"}
    one = _record(**{"image__object__class__label": np.array([3])}, **keypoints)
    assert AnnotatedImage.from_example(one).keypoints.shape == (1, 2, 2)
    keypoints["image/object/keypoint/x"] = [0.5]
    with pytest.raises(DataError, match="1 x, 2 y and 0 visibilities of keypoints for 1 objects"):
        AnnotatedImage.from_example(
            _record(**{"image__object__class__label": np.array([3])}, **keypoints)
        )


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"image__object__class__text": [b"cat"]}, 3),
        ({"image__object__class__text": [b"hound"]}, 7),
        ({"image__object__class__text": [b"fish"]}, UNKNOWN_CLASS),
        ({"image__object__class__text": [b"cat"], "image__object__class__label": [7]}, 3),
        ({"image__object__class__label": [7]}, 7),
    ],
)
def test_names_go_before_labels_as_in_the_od_api(
    features: dict[str, object], expected: int
) -> None:
    image = AnnotatedImage.from_example(_record(**features), _CATS)
    assert image.class_ids.tolist() == [expected]


def test_size_comes_from_the_image_where_the_record_has_none() -> None:
    image = AnnotatedImage.from_example(_record(image__object__class__label=[3]))
    assert (image.height, image.width) == (6, 8)
    assert image.areas.shape == (0,)
    assert image.is_crowd.tolist() == [False]


def test_a_record_without_an_image_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no 'image/encoded'"):
        AnnotatedImage.from_example(make_example({"image/source_id": "17"}))


@pytest.mark.parametrize("key", ["bbox/xmax", "class/label", "area", "is_crowd"])
def test_lists_of_unequal_length_are_a_data_error(key: str) -> None:
    values = [1.0, 2.0] if key in ("bbox/xmax", "area") else [1, 2]
    features = {"image/object/class/label": [3], f"image/object/{key}": values}
    with pytest.raises(DataError, match="has 2 values, bbox/ymin has 1"):
        AnnotatedImage.from_example(_record(**features))


@pytest.mark.tensorflow
def test_the_od_apis_decoder_reads_the_same(
    train_files: list[Path], small: EmbeddedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf = pytest.importorskip("tensorflow")
    from tensorflow.python.ops import control_flow_ops

    # tf_slim asks this module for names that newer TensorFlows keep elsewhere.
    monkeypatch.setattr(control_flow_ops, "case", tf.compat.v1.case, raising=False)
    monkeypatch.setattr(control_flow_ops, "cond", tf.compat.v1.cond, raising=False)
    decoder_module = pytest.importorskip("object_detection.data_decoders.tf_example_decoder")
    from object_detection.protos import input_reader_pb2

    decoder = decoder_module.TfExampleDecoder(
        load_instance_masks=True,
        instance_mask_type=input_reader_pb2.PNG_MASKS,
        label_map_proto_file=str(small.label_map_path),
    )
    for data in read_records(train_files[0]):
        ours = AnnotatedImage.from_example(data)
        theirs = decoder.decode(tf.constant(data))
        np.testing.assert_array_equal(theirs["groundtruth_boxes"], ours.boxes)
        np.testing.assert_array_equal(theirs["groundtruth_classes"], ours.class_ids)
        np.testing.assert_array_equal(theirs["groundtruth_area"], ours.areas)
        np.testing.assert_array_equal(theirs["groundtruth_is_crowd"], ours.is_crowd)
        masks = theirs["groundtruth_instance_masks"].numpy()
        np.testing.assert_array_equal(masks.sum(axis=(1, 2)), ours.areas)
        assert theirs["image"].shape == (ours.height, ours.width, 3)
