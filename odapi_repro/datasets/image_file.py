"""Encoded images opened by Pillow, their size looked at before any memory is taken."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from odapi_repro.datasets.limits import IMAGE_PIXELS, check_pixels

# --- Encoded images opened by Pillow, their size looked at before any memory is taken for pixels
# ---


# Pillow's own limit warns at 89 million pixels, refuses at twice that, and has no flag.
Image.MAX_IMAGE_PIXELS = None


@contextlib.contextmanager
def opened_image(
    source: bytes | Path, max_pixels: int | None = IMAGE_PIXELS
) -> Iterator[Image.Image]:
    """Opens an image: its header is read, its pixels are not yet.

    Args:
        source: the encoded image, or its file.
        max_pixels: how many it may have; None for any, where its pixels are not asked for.

    Raises:
        TooLarge: its header gives it more pixels.
        OSError, ValueError, SyntaxError: it is no image.
    """
    with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
        if max_pixels is not None:
            check_pixels(*image.size, max_pixels)
        yield image


# --- Which BMP files tf.io.decode_image reads as they are meant ---


_FILE_HEADER = 14
_GREYS = 256
_BGRA_MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)


def bmp_fault(data: bytes) -> str:
    """Gives what is wrong with a BMP, to be read after the file's name; empty for nothing.

    tensorflow/core/kernels/image/decode_image_op.cc reads 24 and 32 bits a pixel as colours and 8
    as greys, whatever palette, compression or bit masks the file has.
    """
    if len(data) < _FILE_HEADER + 40:
        return "is a BMP that is cut short (its header is not whole)"
    size, bits, compression = struct.unpack("<I10xHI", data[_FILE_HEADER : _FILE_HEADER + 20])
    if bits not in (8, 24, 32):
        return f"is a BMP of {bits} bits a pixel, which TensorFlow does not decode"
    masks = data[_FILE_HEADER + 40 : _FILE_HEADER + 52]
    if compression and not (bits == 32 and compression == 3 and masks == _BGRA_MASKS):
        return "is a compressed BMP, whose bytes TensorFlow takes for pixels"
    if bits == 8:
        palette = data[_FILE_HEADER + size : _FILE_HEADER + size + 4 * _GREYS]
        entries = [palette[i : i + 3] for i in range(0, len(palette), 4)]
        if len(entries) < _GREYS or any(entry != bytes([i] * 3) for i, entry in enumerate(entries)):
            return "is a BMP with a palette, whose numbers TensorFlow takes for greys"
    return ""
