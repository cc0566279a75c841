"""What an encoded image says of itself, and whether that fits what the json says of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from odapi_repro.datasets.bmp import bmp_fault
from odapi_repro.datasets.limits import IMAGE_PIXELS

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_NO_SIZE_MARKERS = {0xC4, 0xC8, 0xCC}  # of 0xC0 to 0xCF, those that begin no frame
_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_ASPECT_TOLERANCE = 1.0  # pixels that a resized side may be off, by rounding
_KNOWN = (
    (b"RIFF", "a WebP file"),
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"<", "a page in HTML or XML"),
    (b"\0\0\0", "an HEIC, AVIF or JPEG 2000 file"),
)


@dataclass(frozen=True)
class ImageHeader:
    """What stands in an image's header.

    Attributes:
        format: `jpeg`, `png` or `bmp`, as `image/format` has it.
        height: rows of pixels as they are stored; TensorFlow does not turn them by EXIF.
        width: columns.
        orientation: EXIF's, 1 (as stored) to 8.
    """

    format: str
    height: int
    width: int
    orientation: int = 1


def read_header(data: bytes) -> ImageHeader:
    """Gives the header of an image that the OD API can decode, after a look at its end.

    Raises:
        ValueError: no image, cut short, or of a format that the OD API's decoder does not take;
            the message goes on from the file's name.
    """
    if not data:
        raise ValueError("is empty")
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == _PNG:
        if len(data) < 45 or _PNG_END not in data[-64:]:
            raise ValueError("is a PNG that is cut short (its end marker is missing)")
        width, height = struct.unpack(">II", data[16:24])
        return _sized("png", height, width)
    if data[:2] == b"BM" and len(data) >= 26:
        size, width, height = struct.unpack("<I12xii", data[2:26])
        if len(data) < size:
            raise ValueError(f"is a BMP that is cut short ({len(data):,} of {size:,} bytes)")
        if fault := bmp_fault(data):
            raise ValueError(fault)
        return _sized("bmp", abs(height), width)
    if data[:4] == b"GIF8":
        # decode_image gives its frames as a fourth dimension, and the OD API's decoder stops.
        raise ValueError("is a GIF, which the OD API's decoder does not take")
    for magic, name in _KNOWN:
        if data[: len(magic)] == magic:
            raise ValueError(f"is {name}, which TensorFlow does not decode")
    raise ValueError(f"is no image (it begins with {data[:8]!r})")


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


def decode(data: bytes, max_pixels: int = IMAGE_PIXELS) -> None:
    """Decodes all pixels.

    Raises:
        ValueError: they do not decode.
    """
    from odapi_repro.datasets.image_file import opened_image

    try:
        with opened_image(data, max_pixels) as image:
            image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"does not decode ({error})") from error


def _jpeg(data: bytes) -> ImageHeader:
    """Walks over the segments up to the scan; the end marker says whether all of it is there."""
    at, orientation, size = 2, 1, None
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ValueError(f"is a damaged JPEG (no marker at byte {at:,})")
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        length = data[at + 2] << 8 | data[at + 3]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE_MARKERS and at + 9 <= len(data):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            size = height, width
        elif marker == _APP1 and data[at + 4 : at + 10] == _EXIF:
            orientation = _exif_orientation(data[at + 10 : at + 2 + length]) or orientation
        elif marker in (_SOS, _EOI):
            break
        at += 2 + length
    if size is None:
        raise ValueError("is a JPEG that is cut short or damaged (it has no frame)")
    if data[-2:] != b"\xff\xd9" and data.rfind(b"\xff\xd9", at) < 0:
        raise ValueError("is a JPEG that is cut short (its end marker is missing)")
    return _sized("jpeg", *size, orientation)


def _sized(kind: str, height: int, width: int, orientation: int = 1) -> ImageHeader:
    if height < 1 or width < 1:
        raise ValueError(f"is a {kind.upper()} of {width} x {height} pixels")
    return ImageHeader(kind, height, width, orientation)


def _exif_orientation(tiff: bytes) -> int:
    """Gives the orientation that the first directory of an EXIF block names, 0 for none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 14:
        return 0
    (directory,) = struct.unpack(f"{order}I", tiff[4:8])
    if directory + 2 > len(tiff):
        return 0
    (entries,) = struct.unpack(f"{order}H", tiff[directory : directory + 2])
    for number in range(entries):
        entry = tiff[directory + 2 + 12 * number :][:12]
        if len(entry) < 12:
            return 0
        tag, _, _, value = struct.unpack(f"{order}HHIH2x", entry)
        if tag == _ORIENTATION:
            return int(value) if 1 <= value <= 8 else 0
    return 0
