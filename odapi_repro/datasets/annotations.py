"""One annotated image, and its form as a tf.train.Example with the OD API's keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.example import ParsedExample, make_example, parse_example
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.errors import DataError

# --- One annotated image, and its form as a tf.train.Example with the OD API's keys ---


UNKNOWN_CLASS = -1
"""The id that the OD API's lookup gives a class name that the label map does not hold."""


def _none(shape: tuple[int, ...], dtype: type[Any]) -> Callable[[], NDArray[Any]]:
    return lambda: np.zeros(shape, dtype)


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """An encoded image with its boxes, classes, areas, crowd flags and masks.

    Attributes:
        source_id: the data set's name for the image (COCO's image id as text); may be empty.
        filename: the image's file name; may be empty.
        height: rows in pixels.
        width: columns in pixels.
        image_format: `jpeg` or `png`.
        encoded_image: the compressed image.
        boxes: float32 [N, 4], ymin xmin ymax xmax, as shares of height and width.
        class_ids: int64 [N], 1-based; UNKNOWN_CLASS where neither label nor name decides.
        class_names: N names, or none when the record holds none.
        areas: float32 [N] in pixels, or [0] when the record holds none.
        is_crowd: bool [N].
        masks_png: N PNG masks of height x width, 0 or 1 (any non-zero counts), or none.
        mask_weights: float32 [N], 0 for an object whose mask is not known, or [0]: all are.
        keypoint_names: K names of keypoints; none where the record holds no keypoints.
        keypoints: float32 [N, K, 2], y x as shares of height and width.
        keypoint_visibility: int64 [N, K]: 0 not labelled, 1 hidden, 2 visible.
        keypoint_counts: int64 [N], labelled keypoints of the object.
    """

    source_id: str
    filename: str
    height: int
    width: int
    image_format: str
    encoded_image: bytes
    boxes: NDArray[np.float32] = field(default_factory=_none((0, 4), np.float32))
    class_ids: NDArray[np.int64] = field(default_factory=_none((0,), np.int64))
    class_names: tuple[str, ...] = ()
    areas: NDArray[np.float32] = field(default_factory=_none((0,), np.float32))
    is_crowd: NDArray[np.bool_] = field(default_factory=_none((0,), np.bool_))
    masks_png: tuple[bytes, ...] = ()
    mask_weights: NDArray[np.float32] = field(default_factory=_none((0,), np.float32))
    keypoint_names: tuple[str, ...] = ()
    keypoints: NDArray[np.float32] = field(default_factory=_none((0, 0, 2), np.float32))
    keypoint_visibility: NDArray[np.int64] = field(default_factory=_none((0, 0), np.int64))
    keypoint_counts: NDArray[np.int64] = field(default_factory=_none((0,), np.int64))

    def to_example(self) -> bytes:
        """Gives the serialised Example of `features`."""
        return make_example(self.features())

    def features(self) -> dict[str, Any]:
        """Gives the features by key, with the keys of dataset_tools/create_coco_tf_record.py.

        `image/object/class/label`, which that tool leaves out and
        data_decoders/tf_example_decoder.py falls back to, is among them.
        """
        ymin, xmin, ymax, xmax = np.asarray(self.boxes, np.float32).reshape(-1, 4).T
        features: dict[str, Any] = {
            "image/height": self.height,
            "image/width": self.width,
            "image/filename": self.filename,
            "image/source_id": self.source_id,
            "image/key/sha256": hashlib.sha256(self.encoded_image).hexdigest(),
            "image/encoded": self.encoded_image,
            "image/format": self.image_format,
            "image/object/bbox/xmin": xmin,
            "image/object/bbox/xmax": xmax,
            "image/object/bbox/ymin": ymin,
            "image/object/bbox/ymax": ymax,
            "image/object/class/text": self.class_names,
            "image/object/class/label": np.asarray(self.class_ids, np.int64),
            "image/object/is_crowd": np.asarray(self.is_crowd, np.int64),
            "image/object/area": np.asarray(self.areas, np.float32),
        }
        if self.masks_png:
            features["image/object/mask"] = self.masks_png
        if len(self.mask_weights):
            features["image/object/mask/weight"] = np.asarray(self.mask_weights, np.float32)
        if self.keypoint_names:
            key = "image/object/keypoint"
            features[f"{key}/y"], features[f"{key}/x"] = (
                np.asarray(self.keypoints, np.float32).reshape(-1, 2).T
            )
            features[f"{key}/visibility"] = np.asarray(self.keypoint_visibility, np.int64)
            features[f"{key}/num"] = np.asarray(self.keypoint_counts, np.int64)
            features[f"{key}/text"] = self.keypoint_names * len(self.keypoint_counts)
        return features

    @classmethod
    def from_example(cls, data: bytes, label_map: LabelMap | None = None) -> AnnotatedImage:
        """Gives the image of a serialised Example, its classes as the OD API's decoder has them.

        With a label map and class names in the record, the names decide (name or display name);
        labels are used where the record holds no names (TfExampleDecoder, BackupHandler). Without
        a label map the labels decide. Masks that are not PNG (the old float form) are not read.

        Raises:
            DataError: no Example, no image in it, or lists of unequal length.
        """
        example = parse_example(data)
        encoded = b"".join(example.bytes_list("image/encoded")[:1])
        source_id = example.text("image/source_id")
        filename = example.text("image/filename")
        name = source_id or filename or "an image without source_id and filename"
        if not encoded:
            raise DataError(
                f"the record of {name} has no 'image/encoded'",
                expected="the compressed image under 'image/encoded'",
                mend="write the records as the OD API's dataset_tools do",
            )
        corners = [
            example.floats(f"image/object/bbox/{edge}") for edge in ("ymin", "xmin", "ymax", "xmax")
        ]
        count = len(corners[0])
        names = example.texts("image/object/class/text")
        class_ids = _class_ids(example, names, label_map, count)
        areas = example.floats("image/object/area")
        crowd = example.ints("image/object/is_crowd")
        masks: tuple[bytes, ...] = ()
        if example.kind("image/object/mask") == "bytes_list":
            masks = example.bytes_list("image/object/mask")
        lengths = {
            "bbox/xmin": len(corners[1]),
            "bbox/ymax": len(corners[2]),
            "bbox/xmax": len(corners[3]),
            "class": len(class_ids),
            "class/text": len(names) or count,
            "area": len(areas) or count,
            "is_crowd": len(crowd) or count,
            "mask": len(masks) or count,
        }
        for key, length in lengths.items():
            if length != count:
                raise DataError(
                    f"{name}: image/object/{key} has {length} values, bbox/ymin has {count}",
                    expected="one value per object in every image/object list",
                    mend="write the record again; a list was filtered and its neighbours not",
                )
        height, width = _image_size(example, encoded, name)
        keypoint_names, keypoints, visibility, keypoint_counts = _keypoints(example, count, name)
        return cls(
            source_id=source_id,
            filename=filename,
            height=height,
            width=width,
            image_format=example.text("image/format", "jpeg"),
            encoded_image=encoded,
            boxes=np.stack(corners, axis=1),
            class_ids=class_ids,
            class_names=names,
            areas=areas,
            is_crowd=crowd.astype(np.bool_) if len(crowd) else np.zeros(count, np.bool_),
            masks_png=masks,
            mask_weights=example.floats("image/object/mask/weight"),
            keypoint_names=keypoint_names,
            keypoints=keypoints,
            keypoint_visibility=visibility,
            keypoint_counts=keypoint_counts,
        )


