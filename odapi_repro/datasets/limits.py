"""How large packed things may be, and outlines: known before memory is taken, never afterwards.

A small file may stand for any number of bytes: a PNG of 20 KB for a gigabyte of pixels, a zip of
1 MB for a gigabyte of zeros. No ordinary data set comes near these limits; a flag raises each.
Those of outlines are pycocotools' own: it takes anything, and crashes or fills the memory beyond.
"""

from __future__ import annotations

from odapi_repro.errors import DataError

IMAGE_PIXELS = 100_000_000
"""Pixels of an image; 300 MB as colours. COCO's images have up to 0.4 million."""
IMAGE_BYTES = 512 << 20
"""Bytes of an image file, unpacked from an archive. A record holds less than 2 GiB in all."""
JSON_BYTES = 2 << 30
"""Bytes of a json, unpacked by gzip: about 20 million boxes."""

MOST_MASK_PIXELS = 2**32
"""A mask has fewer: run lengths are unsigned and of 32 bits (`uint` in maskApi.h)."""

_FURTHEST_SIDES, _FURTHEST_PIXELS = 100.0, 1e7

PIXELS_FLAG, UNPACKED_FLAG = "--max_image_pixels", "--max_unpacked_bytes"


class TooLarge(ValueError):
    """Something is larger than its limit; the message goes on from its name."""


def check_pixels(width: int, height: int, most: int) -> None:
    """Looks at the size that an image's header gives.

    Raises:
        TooLarge: it has more than `most` pixels.
    """
    if width * height > most:
        raise TooLarge(
            f"is of {width:,} x {height:,} pixels, {width * height:,} in all; "
            f"{PIXELS_FLAG}={most} allows fewer, and a larger number raises it"
        )


def check_unpacked(size: int, most: int) -> None:
    """Looks at the size that an archive gives for one of its files.

    Raises:
        TooLarge: it has more than `most` bytes.
    """
    if size > most:
        raise TooLarge(
            f"has {size:,} bytes unpacked; {UNPACKED_FLAG}={most} allows fewer, and a larger "
            "number raises it"
        )


def json_too_large(path: object, packed: int, most: int) -> DataError:
    """Gives the error of a gzip file that holds more than `most` bytes."""
    return DataError(
        f"the {packed:,} bytes of this gzip file unpack to more than {most:,}",
        expected=f"up to {most:,} bytes, unpacked",
        mend=f"{UNPACKED_FLAG} with a larger number, if the file is what it should be",
        where=str(path),
    )


def furthest_corner(height: int, width: int) -> float:
    """Gives how many pixels a polygon's corner may lie away from the corner of its image.

    `rleFrPoly` (maskApi.c) takes memory for the whole way there, five points a pixel.
    """
    return min(_FURTHEST_SIDES * max(height, width), _FURTHEST_PIXELS)
