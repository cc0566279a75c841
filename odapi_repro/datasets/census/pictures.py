"""Encoded images and masks looked at: whether they decode, their size, a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from odapi_repro.datasets.bmp import bmp_fault
from odapi_repro.datasets.census.columns import (
    MASK_EMPTY,
    MASK_OK,
    MASK_OTHER_SIZE,
    MASK_UNREADABLE,
    THUMBNAIL,
)
from odapi_repro.datasets.ground_truth import decode_mask
from odapi_repro.datasets.image_file import opened_image
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.errors import DataError

# What the OD API's decoder takes; Pillow calls a JPEG with a second picture in it MPO. Of a GIF,
# tf.io.decode_image gives the frames as one dimension more, at which the OD API stops.
_DECODED_BY_TENSORFLOW = frozenset({"JPEG", "MPO", "PNG", "BMP"})
_ORIENTATION = 0x0112
_ONE_CHANNEL = frozenset({"1", "L", "P"})
# The least side that a JPEG is decoded to; each of libjpeg's scales halves the work on pixels,
# while every bit of the file is still read.
_LEAST_SIDE = 96


@dataclass(frozen=True, eq=False)
class Picture:
    """An image that was decoded.

    Attributes:
        height: rows.
        width: columns.
        orientation: EXIF's, 1 where there is none.
        thumbnail: uint8 [16, 16, 3]; zeros where there is a fault.
        fault: why the pixels do not decode; empty where they do.
    """

    height: int
    width: int
    orientation: int
    thumbnail: NDArray[np.uint8]
    fault: str = ""


@dataclass(frozen=True)
class MaskFacts:
    """A mask: its state, its own box (ymin xmin ymax xmax, exclusive, in pixels), its pixels."""

    state: int
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    pixels: int = 0


def look_at_image(encoded: bytes, max_pixels: int = IMAGE_PIXELS) -> Picture:
    """Decodes an image to its last byte and gives what it is; never raises for bad data.

    A JPEG is decoded at an eighth to a half of its size, which reads all of its entropy-coded data:
    one that is truncated is found, as tf.io.decode_jpeg refuses it.
    """
    try:
        with opened_image(encoded, max_pixels) as image:
            if image.format not in _DECODED_BY_TENSORFLOW:
                return _faulty(f"{image.format} is no format that the OD API decodes")
            if image.format == "BMP" and (fault := bmp_fault(encoded)):
                return _faulty(fault)
            width, height = image.size
            orientation = image.getexif().get(_ORIENTATION, 1) if "exif" in image.info else 1
            image.draft("RGB", (_LEAST_SIDE, _LEAST_SIDE))
            small = image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError) as error:
        return _faulty(_said(error))
    turned = int(orientation) if orientation in range(1, 9) else 1
    return Picture(height, width, turned, np.asarray(small))


def look_at_mask(
    mask_png: bytes, height: int, width: int, max_pixels: int = IMAGE_PIXELS
) -> MaskFacts:
    """Gives the facts of a PNG mask on an image of `height` x `width`."""
    try:
        mask = _one_channel(mask_png, max_pixels)
    except (DataError, OSError, ValueError, SyntaxError):
        return MaskFacts(MASK_UNREADABLE)
    if mask.size != (width, height):
        return MaskFacts(MASK_OTHER_SIZE)
    edges = mask.getbbox()
    if edges is None:
        return MaskFacts(MASK_EMPTY)
    left, top, right, bottom = edges
    pixels = int(np.count_nonzero(np.asarray(mask.crop(edges))))
    return MaskFacts(MASK_OK, (top, left, bottom, right), pixels)


def _one_channel(mask_png: bytes, max_pixels: int) -> Image.Image:
    """Gives a mask in which what is not 0 belongs to the object; as `decode_mask` has it."""
    with opened_image(mask_png, max_pixels) as image:
        if image.mode in _ONE_CHANNEL:  # nearly all; Pillow finds the edges faster than numpy
            image.load()
            return image
    return Image.fromarray(decode_mask(mask_png, where="", max_pixels=max_pixels))


def _said(error: BaseException) -> str:
    """What Pillow says, without the address of the buffer."""
    text = str(error) or type(error).__name__
    return "no image that can be identified" if "cannot identify" in text else text


def _faulty(fault: str) -> Picture:
    return Picture(0, 0, 1, np.zeros((THUMBNAIL, THUMBNAIL, 3), np.uint8), fault)
