"""Tiles of records as they are, and of what the model gets of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import UNKNOWN_CLASS, AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.limits import IMAGE_PIXELS, TooLarge
from odapi_repro.datasets.model_input import ModelInput, RefusedInput
from odapi_repro.datasets.object_table import PickedRecord
from odapi_repro.features.show.tiles import DrawnObject, Tile
from odapi_repro.page.numbers import count_of

_ABSOLUTE: Final = 2.0
"""Shares above this can be nothing but pixels."""


def name_of(record: PickedRecord) -> str:
    """Gives the record's source id, its file name, or its place among the records."""
    image = record.image
    if image is not None and (image.source_id or image.filename):
        return image.source_id or image.filename
    return f"record {record.position}"


def record_tile(
    record: PickedRecord,
    label_map: LabelMap,
    *,
    with_masks: bool,
    max_pixels: int = IMAGE_PIXELS,
) -> Tile:
    """Gives the record as it is: its own image, boxes and masks.

    An image of more than `max_pixels` is not decoded; the tile says so.
    """
    name = name_of(record)
    image = record.image
    if image is None:
        return Tile(None, title=name, warning="no readable record", message=record.problem)
    title = f"{name}: {count_of(len(image.boxes), 'object')}"
    pixels, problem = _decoded(image.encoded_image, max_pixels)
    if pixels is None:
        return Tile(None, title=title, warning="does not decode", message=problem)
    masks, mask_problem = _masks(image, pixels.shape[:2], max_pixels) if with_masks else ([], "")
    objects = [
        DrawnObject(
            box=(box[0], box[1], box[2], box[3]),
            text=_text(label_map, int(image.class_ids[i]), image, i),
            class_id=int(image.class_ids[i]),
            is_crowd=bool(image.is_crowd[i]),
            mask=masks[i] if masks else None,
            is_wrong=_is_wrong(box, int(image.class_ids[i]), label_map),
        )
        for i, box in enumerate(image.boxes.astype(np.float64).tolist())
        if all(map(math.isfinite, box))
    ]
    warnings = [*_warnings(objects, image, pixels.shape[:2]), *filter(None, [mask_problem])]
    shown = [_as_pixels(one, pixels.shape[:2]) for one in objects]
    size = f"{image.width} x {image.height}"
    return Tile(pixels, shown, title=title, note=size, warning="; ".join(warnings))


def input_tile(
    drawn: ModelInput | RefusedInput, label_map: LabelMap, *, draw: int, with_masks: bool
) -> Tile:
    """Gives one draw of a record as the model gets it, and how many objects are left."""
    if isinstance(drawn, RefusedInput):
        return Tile(
            None, title=f"draw {draw + 1}", warning="training stops here", message=drawn.message
        )
    objects = [
        DrawnObject(
            box=(box[0], box[1], box[2], box[3]),
            text=label_map.items.get(int(drawn.class_ids[i]), f"id {drawn.class_ids[i]}?"),
            class_id=int(drawn.class_ids[i]),
            mask=drawn.masks[i] if with_masks and drawn.masks is not None else None,
        )
        for i, box in enumerate(drawn.boxes.astype(np.float64).tolist())
    ]
    height, width = drawn.image.shape[:2]
    left, there = len(objects), drawn.boxes_in_record
    lost = f"{there - left} of {there} objects are gone" if left < there else ""
    return Tile(
        drawn.image,
        objects,
        title=f"draw {draw + 1}: {left} of {there} objects",
        note=f"{width} x {height}",
        warning=lost,
        unpadded=(drawn.true_height, drawn.true_width),
    )


def _text(label_map: LabelMap, class_id: int, image: AnnotatedImage, index: int) -> str:
    if class_id in label_map.items:
        name = label_map.items[class_id]
    elif class_id == UNKNOWN_CLASS and image.class_names:
        name = f"'{image.class_names[index]}'?"
    else:
        name = f"id {class_id}?"
    return f"{name} (crowd)" if image.is_crowd[index] else name


def _as_pixels(one: DrawnObject, size: tuple[int, ...]) -> DrawnObject:
    """Where a box that cannot be shares would be, were its numbers pixels of the image."""
    if max(map(abs, one.box)) <= _ABSOLUTE:
        return one
    ymin, xmin, ymax, xmax = one.box
    height, width = size
    return dataclasses.replace(
        one,
        box=(ymin / height, xmin / width, ymax / height, xmax / width),
        text=f"{one.text}, if pixels",
        is_wrong=True,
    )


def _is_wrong(box: list[float], class_id: int, label_map: LabelMap) -> bool:
    ymin, xmin, ymax, xmax = box
    return not (ymax > ymin and xmax > xmin) or class_id not in label_map.items


def _warnings(
    objects: list[DrawnObject], image: AnnotatedImage, pixels: tuple[int, ...]
) -> list[str]:
    found = []
    if pixels != (image.height, image.width):
        found.append(f"decodes to {pixels[1]} x {pixels[0]}")
    outside = [one for one in objects if one.overruns]
    if outside:
        farthest = max(max(map(abs, one.box)) for one in outside)
        absolute = f", up to {farthest:.4g}" if farthest > _ABSOLUTE else ""
        found.append(f"{len(outside)} of {len(objects)} boxes outside{absolute}")
    if len(objects) < len(image.boxes):
        found.append(f"{len(image.boxes) - len(objects)} not a number")
    flat = sum(one.box[2] <= one.box[0] or one.box[3] <= one.box[1] for one in objects)
    if flat:
        found.append(f"{flat} without area")
    return found


def _decoded(
    encoded: bytes, max_pixels: int, mode: str = "RGB"
) -> tuple[NDArray[np.uint8] | None, str]:
    from PIL import Image

    from odapi_repro.datasets.image_file import opened_image

    try:
        with opened_image(encoded, max_pixels) as image:
            if not image.mode.startswith("I"):
                return np.asarray(image.convert(mode)), ""
            # 16 bits: Pillow would clip them at 255, and TensorFlow takes the high byte.
            high = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return np.asarray(high.convert(mode)), ""
    except TooLarge as error:
        return None, f"the image {error}"
    except (OSError, ValueError, SyntaxError) as error:
        # Pillow prints the address of its stream.
        return None, "the image does not decode: " + str(error).split("<_io")[0].strip()


def _masks(
    image: AnnotatedImage, size: tuple[int, ...], max_pixels: int
) -> tuple[list[NDArray[np.bool_] | None], str]:
    masks: list[NDArray[np.bool_] | None] = []
    problem = ""
    for encoded in image.masks_png:
        pixels, _ = _decoded(encoded, max_pixels, "L")
        if pixels is None:
            problem = "a mask does not decode"
            masks.append(None)
        elif pixels.shape != size:
            problem = "masks are not of the image's size"
            masks.append(None)
        else:
            masks.append(pixels > 0)
    return masks, problem
