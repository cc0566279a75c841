"""Image files by their name, in a folder or a zip archive, and what their headers say."""

from __future__ import annotations

import collections
import errno
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from odapi_repro.datasets.image_file import bmp_fault
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.errors import DataError

# --- Image files by their name: in a folder, or within a zip archive that stays packed ---


_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 0x1
_EXPECTED = "a folder of image files, or a zip archive of them"


@dataclass(frozen=True)
class ImageFile:
    """An image file that was found.

    Attributes:
        name: as the json has it.
        found_as: the end of that name which it was found by; empty where it was the whole name.
        path: the file, or the zip archive that holds it.
        bytes: its size.
        version: changes with the contents: time of the last change, in a zip the crc32.
        changed: when the file, or its archive, was last written, moved or touched, in ns.
        offset: where its header begins in the archive; -1 for a file in a folder.
        packed_bytes: its size in the archive.
        method: how it is packed, as zipfile numbers it.
    """

    name: str
    path: str
    bytes: int
    version: int
    changed: int
    offset: int = -1
    packed_bytes: int = 0
    method: int = zipfile.ZIP_STORED
    found_as: str = ""


def locate_images(place: Path, names: Sequence[str]) -> tuple[ImageFile | None, ...]:
    """Gives the file of each name, None for those that are missing.

    In a zip archive, the names may lack the folder that all entries lie in (train2017/). A name
    whose folders are not here (images/train/x.jpg, C:\\data\\x.jpg, a URL) is looked for by its
    ends, the longest first; an end that two names of the json have finds neither.

    Raises:
        DataError: `place` is neither a folder nor a whole zip archive, or cannot be read; or a
            name leads out of it.
    """
    if place.is_dir():
        within = [_is_within(place, name) for name in names]

        def of(wanted: Sequence[str]) -> tuple[ImageFile | None, ...]:
            return _in_folder(place, wanted)

        direct = iter(of([name for name, inside in zip(names, within, strict=True) if inside]))
        found = [next(direct) if inside else None for inside in within]
        _find_by_ends(names, found, of)
        for name, inside, file in zip(names, within, found, strict=True):
            if not inside and file is None:
                raise _leads_out(place, name)
        return tuple(found)
    if place.is_file():
        entries = _ZipEntries(place)
        found = list(entries.of(names))
        _find_by_ends(names, found, entries.of)
        return tuple(found)
    raise DataError(
        "there is no such folder or zip archive",
        expected=_EXPECTED,
        mend="correct --image_dir",
        where=str(place),
    )


def _find_by_ends(
    names: Sequence[str],
    found: list[ImageFile | None],
    of: Callable[[Sequence[str]], tuple[ImageFile | None, ...]],
) -> None:
    """Looks for what is missing by the ends of its names; puts into `found` what is unambiguous."""
    ends = {number: _ends(names[number]) for number, one in enumerate(found) if one is None}
    taken = {(one.path, one.offset): one.name for one in found if one is not None}
    for place in range(max(map(len, ends.values()), default=0)):
        asked = {
            number: one[place]
            for number, one in ends.items()
            if place < len(one) and found[number] is None
        }
        owners: dict[tuple[str, int], set[str]] = collections.defaultdict(set)
        files = dict(zip(asked, of(list(asked.values())), strict=True))
        for number, file in files.items():
            if file is not None:
                owners[file.path, file.offset].add(names[number])
        for number, file in files.items():
            if file is None:
                continue
            key = file.path, file.offset
            if len(owners[key]) == 1 and taken.get(key, names[number]) == names[number]:
                found[number] = replace(file, name=names[number], found_as=asked[number])
        taken.update({key: next(iter(one)) for key, one in owners.items()})


def _ends(name: str) -> list[str]:
    """Gives the ends of a name, the longest first: x/y.jpg and y.jpg for D:\\x\\y.jpg."""
    if re.match(r"[a-zA-Z][\w+.-]+://", name):
        name = unquote(urlsplit(name).path)
    steps = [step for step in re.split(r"[\\/]", name) if step not in ("", ".", "..")]
    ends = ["/".join(steps[begin:]) for begin in range(len(steps))]
    return [end for end in ends if end != name]


def _in_folder(folder: Path, names: Sequence[str]) -> tuple[ImageFile | None, ...]:
    by_folder: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for number, name in enumerate(names):
        head, tail = os.path.split(os.path.join(folder, name))
        by_folder[head][tail] = number
    found: list[ImageFile | None] = [None] * len(names)
    for head, wanted in by_folder.items():
        try:
            with os.scandir(head) as entries:
                for entry in entries:
                    number = wanted.get(entry.name, -1)
                    if number >= 0 and entry.is_file():
                        status = entry.stat()
                        found[number] = ImageFile(
                            names[number], entry.path, status.st_size, status.st_mtime_ns,
                            max(status.st_mtime_ns, status.st_ctime_ns),
                        )  # fmt: skip
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
                continue
            raise DataError(
                f"cannot list the folder: {error.strerror or error}",
                expected=_EXPECTED,
                mend="name a folder that can be read",
                where=head,
            ) from error
    # Two images of the json may be one file.
    first = {name: number for number, name in enumerate(names) if found[number] is not None}
    return tuple(
        one if one is not None or name not in first else found[first[name]]
        for name, one in zip(names, found, strict=True)
    )


