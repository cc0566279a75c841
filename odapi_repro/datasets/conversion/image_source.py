"""Image files by their name: in a folder, or within a zip archive that stays packed."""

from __future__ import annotations

import collections
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from odapi_repro.errors import DataError

__all__ = ["ImageFile", "ImageReader", "locate_images"]

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 0x1
_EXPECTED = "a folder of image files, or a zip archive of them"


@dataclass(frozen=True)
class ImageFile:
    """An image file that was found.

    Attributes:
        name: as the json has it.
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


def locate_images(place: Path, names: Sequence[str]) -> tuple[ImageFile | None, ...]:
    """Gives the file of each name, None for those that are missing.

    In a zip archive, the names may lack the folder that all entries lie in (train2017/).

    Raises:
        DataError: `place` is neither a folder nor a whole zip archive, or cannot be read; or a
            name leads out of it.
    """
    if place.is_dir():
        return _in_folder(place, names)
    if place.is_file():
        return _in_zip(place, names)
    raise DataError(
        "there is no such folder or zip archive",
        expected=_EXPECTED,
        mend="correct --image_dir",
        where=str(place),
    )


def _in_folder(folder: Path, names: Sequence[str]) -> tuple[ImageFile | None, ...]:
    _check_within(folder, names)
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


def _check_within(folder: Path, names: Sequence[str]) -> None:
    root = os.path.join(os.path.abspath(folder), "")
    for name in names:
        if not (name.startswith("/") or ".." in name):
            continue
        if not os.path.abspath(os.path.join(folder, name)).startswith(root):
            raise DataError(
                f"the json's file_name '{name}' leads out of the folder",
                expected="file names within --image_dir",
                mend="name a folder that holds all images, or correct the json",
                where=str(folder),
            )


def _in_zip(archive: Path, names: Sequence[str]) -> tuple[ImageFile | None, ...]:
    status = archive.stat()
    size, changed = status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = {info.filename: info for info in opened.infolist() if not info.is_dir()}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        with open(archive, "rb") as file:
            is_zip = file.read(2) == b"PK"
        raise DataError(
            f"the zip archive is cut short or damaged after {size:,} bytes ({error})"
            if is_zip
            else "this is a file, and no zip archive",
            expected=_EXPECTED,
            mend="download it again (`unzip -t` tests an archive)"
            if is_zip
            else "name the folder or the zip that holds the images",
            where=str(archive),
        ) from error
    by_tail: dict[str, str | None] = {}
    for path in entries:
        tail = path
        while "/" in tail:
            tail = tail.split("/", 1)[1]
            # A tail that two entries have names none of them.
            by_tail[tail] = None if tail in by_tail else path
    found: list[ImageFile | None] = []
    for name in names:
        info = entries.get(name) or entries.get(by_tail.get(name) or "")
        if info is None:
            found.append(None)
            continue
        if info.header_offset + info.compress_size > size:
            raise DataError(
                f"the zip archive is cut short: '{name}' lies beyond its {size:,} bytes",
                expected="a whole zip archive",
                mend="download it again (`unzip -t` tests an archive)",
                where=str(archive),
            )
        is_plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if info.flag_bits & _ENCRYPTED or not is_plain:
            raise DataError(
                f"'{name}' is encrypted, or packed by a method other than store and deflate",
                expected="a plain zip archive",
                mend="unpack it and name the folder",
                where=str(archive),
            )
        found.append(
            ImageFile(
                name, str(archive), info.file_size, info.CRC, changed,
                info.header_offset, info.compress_size, info.compress_type,
            )
        )  # fmt: skip
    return tuple(found)


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
