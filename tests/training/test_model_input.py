"""What the model gets: boxes stay on their objects, draws follow the seed, refusals are told."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from odapi_repro.datasets.annotations import AnnotatedImage, DrawnInputs, ModelInput
from odapi_repro.datasets.label_map import LabelMap, write_label_map
from odapi_repro.datasets.tfrecord import write_records
from odapi_repro.errors import UserError
from odapi_repro.pipeline import Pipeline, parse_pipeline
from odapi_repro.pipeline.anchors import read_resizer
from odapi_repro.trials.model_inputs import draw_model_inputs

_COLOURS = {1: (250, 20, 20), 2: (20, 250, 20)}
_GREY = 90
_PIPELINE = """
model {{ faster_rcnn {{
  num_classes: 2
  image_resizer {{ {resizer} }}
  feature_extractor {{ type: "faster_rcnn_resnet50_keras" }}
}} }}
train_config {{ batch_size: 8 {steps} }}
train_input_reader {{ load_instance_masks: true mask_type: PNG_MASKS max_number_of_boxes: 5 }}
"""
_PADDED = (
    "keep_aspect_ratio_resizer { min_dimension: 256 max_dimension: 256 pad_to_max_dimension: true }"
)
_FLIP = "data_augmentation_options { random_horizontal_flip { probability: 1.0 } }"
_RANDOM_CROP = "data_augmentation_options { random_crop_image { min_area: 0.3 } }"
_CROP = (
    "data_augmentation_options { random_scale_crop_and_pad_to_square "
    "{ output_size: 256 scale_min: 0.5 scale_max: 2.0 } }"
)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def _scene(source_id: str, height: int, width: int, seed: int) -> AnnotatedImage:
    """A red rectangle on the left and a green one on the right of a grey image, with masks."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), _GREY, np.uint8)
    boxes, masks = [], []
    for class_id, (left, right) in {1: (0.05, 0.4), 2: (0.6, 0.95)}.items():
        top, bottom = sorted(rng.uniform([0.05, 0.55], [0.45, 0.95]))
        edges = np.rint(np.array([top * height, left * width, bottom * height, right * width]))
        y0, x0, y1, x1 = edges.astype(int)
        pixels[y0:y1, x0:x1] = _COLOURS[class_id]
        mask = np.zeros((height, width), np.uint8)
        mask[y0:y1, x0:x1] = 1
        boxes.append(edges / [height, width, height, width])
        masks.append(_png(mask))
    return AnnotatedImage(
        source_id=source_id,
        filename=f"{source_id}.png",
        height=height,
        width=width,
        image_format="png",
        encoded_image=_png(pixels),
        boxes=np.array(boxes, np.float32),
        class_ids=np.array([1, 2]),
        class_names=("red", "green"),
        is_crowd=np.zeros(2, np.bool_),
        masks_png=tuple(masks),
    )


class Drawer:
    """Records of such scenes, and what is drawn from them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.label_map = folder / "label_map.pbtxt"
        write_label_map(LabelMap({1: "red", 2: "green"}), self.label_map)

    def draw(
        self, pipeline: Pipeline, images: Sequence[AnnotatedImage], *, draws: int, seed: int = 0
    ) -> DrawnInputs:
        file = self._folder / "train.record"
        write_records(file, [image.to_example() for image in images])
        return draw_model_inputs(
            pipeline, [file], self.label_map, images=len(images), draws=draws, seed=seed
        )


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Drawer:
    return Drawer(tmp_path_factory.mktemp("scenes"))


def _pipeline(steps: str, resizer: str = _PADDED) -> Pipeline:
    return parse_pipeline(_PIPELINE.format(steps=steps, resizer=resizer), "my.config")


def _scenes() -> list[AnnotatedImage]:
    return [_scene("11", 120, 160, 0), _scene("", 200, 128, 1), _scene("33", 150, 150, 2)]


def _seen(one: ModelInput, class_id: int) -> NDArray[np.int64]:
    """Where the class's colour is: rows and columns, minimum and maximum plus one."""
    far = np.abs(one.image.astype(int) - np.array(_COLOURS[class_id])).max(axis=2)
    rows, columns = np.nonzero(far < 70)
    return np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])


def _in_pixels(one: ModelInput, index: int) -> NDArray[np.float64]:
    height, width = one.image.shape[:2]
    return one.boxes[index].astype(np.float64) * [height, width, height, width]


@pytest.fixture(scope="module")
def drawn(drawer: Drawer) -> DrawnInputs:
    return drawer.draw(_pipeline(_FLIP + _RANDOM_CROP + _CROP), _scenes(), draws=3)


@pytest.mark.tensorflow
def test_boxes_and_masks_stay_on_their_objects(drawn: DrawnInputs) -> None:
    assert not drawn.refused
    assert len(drawn.inputs) == 9
    left = 0
    for one in drawn.inputs:
        assert one.boxes_in_record == 2
        assert one.image.shape == (256, 256, 3)
        for index, class_id in enumerate(one.class_ids.tolist()):
            left += 1
            assert np.abs(_in_pixels(one, index) - _seen(one, class_id)).max() <= 3
            assert one.masks is not None
            rows, columns = np.nonzero(one.masks[index])
            mask = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
            assert np.abs(mask - _seen(one, class_id)).max() <= 3
        if len(one.boxes) == 2:
            # Flipped: what was on the left is on the right.
            assert one.class_ids.tolist() == [1, 2]
            assert one.boxes[0, 1] > one.boxes[1, 3]
    assert left > 9


