"""What a conversion is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.datasets.limits import IMAGE_BYTES, IMAGE_PIXELS


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