def _keypoints(
    example: ParsedExample, count: int, name: str
) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Gives names, places, visibilities and numbers of the keypoints; empty for none."""
    y, x = (example.floats(f"image/object/keypoint/{axis}") for axis in "yx")
    visibility = example.ints("image/object/keypoint/visibility")
    if not count or not len(x):
        empty = np.zeros((count, 0), np.int64)
        return (), np.zeros((count, 0, 2), np.float32), empty, np.zeros(0, np.int64)
    if len(x) != len(y) or len(x) % count or len(visibility) not in (0, len(x)):
        raise DataError(
            f"{name}: {len(x)} x, {len(y)} y and {len(visibility)} visibilities of keypoints for "
            f"{count} objects",
            expected="as many keypoints for every object",
            mend="write the record again",
        )
    points = len(x) // count
    names = example.texts("image/object/keypoint/text")[:points]
    if len(names) < points:
        names = tuple(map(str, range(points)))
    if not len(visibility):
        visibility = np.full(len(x), 2, np.int64)
    counts = example.ints("image/object/keypoint/num")
    visibility = visibility.reshape(count, points)
    if len(counts) != count:
        counts = np.count_nonzero(visibility, axis=1).astype(np.int64)
    return names, np.stack([y, x], axis=1).reshape(count, points, 2), visibility, counts


def _class_ids(
    example: ParsedExample, names: tuple[str, ...], label_map: LabelMap | None, count: int
) -> NDArray[np.int64]:
    if names and label_map is not None:
        return np.array([label_map.id_of(name) or UNKNOWN_CLASS for name in names], np.int64)
    labels = example.ints("image/object/class/label")
    if not len(labels) and count and names:
        return np.full(count, UNKNOWN_CLASS, np.int64)
    return labels


def _image_size(example: ParsedExample, encoded: bytes, name: str) -> tuple[int, int]:
    """Gives height and width; from the image's own header when the record leaves them out."""
    height, width = example.ints("image/height"), example.ints("image/width")
    if len(height) and len(width) and height[0] > 0 and width[0] > 0:
        return int(height[0]), int(width[0])
    from odapi_repro.datasets.image_file import opened_image

    try:
        with opened_image(encoded, max_pixels=None) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"{name}: no image/height and image/width, and the image does not decode ({error})",
            expected="a JPEG or PNG under 'image/encoded'",
            mend="write the record again",
        ) from error