@pytest.mark.tensorflow
def test_draws_follow_the_seed_and_differ_from_each_other(
    drawn: DrawnInputs, drawer: Drawer
) -> None:
    assert [one.source_id for one in drawn.inputs] == ["11"] * 3 + [""] * 3 + ["33"] * 3
    again = drawer.draw(_pipeline(_FLIP + _RANDOM_CROP + _CROP), _scenes(), draws=3)
    for one, other in zip(drawn.inputs, again.inputs, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    assert not np.array_equal(drawn.inputs[0].boxes, drawn.inputs[1].boxes)


@pytest.mark.tensorflow
def test_records_whose_keypoints_do_not_fit_are_told_so(drawer: Drawer) -> None:
    good, none, ragged = _scenes()

    def keypoints(image: AnnotatedImage, each: int) -> AnnotatedImage:
        return dataclasses.replace(
            image,
            keypoint_names=tuple(f"k{i}" for i in range(each)),
            keypoints=np.full((2, each, 2), 0.5, np.float32),
            keypoint_visibility=np.full((2, each), 2),
            keypoint_counts=np.full(2, each),
        )

    pipeline = _pipeline("").edited(
        lambda proto: setattr(proto.train_input_reader, "num_keypoints", 3)
    )
    drawn = drawer.draw(pipeline, [keypoints(good, 3), none, keypoints(ragged, 5)], draws=1)
    assert [one.source_id for one in drawn.inputs] == [good.source_id]
    lacking, other = drawn.refused
    assert lacking.message.startswith("2 boxes and no keypoints, and num_keypoints is 3 (indices")
    assert "leave num_keypoints out" in lacking.mend
    assert other.message.startswith("10 keypoint values for 2 boxes, and num_keypoints is 3 (Input")
    assert other.mend


@pytest.mark.tensorflow
def test_a_record_at_which_training_would_stop_is_told_and_disturbs_no_other(
    drawer: Drawer,
) -> None:
    good, swapped, broken = _scenes()
    swapped = dataclasses.replace(swapped, boxes=swapped.boxes[:, [2, 1, 0, 3]])
    broken = dataclasses.replace(broken, encoded_image=broken.encoded_image[:200])
    drawn = drawer.draw(_pipeline(""), [good, swapped, broken, good], draws=2)
    assert [(one.source_id, one.draw) for one in drawn.refused] == [
        ("", 0),
        ("", 1),
        ("33", 0),
        ("33", 1),
    ]
    assert "maximum lies below its minimum" in drawn.refused[0].message
    assert "png" in drawn.refused[2].message.lower()
    assert [one.source_id for one in drawn.inputs] == ["11"] * 4
    first = drawn.inputs[0]
    # Without augmentation the image is the record's, resized: 160 x 120 to 256 x 192, and padded.
    sizes = read_resizer(_pipeline("")).sizes(np.array([120]), np.array([160]))
    assert (first.true_height, first.true_width) == (int(sizes.height[0]), int(sizes.width[0]))
    assert (first.true_height, first.true_width) == (192, 256)
    np.testing.assert_allclose(
        first.boxes * [256, 256, 256, 256], good.boxes * [192, 256, 192, 256], atol=0.01
    )
    assert first.image[:192].min() > 0
    assert first.image[192:].max() == 0


@pytest.mark.tensorflow
def test_an_augmentation_that_the_od_api_refuses_is_told_in_its_words(drawer: Drawer) -> None:
    with pytest.raises(UserError, match=r"my\.config: .* Unknown preprocessing step"):
        drawer.draw(_pipeline("data_augmentation_options { }"), _scenes(), draws=1)


# Gives, of each model, its own preprocess of an image, and the extractor's normalisation of what
# the resizer alone makes of it.
_NORMALISED = """
import sys
from odapi_repro.training.compat import apply_patches
apply_patches()
import numpy as np
import tensorflow as tf
from object_detection.builders import model_builder
from odapi_repro.reference import reference_named
from odapi_repro.training.model_input_job import _Resizer
image = tf.random.stateless_uniform([1, 90, 130, 3], seed=[1, 2], maxval=255.0)
for name in sys.argv[1:]:
    proto = reference_named(name).pipeline().proto.model
    model = model_builder.build(proto, is_training=True)
    theirs, their_shape = model.preprocess(image)
    ours, our_shape = _Resizer(proto).preprocess(image)
    height, width = our_shape.numpy()[0, :2]
    difference = model._feature_extractor.preprocess(ours) - theirs
    part = difference.numpy()[0, :height, :width]
    print(name, bool((their_shape == our_shape).numpy().all()), float(np.abs(part).max()))
"""


@pytest.mark.tensorflow
def test_what_is_shown_is_what_the_model_normalises(repository: Path) -> None:
    names = ["efficientdet_d0", "ssd_mobilenet_v2_320", "faster_rcnn_resnet50_v1_640"]
    child = subprocess.run(
        [sys.executable, "-c", _NORMALISED, *names],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    rows = [line.split() for line in child.stdout.strip().splitlines()]
    assert [row[0] for row in rows] == names
    for _, same_shape, difference in rows:
        assert same_shape == "True"
        # Of normalised values, so a hundredth of the least step between two pixels.
        assert float(difference) < 1e-4
