"""Outlines as PNG masks: COCO's own pixels, encoded one bit each.

pycocotools rasterises (rleFrPoly, rleFrString), so that a mask is what COCO's evaluation makes of
the outline. Its `decode` writes every pixel of the image and PIL's encoder looks at each of them
again; here the runs are unpacked within the object's columns only, packed to bits, and deflated.
"""

from __future__ import annotations

import functools
import itertools
import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from odapi_repro.datasets.json_numbers import are_within, is_whole
from odapi_repro.datasets.limits import MOST_MASK_PIXELS, furthest_corner

Rle = dict[str, Any]
"""A compressed RLE as pycocotools has it: `size` [height, width] and `counts` bytes."""

_NO_EDGES = (math.nan, math.nan, math.nan, math.nan)
_LEAST_POLYGON = 6  # numbers: three corners
_PNG = b"\x89PNG\r\n\x1a\n"
# Black, and the darkest colour that is not: decoded as grey the mask is 0 and 1, as PIL's is.
_PALETTE = bytes((0, 0, 0, 1, 1, 1))


def rle_of(segmentation: Any, height: int, width: int) -> Rle | None:
    """Gives the mask of a COCO segmentation, None where it has no outline at all.

    Polygons are united; those of fewer than three corners enclose nothing and are left out.

    Args:
        segmentation: polygons, an uncompressed or a compressed RLE, as json.loads has them.
        height: rows of the image.
        width: columns of the image.

    Raises:
        ValueError: it is none of these, or an RLE of another size.
    """
    if isinstance(segmentation, dict):
        return _rle(segmentation, height, width)
    if not isinstance(segmentation, list):
        raise ValueError("the segmentation is neither a list of polygons nor an RLE")
    if segmentation and all(isinstance(value, (int, float)) for value in segmentation):
        segmentation = [segmentation]  # one polygon without the list around it
    polygons = [polygon for polygon in segmentation if _is_polygon(polygon, height, width)]
    if not polygons:
        return None
    # frPyObjects takes a first polygon of four numbers for a box; none is left here.
    parts = coco_mask.frPyObjects(polygons, height, width)
    merged: Rle = parts[0] if len(parts) == 1 else coco_mask.merge(parts)
    return merged


