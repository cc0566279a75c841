"""Whether an image file can be used for what the json says of it."""

from __future__ import annotations

import io

from odapi_repro.datasets.conversion.image_header import ImageHeader

__all__ = ["decode", "is_resized", "size_mismatch"]

_ASPECT_TOLERANCE = 1.0  # pixels that a resized side may be off, by rounding


def size_mismatch(header: ImageHeader, height: int, width: int) -> str:
    """Says how the file's size differs from the json's, to be read after the file's name."""
    turned = (header.height, header.width) == (width, height) and height != width
    return f"is {header.width} x {header.height}, the json says {width} x {height}" + (
        f" (turned by EXIF, orientation {header.orientation}: TensorFlow does not turn it)"
        if header.orientation != 1
        else " (turned by 90 degrees)"
        if turned
        else ""
    )


def is_resized(header: ImageHeader, height: int, width: int) -> bool:
    """Whether the file has the json's aspect ratio, up to rounding of a side."""
    turned_by_exif = header.orientation >= 5
    return not turned_by_exif and (
        abs(header.height - height * header.width / width) <= _ASPECT_TOLERANCE
        or abs(header.width - width * header.height / height) <= _ASPECT_TOLERANCE
    )


def decode(data: bytes) -> None:
    """Decodes all pixels.

    Raises:
        ValueError: they do not decode.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"does not decode ({error})") from error
