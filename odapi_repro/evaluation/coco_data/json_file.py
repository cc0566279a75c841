"""Reads a JSON file, plain or gzipped; one that does not read is told apart by what is wrong."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import gc
import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from odapi_repro.datasets.json_numbers import json_fault, json_value
from odapi_repro.datasets.limits import JSON_BYTES, json_too_large
from odapi_repro.errors import DataError

_GZIP = b"\x1f\x8b"
# What is left of the text where the parser stops, when it is a number, a word or an escape that
# lost its end, or nothing.
_CUT = re.compile(r"[-+.\w\\]*\s*\Z")
_LONG_NUMBER = re.compile(r"[0-9]{4301}")


def read_json(path: str | os.PathLike[str], what: str, *, max_bytes: int = JSON_BYTES) -> Any:
    """Gives what a JSON file holds; gzip is known by its first bytes, not by the file's name.

    Args:
        path: the file.
        what: what it should hold, for the messages, such as `detections`.
        max_bytes: how many a gzip file may unpack to.

    Raises:
        DataError: missing, too large, unreadable, cut short, not UTF-8 or not JSON (with line and
            column).
    """
    return parsed_json(json_bytes(path, what, max_bytes=max_bytes), path, what)


def json_bytes(path: str | os.PathLike[str], what: str, *, max_bytes: int = JSON_BYTES) -> bytes:
    """Gives the bytes of a JSON file, unpacked; arguments and errors as of `read_json`."""
    data = file_bytes(Path(path), what)
    return _unpacked(data, path, max_bytes) if data.startswith(_GZIP) else data


def plain_file(path: str | os.PathLike[str]) -> BinaryIO | None:
    """Opens a file on a disk that is not packed; None for all else, as `json_bytes` reads it."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        file = open(path, "rb", buffering=0)  # noqa: SIM115
    except OSError:
        return None
    if file.read(len(_GZIP)) == _GZIP:
        file.close()
        return None
    file.seek(0)
    return file


def parsed_json(data: bytes, path: str | os.PathLike[str], what: str) -> Any:
    """Gives what the bytes of a JSON file hold; arguments and errors as of `read_json`."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return json_value(data)
    except (ValueError, RecursionError) as error:
        text = _text_of(data, path)
        if isinstance(error, json.JSONDecodeError):
            raise _syntax_error(error, path, what) from error
        long = _LONG_NUMBER.search(text)
        raise DataError(
            f"the JSON holds {json_fault(error)}",
            expected=f"{what} as COCO writes them",
            mend="correct that number" if long else "",
            where=f"{path}{_line_and_column(text, long.start())}" if long else str(path),
        ) from error


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """Keeps the garbage collector from walking over a growing list again and again.

    Parsed JSON holds no cycles: what is dropped within is freed at once.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def file_bytes(path: Path, what: str) -> bytes:
    """Gives the bytes of a file as they are; `DataError` as of `read_json`."""
    try:
        # A pipe that nobody writes to would keep a reader that waits for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            os.set_blocking(descriptor, True)
            return file.read()
    except FileNotFoundError as error:
        raise DataError(
            "there is no such file",
            expected=f"{what}, a .json or .json.gz file",
            mend=_beside(path),
            where=str(path),
        ) from error
    except IsADirectoryError as error:
        raise DataError(
            "this is a folder",
            expected=f"{what}, a .json or .json.gz file",
            mend="name a file in it",
            where=str(path),
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot read: {error.strerror or error}",
            expected=f"{what}, a .json or .json.gz file",
            mend="name a file that can be read",
            where=str(path),
        ) from error


def _beside(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    except OSError:
        return f"name an existing file; there is no folder '{path.parent}' that can be read"
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"did you mean '{path.parent / near[0]}'?" if near else "name an existing file"


def _unpacked(data: bytes, path: str | os.PathLike[str], most: int) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(most + 1)
        if len(unpacked) > most:
            raise json_too_large(path, len(data), most)
        return unpacked
    except EOFError as error:
        raise DataError(
            f"the gzip file is cut short after {len(data)} bytes",
            expected="a whole .json.gz file",
            mend="copy or write it again",
            where=str(path),
        ) from error
    except (OSError, zlib.error) as error:
        raise DataError(
            f"the gzip file is damaged: {error}",
            expected="a whole .json.gz file",
            mend="copy or write it again",
            where=str(path),
        ) from error


def _text_of(data: bytes, path: str | os.PathLike[str]) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        raise DataError(
            f"this is no UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}"
            + ("; it begins as UTF-16 does)" if wide else ")"),
            expected="JSON in UTF-8",
            mend="write it again with encoding='utf-8'" if wide else "name a JSON file",
            where=str(path),
        ) from error


def _line_and_column(text: str, at: int) -> str:
    return f":{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"


def _syntax_error(
    error: json.JSONDecodeError, path: str | os.PathLike[str], what: str
) -> DataError:
    text, place = error.doc, f"{path}:{error.lineno}:{error.colno}"
    if not text.strip():
        return DataError("the file is empty", expected=what, mend="write it again", where=str(path))
    if text.startswith("version https://git-lfs"):
        return DataError(
            "this is a pointer of Git LFS, not the file it stands for",
            expected=what,
            mend="fetch it: git lfs pull",
            where=str(path),
        )
    is_json = text.lstrip()[0] in "[{"
    if error.msg.startswith("Unterminated string") or (is_json and _CUT.match(text, error.pos)):
        return DataError(
            f"the JSON is cut short: it ends after {len(text)} characters, in the middle",
            expected=f"a whole file of {what}",
            mend="copy or write it again; was the program that wrote it stopped, or the disk full?",
            where=place,
        )
    if error.msg.startswith("Extra data"):
        return DataError(
            "the file holds more than one JSON value",
            expected="one value; results are one list, not one object a line",
            mend="put the objects into one list",
            where=place,
        )
    return DataError(
        f"this is no JSON: {error.msg[0].lower()}{error.msg[1:]}",
        expected=f"{what} as JSON",
        mend="correct that place, or write the file again",
        where=place,
    )
