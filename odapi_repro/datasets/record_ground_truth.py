"""COCO ground truth from records, in the way the OD API's own evaluation builds it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import DataError


def coco_ground_truth(
    files: Sequence[str | os.PathLike[str]],
    label_map: LabelMap,
    *,
    with_masks: bool,
    integer_ids: bool = False,
    max_pixels: int = IMAGE_PIXELS,
) -> dict[str, Any]:
    """Gives a COCO instances data set (`images`, `annotations`, `categories`), in record order.

    An image's `id` is its source_id, a string; where any source_id is empty or given twice, every
    image gets a running number from 1 instead, and `info.image_ids` says `running_number`. With
    `integer_ids`, source_ids that are all decimal become integers, as in COCO's own files.

    As in metrics/coco_tools.py (ExportSingleImageGroundtruthToCoco): boxes are float32, scaled to
    pixels; area is the record's where above 0, else the box's; objects of classes that the label
    map does not hold are dropped, and their annotation ids stay unused.

    Raises:
        DataError: files that do not read, or `with_masks` and an object has no PNG mask, or one of
            more than `max_pixels`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    source_ids: list[str] = []
    owners: list[int] = []  # position of an annotation's image
    next_id = 1
    for file in files:
        for data in read_records(file):
            image = AnnotatedImage.from_example(data, label_map)
            for annotation in _annotations(image, label_map, next_id, with_masks, file, max_pixels):
                annotations.append(annotation)
                owners.append(len(images))
            next_id += len(image.boxes)
            source_ids.append(image.source_id)
            images.append(
                {"file_name": image.filename, "height": image.height, "width": image.width}
            )
    kind, image_ids = _image_ids(source_ids, integer_ids=integer_ids)
    return {
        "info": {"description": "made from records by odapi_repro", "image_ids": kind},
        "images": [{"id": i, **image} for i, image in zip(image_ids, images, strict=True)],
        "annotations": [
            {**annotation, "image_id": image_ids[owner]}
            for annotation, owner in zip(annotations, owners, strict=True)
        ],
        "categories": label_map.categories(),
    }


def decode_mask(
    mask_png: bytes, *, where: str, max_pixels: int = IMAGE_PIXELS
) -> NDArray[np.uint8]:
    """Gives a PNG mask as uint8 [height, width] of 0 and 1; any non-zero pixel counts.

    Raises:
        DataError: the PNG does not decode.
    """
    from odapi_repro.datasets.image_file import opened_image

    try:
        with opened_image(mask_png, max_pixels) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"a mask does not decode: {error}",
            expected="PNG masks under 'image/object/mask'",
            mend="write the records again with --include_masks",
            where=where,
        ) from error
    if pixels.ndim == 3:  # the OD API decodes masks with channels=1; ours may carry more
        pixels = pixels[..., 0]
    return (pixels > 0).astype(np.uint8)


def _annotations(
    image: AnnotatedImage,
    label_map: LabelMap,
    next_id: int,
    with_masks: bool,
    file: str | os.PathLike[str],
    max_pixels: int,
) -> list[dict[str, Any]]:
    if with_masks and len(image.boxes) and not image.masks_png:
        raise DataError(
            f"image '{image.source_id or image.filename}' has boxes and no PNG masks",
            expected="masks under 'image/object/mask'",
            mend="write the records again with --include_masks, or evaluate boxes only",
            where=str(file),
        )
    # float32 throughout, as box_list_ops.to_absolute_coordinates leaves them.
    scale = np.array([image.height, image.width, image.height, image.width], np.float32)
    found = []
    for i, (ymin, xmin, ymax, xmax) in enumerate(image.boxes * scale):
        class_id = int(image.class_ids[i])
        if class_id not in label_map.items:
            continue
        area = image.areas[i] if len(image.areas) and image.areas[i] > 0 else None
        annotation = {
            "id": next_id + i,
            "category_id": class_id,
            "bbox": [float(xmin), float(ymin), float(xmax - xmin), float(ymax - ymin)],
            "area": float((ymax - ymin) * (xmax - xmin) if area is None else area),
            "iscrowd": int(image.is_crowd[i]),
        }
        if with_masks:
            annotation["segmentation"] = _rle(image, i, file, max_pixels)
        found.append(annotation)
    return found


def _rle(
    image: AnnotatedImage, i: int, file: str | os.PathLike[str], max_pixels: int
) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    mask = decode_mask(image.masks_png[i], where=str(file), max_pixels=max_pixels)
    if mask.shape != (image.height, image.width):
        raise DataError(
            f"image '{image.source_id or image.filename}': a mask of {mask.shape[0]} x "
            f"{mask.shape[1]} on an image of {image.height} x {image.width}",
            expected="masks of the image's height and width",
            mend="write the records again",
            where=str(file),
        )
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}


def _image_ids(
    source_ids: Sequence[str], *, integer_ids: bool
) -> tuple[str, Sequence[str] | Sequence[int]]:
    if not all(source_ids) or len(set(source_ids)) < len(source_ids):
        return "running_number", range(1, len(source_ids) + 1)
    if integer_ids and all(_is_canonical_integer(text) for text in source_ids):
        return "source_id", [int(text) for text in source_ids]
    return "source_id", source_ids


def _is_canonical_integer(text: str) -> bool:
    """Tells whether `text` is how Python prints a non-negative integer of at most 18 digits."""
    return len(text) <= 18 and text.isascii() and text.isdigit() and str(int(text)) == text