def _is_within(folder: Path, name: str) -> bool:
    if not (name.startswith("/") or ".." in name):
        return True
    root = os.path.join(os.path.abspath(folder), "")
    return os.path.abspath(os.path.join(folder, name)).startswith(root)


def _leads_out(folder: Path, name: str) -> DataError:
    return DataError(
        f"the json's file_name '{name}' leads out of the folder",
        expected="file names within --image_dir",
        mend="name a folder that holds all images, or correct the json",
        where=str(folder),
    )


class _ZipEntries:
    """The entries of a zip archive, by their names and by the ends of these."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        status = archive.stat()
        self._size = status.st_size
        self._changed = max(status.st_mtime_ns, status.st_ctime_ns)
        self._entries = _entries_of(archive, self._size)
        self._by_tail: dict[str, str | None] = {}
        for path in self._entries:
            tail = path
            while "/" in tail:
                tail = tail.split("/", 1)[1]
                # A tail that two entries have names none of them.
                self._by_tail[tail] = None if tail in self._by_tail else path

    def of(self, names: Sequence[str]) -> tuple[ImageFile | None, ...]:
        """Gives the entry of each name.

        Raises:
            DataError: an entry that lies beyond the archive, or is packed in a way of its own.
        """
        return tuple(map(self._entry, names))

    def _entry(self, name: str) -> ImageFile | None:
        entries = self._entries
        info = entries.get(name) or entries.get(self._by_tail.get(name) or "")
        if info is None:
            return None
        if info.header_offset + info.compress_size > self._size:
            raise DataError(
                f"the zip archive is cut short: '{name}' lies beyond its {self._size:,} bytes",
                expected="a whole zip archive",
                mend="download it again (`unzip -t` tests an archive)",
                where=str(self._archive),
            )
        is_plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if info.flag_bits & _ENCRYPTED or not is_plain:
            raise DataError(
                f"'{name}' is encrypted, or packed by a method other than store and deflate",
                expected="a plain zip archive",
                mend="unpack it and name the folder",
                where=str(self._archive),
            )
        return ImageFile(
            name, str(self._archive), info.file_size, info.CRC, self._changed,
            info.header_offset, info.compress_size, info.compress_type,
        )  # fmt: skip


def _entries_of(archive: Path, size: int) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return {info.filename: info for info in opened.infolist() if not info.is_dir()}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        with open(archive, "rb") as file:
            is_zip = file.read(2) == b"PK"
        raise DataError(
            f"the zip archive is cut short or damaged after {size:,} bytes ({error})"
            if is_zip
            else "this is a file but not a zip archive",
            expected=_EXPECTED,
            mend="download it again (`unzip -t` tests an archive)"
            if is_zip
            else "name the folder or the zip that holds the images",
            where=str(archive),
        ) from error


class ImageReader:
    """Reads image files one after the other; a zip archive stays open between two of its own."""

    def __init__(self) -> None:
        self._archive: BinaryIO | None = None
        self._archive_path = ""

    def read(self, image: ImageFile) -> bytes:
        """Gives the file's bytes.

        Raises:
            OSError: it cannot be read.
            ValueError: it changed since it was found, or its checksum in the archive is wrong.
        """
        if image.offset < 0:
            with open(image.path, "rb", buffering=0) as file:
                data = file.read()
        else:
            data = self._entry(image)
        if len(data) != image.bytes:
            raise ValueError(f"has {len(data):,} bytes, and had {image.bytes:,} when it was listed")
        return data

    def close(self) -> None:
        """Closes the archive."""
        if self._archive is not None:
            self._archive.close()
            self._archive, self._archive_path = None, ""

    def _entry(self, image: ImageFile) -> bytes:
        if self._archive is None or self._archive_path != image.path:
            self.close()
            self._archive, self._archive_path = open(image.path, "rb"), image.path  # noqa: SIM115
        archive = self._archive
        archive.seek(image.offset)
        header = archive.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(_LOCAL_MAGIC):
            raise ValueError("is not where the zip archive says it is")
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        archive.seek(name_bytes + extra_bytes, os.SEEK_CUR)
        data = archive.read(image.packed_bytes)
        if image.method == zipfile.ZIP_DEFLATED:
            try:
                # It may hold more than the directory says: one byte more tells, and is the last.
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, image.bytes + 1)
            except zlib.error as error:
                raise ValueError(f"does not unpack ({error})") from error
            if len(data) > image.bytes:
                raise ValueError(f"unpacks to more than the {image.bytes:,} bytes of the directory")
        if zlib.crc32(data) != image.version:
            raise ValueError("does not match its checksum in the zip archive")
        return data


# --- What an encoded image says of itself, and whether that fits what the json says of it ---


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
