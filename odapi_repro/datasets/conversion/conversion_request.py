"""What a conversion is asked to do, and what each shard of it is to hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.image_source import ImageFile
from odapi_repro.datasets.limits import IMAGE_BYTES, IMAGE_PIXELS
from odapi_repro.datasets.records import RecordFile

# --- What a conversion is asked to do ---


@dataclass(frozen=True)
class SplitRequest:
    """One json and its images.

    Attributes:
        name: `train`, `val` ...; shards are named by it.
        annotations: the instances json.
        image_dir: a folder or a zip archive.
        shards: how many; 0 for one a hundred images, 100 at most.
        keypoint_annotations: a json whose annotations of the same ids hold the keypoints.
        subset: share of the images to take, 0 to 1; None for all.
        images: number of images to take; None for all.
    """

    name: str
    annotations: Path
    image_dir: Path
    shards: int = 0
    keypoint_annotations: Path | None = None
    subset: float | None = None
    images: int | None = None


@dataclass(frozen=True)
class ConversionRequest:
    """Splits to convert into one folder, which share a label map.

    Attributes:
        splits: what to convert.
        output_dir: where to.
        include_masks: `auto` (where any kept annotation has an outline), `yes` or `no`.
        classes: names of the classes to keep; all when empty.
        class_ids: `keep` the json's, or number them `consecutive` from 1.
        empty_images: `keep` or `drop` images without any object.
        bad_images: `refuse` or `drop` images that are missing or do not decode.
        check_boxes: refuse boxes that are no x, y, width, height in pixels.
        bad_annotations: `refuse` or `drop` annotations of unknown images and categories.
        size_mismatch: `refuse`, `rescale` or `drop` images of another size than the json says.
        decode_images: decode every image to see that it can be.
        max_image_pixels: pixels that an image may have.
        max_unpacked_bytes: bytes that an image file may have, unpacked.
        seed: of the subset.
        workers: processes.
        overwrite: replace what an earlier conversion of these splits left in the folder.
    """

    splits: tuple[SplitRequest, ...]
    output_dir: Path
    include_masks: str = "auto"
    classes: tuple[str, ...] = ()
    class_ids: str = "keep"
    empty_images: str = "keep"
    bad_images: str = "refuse"
    check_boxes: bool = True
    bad_annotations: str = "refuse"
    size_mismatch: str = "refuse"
    decode_images: bool = False
    max_image_pixels: int = IMAGE_PIXELS
    max_unpacked_bytes: int = IMAGE_BYTES
    seed: int = 0
    workers: int = 1
    overwrite: bool = False

    def flags_of(self, split: SplitRequest) -> dict[str, Any]:
        """Gives what decides the records of a split beside its input, by flag.

        Limits are named where they are not the usual ones, which all earlier conversions had.
        """
        limits = {
            "max_image_pixels": (self.max_image_pixels, IMAGE_PIXELS),
            "max_unpacked_bytes": (self.max_unpacked_bytes, IMAGE_BYTES),
        }
        return {
            **{name: given for name, (given, usual) in limits.items() if given != usual},
            "include_masks": self.include_masks,
            "classes": list(self.classes),
            "class_ids": self.class_ids,
            "empty_images": self.empty_images,
            "bad_images": self.bad_images,
            "bad_annotations": self.bad_annotations,
            "size_mismatch": self.size_mismatch,
            "decode_images": self.decode_images,
            "shards": split.shards,
            "subset": split.subset,
            "images": split.images,
            "seed": self.seed if split.subset is not None or split.images is not None else None,
        }


# --- What a shard is to hold, how it is to be made, and what became of it: sent between processes
# ---


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
