"""Headers of images against Pillow, which wrote them."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from odapi_repro.datasets.conversion.image_source import read_header


def encoded(kind: str, mode: str = "RGB", **more: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (61, 33), 90).save(stream, kind, **more)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "mode", "more"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "I;16", {}),
        ("BMP", "RGB", {}),
    ],
)
def test_format_and_size_are_those_that_were_written(kind: str, mode: str, more: dict) -> None:
    header = read_header(encoded(kind, mode, **more))
    assert (header.format, header.height, header.width) == (kind.lower(), 33, 61)
    assert header.orientation == 1


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_orientation_is_that_of_the_exif_block(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert read_header(encoded("JPEG", exif=exif)).orientation == orientation


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "is a page in HTML"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "is a WebP"),
        (b"text", "is no image"),
        (encoded("GIF", "P"), "is a GIF"),
        (encoded("TIFF"), "is a TIFF"),
        (b"\xff\xd8\xff\xe0", "has no frame"),
    ],
)
def test_what_tensorflow_does_not_decode_is_named(data: bytes, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        read_header(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_every_file_that_is_cut_short_is_found(kind: str) -> None:
    whole = encoded(kind)
    for length in (*range(1, 60), len(whole) // 2, len(whole) - 9):
        with pytest.raises(ValueError, match=r".+"):
            read_header(whole[:length])
