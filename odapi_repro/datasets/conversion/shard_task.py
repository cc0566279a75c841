"""What a shard is to hold, how it is to be made, and what became of it: sent between processes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.image_source import ImageFile
from odapi_repro.datasets.limits import IMAGE_BYTES, IMAGE_PIXELS
from odapi_repro.datasets.records import RecordFile


@dataclass(frozen=True)
class Slots:
    """Where the keypoints of each category stand in an object's list.

    Attributes:
        names: all keypoints' names.
        of_category: places in `names`, by category id.
    """

    names: tuple[str, ...] = ()
    of_category: dict[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How all shards of a split are made.

    Attributes:
        annotations: the json, which the outlines are read from.
        keypoint_annotations: the json that the keypoints are read from.
        class_names: by category id.
        class_ids: id in the label map, by category id.
        include_masks: whether masks are written.
        slots: keypoints to write; without names, none are.
        drop_bad_images: leave images out that cannot be used, or make no shard that has any.
        size_mismatch: `refuse`, `rescale` or `drop` where the file's size is not the json's.
        decode_images: decode every image, instead of a look at its header and end.
        max_image_pixels: pixels that an image may have.
        max_unpacked_bytes: bytes that an image file may have.
    """

    annotations: str
    keypoint_annotations: str
    class_names: dict[int, str]
    class_ids: dict[int, int]
    include_masks: bool
    slots: Slots
    drop_bad_images: bool
    size_mismatch: str
    decode_images: bool
    max_image_pixels: int = IMAGE_PIXELS
    max_unpacked_bytes: int = IMAGE_BYTES


@dataclass(frozen=True, eq=False)
class ShardTask:
    """The images of a shard and their objects; those of image i begin at `first[i]`.

    Attributes:
        path: the file to write.
        inputs: digest of what the shard is made from.
        numbers: int64 [n], numbers of the images in the json.
        files: n image files.
        source_ids: n ids.
        heights: int64 [n] as in the json.
        widths: int64 [n] as in the json.
        first: int64 [n + 1].
        category_ids: int64 [objects].
        boxes: float32 [objects, 4], ymin xmin ymax xmax as shares.
        areas: float64 [objects] in pixels, NaN where not known.
        crowd: bool [objects].
        outlines: int64 [objects, 2], begin and length in the json; -1, 0 for none.
        keypoints: int64 [objects, 2], the same in the json of the keypoints.
        num_keypoints: int64 [objects].
    """

    path: str
    inputs: str
    numbers: NDArray[np.int64]
    files: tuple[ImageFile, ...]
    source_ids: tuple[str, ...]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    first: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    outlines: NDArray[np.int64]
    keypoints: NDArray[np.int64]
    num_keypoints: NDArray[np.int64]


@dataclass(frozen=True)
class Bad:
    """An image that cannot be used as it is.

    Attributes:
        number: of the image in the json.
        name: its file's.
        reason: what is wrong with it, to be read after the name.
        is_size: whether it is its size alone.
    """

    number: int
    name: str
    reason: str
    is_size: bool = False


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a shard.

    Attributes:
        inputs: of the task.
        file: the shard; None when it was not made because of bad images.
        bad: images that could not be used.
        rescaled: numbers of images whose annotations were brought to the file's size, with the
            factor that areas were multiplied by.
        counts: of formats (`format jpeg`), of images turned by EXIF (`turned`), of objects whose
            mask is not known (`no mask`), is damaged (`damaged mask`) or has no pixel
            (`empty mask`), of objects without an area in the json (`no area`), of objects with
            keypoints (`with keypoints`) and of damaged ones (`damaged keypoints`).
    """

    inputs: str
    file: RecordFile | None
    bad: tuple[Bad, ...]
    rescaled: tuple[tuple[int, float], ...]
    counts: dict[str, int]
