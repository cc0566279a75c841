"""Image files by their name: in a folder, or within a zip archive that stays packed."""

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

from odapi_repro.errors import DataError

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
            else "this is a file, and no zip archive",
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