# --- One image as a pipeline hands it to the model: augmented, resized, padded, with what is left
# ---


@dataclass(frozen=True, eq=False)
class ModelInput:
    """One draw of one record: the same record drawn again is augmented otherwise.

    Attributes:
        source_id: the record's `image/source_id`; empty where it has none.
        image: uint8 [H, W, 3], RGB, augmented and resized; the feature extractor's normalisation
            is left out. Padding is black.
        true_height: rows of the image without padding.
        true_width: columns of the image without padding.
        boxes: float32 [N, 4], ymin xmin ymax xmax, as shares of H and W (padding included).
        class_ids: int64 [N], 1-based; 0 for a class beyond the pipeline's num_classes, of which
            the model is taught nothing.
        masks: bool [N, H, W], or None where the pipeline loads none.
        boxes_in_record: objects in the record before anything was done to it.
    """

    source_id: str
    image: NDArray[np.uint8]
    true_height: int
    true_width: int
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    masks: NDArray[np.bool_] | None
    boxes_in_record: int


@dataclass(frozen=True)
class RefusedInput:
    """A record at which the OD API's input functions stop, as training would.

    Attributes:
        source_id: the record's `image/source_id`; empty where it has none.
        draw: which draw it was, from 0.
        message: what TensorFlow says, after what is wrong where that is known.
        mend: how to mend that; empty where it is not known.
    """

    source_id: str
    draw: int
    message: str
    mend: str = ""


@dataclass(frozen=True, eq=False)
class DrawnInputs:
    """What the input functions gave for some records.

    Attributes:
        inputs: record by record, the draws of each side by side.
        refused: records at which training would stop.
    """

    inputs: tuple[ModelInput, ...]
    refused: tuple[RefusedInput, ...] = ()
