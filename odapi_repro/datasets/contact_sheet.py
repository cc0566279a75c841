"""A contact sheet: images of a data set with their boxes, class names and masks drawn in."""

from __future__ import annotations

import colorsys
import io
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.tfrecord import read_records
from odapi_repro.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["contact_sheet"]

_TILE = 256
_GAP = 6
_PAPER = (245, 245, 245)
_MASK_OPACITY = 0.45


def contact_sheet(
    files: Sequence[str | os.PathLike[str]],
    label_map: LabelMap,
    path: str | os.PathLike[str],
    *,
    columns: int = 6,
    rows: int = 4,
    with_masks: bool = False,
) -> int:
    """Writes the first `columns` x `rows` images of `files` as one PNG and gives their number.

    Each image is fitted into a square of 256 pixels. Boxes carry the class name as the OD API
    would decode it; crowd regions are marked `(crowd)`, masks are tinted.

    Raises:
        DataError: no image at all, an image that does not decode, or `path` cannot be written.
    """
    from PIL import Image

    sheet = Image.new(
        "RGB", (columns * (_TILE + _GAP) + _GAP, rows * (_TILE + _GAP) + _GAP), _PAPER
    )
    count = 0
    records = itertools.chain.from_iterable(read_records(file) for file in files)
    for data in itertools.islice(records, columns * rows):
        image = AnnotatedImage.from_example(data, label_map)
        tile = _tile(image, label_map, with_masks=with_masks)
        row, column = divmod(count, columns)
        sheet.paste(tile, (_GAP + column * (_TILE + _GAP), _GAP + row * (_TILE + _GAP)))
        count += 1
    if not count:
        raise DataError(
            "there is no image to draw",
            expected="records with at least one example",
            mend="name record files that hold images",
            where=", ".join(str(file) for file in itertools.islice(files, 3)),
        )
    try:
        sheet.save(path, format="PNG")
    except OSError as error:
        raise DataError(
            f"cannot write the contact sheet: {error.strerror or error}",
            expected="a file in a folder that can be written",
            mend="name another file",
            where=str(path),
        ) from error
    return count


def _tile(image: AnnotatedImage, label_map: LabelMap, *, with_masks: bool) -> Image.Image:
    from PIL import Image, ImageDraw

    picture = _decoded(image.encoded_image, image.source_id or image.filename, "RGB")
    scale = _TILE / max(picture.size)
    if with_masks:
        picture = Image.fromarray(_tinted(np.asarray(picture), image))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    picture = picture.resize((width, height))
    draw = ImageDraw.Draw(picture)
    for i, (ymin, xmin, ymax, xmax) in enumerate(image.boxes.tolist()):
        class_id = int(image.class_ids[i])
        colour = _class_colour(class_id)
        left, right = sorted((xmin * width, xmax * width))
        top, bottom = sorted((ymin * height, ymax * height))
        draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=2)
        name = label_map.items.get(class_id, f"id {class_id}?")
        text = f"{name} (crowd)" if image.is_crowd[i] else name
        room = draw.textbbox((left + 2, max(top - 11, 0)), text)
        draw.rectangle(room, fill=colour)
        draw.text(room[:2], text, fill="black", anchor="lt")
    return picture


def _tinted(pixels: NDArray[np.uint8], image: AnnotatedImage) -> NDArray[np.uint8]:
    tinted = pixels.astype(np.float32)
    for mask_png, class_id in zip(image.masks_png, image.class_ids, strict=True):
        mask = np.asarray(_decoded(mask_png, "a mask", "L")) > 0
        if mask.shape == tinted.shape[:2]:
            colour = np.array(_class_colour(int(class_id)), np.float32)
            tinted[mask] += _MASK_OPACITY * (colour - tinted[mask])
    return tinted.astype(np.uint8)


def _decoded(encoded: bytes, name: str, mode: str) -> Image.Image:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return image.convert(mode)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{name or 'an image'} does not decode: {error}",
            expected="a JPEG or PNG",
            mend="write the record again",
        ) from error


def _class_colour(class_id: int) -> tuple[int, int, int]:
    """Gives a colour by class; steps of the golden ratio keep neighbouring ids apart."""
    rgb: Iterable[float] = colorsys.hsv_to_rgb((class_id * 0.618034) % 1.0, 0.75, 1.0)
    red, green, blue = (round(255 * v) for v in rgb)
    return red, green, blue