def outline_bounds(segmentation: Any, height: int, width: int) -> tuple[float, float, float, float]:
    """Gives left, top, right and bottom of polygons or an RLE; NaN for none and for damaged ones.

    `height` and `width` are the image's.
    """
    if isinstance(segmentation, dict):
        return _of_rle(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        return _NO_EDGES
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    if not all(isinstance(one, list) for one in polygons):
        return _NO_EDGES
    numbers = list(itertools.chain.from_iterable(polygons))
    is_even = all(len(one) % 2 == 0 for one in polygons)
    if not numbers or not is_even or not are_within(numbers, furthest_corner(height, width)):
        return _NO_EDGES
    x, y = numbers[0::2], numbers[1::2]
    return min(x), min(y), max(x), max(y)


def _of_rle(
    segmentation: dict[str, Any], height: int, width: int
) -> tuple[float, float, float, float]:
    try:
        rle = _rle(segmentation, height, width)
    except ValueError:
        return _NO_EDGES
    x, y, wide, high = map(float, coco_mask.toBbox(rle))
    return (x, y, x + wide, y + high) if wide and high else _NO_EDGES


def png_of(rle: Rle) -> tuple[bytes, int]:
    """Gives a PNG of the mask (height x width, 0 and 1 when decoded to grey) and its pixels."""
    height, width = rle["size"]
    left, top, box_width, box_height = map(int, coco_mask.toBbox(rle).tolist())
    if not box_width or not box_height:
        return empty_mask(height, width), 0
    first, last = left // 8, (left + box_width + 7) // 8
    columns = _columns(rle["counts"], height, 8 * first, 8 * last)
    rows = np.zeros((height, 1 + (width + 7) // 8), np.uint8)  # a filter byte before each row
    bits = np.packbits(columns[:, top : top + box_height], axis=0)
    rows[top : top + box_height, 1 + first : 1 + last] = bits.T
    return _png(rows.tobytes(), height, width), int(coco_mask.area(rle))


@functools.lru_cache(maxsize=256)
def empty_mask(height: int, width: int) -> bytes:
    """Gives a PNG of a mask without any pixel."""
    return _png(bytes(height * (1 + (width + 7) // 8)), height, width)


def rescaled_polygons(polygons: list[Any], old: tuple[int, int], new: tuple[int, int]) -> list[Any]:
    """Gives the polygons of an image of height and width `old` on one of `new`.

    What is no list of numbers stays as it is, for `rle_of` to refuse.
    """
    scale_y, scale_x = new[0] / old[0], new[1] / old[1]
    scales = (scale_x, scale_y)
    if polygons and all(type(value) in (int, float) for value in polygons):
        return [value * scales[place % 2] for place, value in enumerate(polygons)]
    return [rescaled_polygons(one, old, new) if isinstance(one, list) else one for one in polygons]


def rescaled_rle(rle: Rle, height: int, width: int) -> Rle:
    """Gives the mask on height x width pixels, each with the value of the nearest old one."""
    mask = coco_mask.decode(rle)
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.int64)
    scaled: Rle = coco_mask.encode(np.asfortranarray(mask[rows[:, None], columns]))
    return scaled


def _is_polygon(polygon: Any, height: int, width: int) -> bool:
    if not isinstance(polygon, list):
        raise ValueError("a polygon is no list of numbers")
    if len(polygon) < _LEAST_POLYGON:
        return False
    try:
        furthest = max(map(abs, polygon))
        is_finite = -math.inf < sum(polygon) < math.inf
    except (TypeError, OverflowError) as error:
        raise ValueError("a polygon is no list of numbers, or one is beyond all floats") from error
    if not is_finite or furthest > furthest_corner(height, width):
        raise ValueError("a polygon's corner is not finite, or far away from the image")
    if len(polygon) % 2:
        raise ValueError(f"a polygon has {len(polygon)} numbers, which make no pairs")
    return True


def _rle(segmentation: dict[str, Any], height: int, width: int) -> Rle:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    pixels = height * width
    if size != [height, width] or pixels >= MOST_MASK_PIXELS:
        raise ValueError(f"the RLE has size {size}, the image [{height}, {width}]")
    if isinstance(counts, str):
        rle: Rle = {"size": [height, width], "counts": counts.encode("ascii", errors="replace")}
        runs = _runs(rle["counts"])
    elif isinstance(counts, list) and all(map(is_whole, counts)):
        runs = np.array(counts, np.int64)
        rle = {}
    else:
        raise ValueError("the RLE's counts are neither text nor whole numbers")
    # Each by itself first: the sum of long ones may come round to the right number.
    if ((runs < 0) | (runs > pixels)).any() or runs.sum() != pixels:
        raise ValueError(f"the RLE's counts do not make the image's {pixels:,} pixels")
    return rle or coco_mask.frPyObjects(segmentation, height, width)


def _columns(counts: bytes, height: int, first: int, last: int) -> NDArray[np.uint8]:
    """Gives the mask's columns [first, last) as 0 and 1, uint8 [last - first, height]."""
    ends = np.cumsum(_runs(counts)) - first * height
    np.clip(ends, 0, (last - first) * height, out=ends)
    runs = np.diff(ends, prepend=0)
    values = np.zeros(len(runs), np.uint8)
    values[1::2] = 1
    pixels = np.zeros((last - first) * height, np.uint8)
    filled = np.repeat(values, runs)
    # The last columns may lie beyond an image whose width is no multiple of 8.
    pixels[: len(filled)] = filled
    return pixels.reshape(last - first, height)


def _runs(counts: bytes) -> NDArray[np.int64]:
    """Gives the run lengths of a compressed RLE's string (maskApi.c, rleFrString).

    Each number is written in groups of 5 bits, lowest first, with a sixth that says whether more
    follow, and is the difference to the number two before it, from the fourth number on.

    Raises:
        ValueError: the string is cut short or holds other characters.
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        raise ValueError("the RLE's counts are no compressed counts")
    ends = np.flatnonzero((codes & 0x20) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 12:
        raise ValueError("the RLE's counts are no compressed counts")
    shift = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 0x1F) << shift, starts)
    numbers -= np.where(codes[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _png(rows: bytes, height: int, width: int) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 8, zlib.Z_RLE)
    return b"".join(
        (_PNG, _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)),
         _chunk(b"PLTE", _PALETTE), _chunk(b"IDAT", packer.compress(rows) + packer.flush()),
         _chunk(b"IEND", b""))
    )  # fmt: skip


def _chunk(name: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(data, zlib.crc32(name))
    return b"".join((struct.pack(">I", len(data)), name, data, struct.pack(">I", crc)))
