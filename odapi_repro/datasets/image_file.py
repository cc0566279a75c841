"""Encoded images opened by Pillow, their size looked at before any memory is taken for pixels."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from odapi_repro.datasets.limits import IMAGE_PIXELS, check_pixels

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
