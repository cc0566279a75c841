"""What is wrong with a file that should be COCO json: one message each, with the place."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from odapi_repro.datasets.other_formats import EXPECTED, of_file, of_folder
from odapi_repro.errors import DataError

_WHAT = EXPECTED
_RESULT = re.compile(rb'\A\s*\[\s*\{[^{}]*"score"\s*:')
_LINE_BLOCK = 1 << 20
_BEGIN = 4096
_FORMATS = (
    (b"\x1f\x8b", "a gzip archive", "unpack it: gunzip FILE"),
    (b"PK", "a zip archive", "unpack it, and name the json within"),
    (b"\xff\xfe", "UTF-16 text", "write it again in UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "write it again in UTF-8"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file: git lfs pull"),
    (b"<", "markup (a page in HTML or XML)", "download the file itself"),
)


def unreadable(path: Path, error: OSError) -> DataError:
    """Gives the error of a file that cannot be opened or read."""
    if isinstance(error, IsADirectoryError):
        return of_folder(path)
    mend = "name a file that can be read"
    if isinstance(error, FileNotFoundError):
        try:
            names = sorted(entry.name for entry in path.parent.iterdir())
            near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
            mend = f"did you mean '{path.parent / near[0]}'?" if near else "name an existing file"
        except OSError:
            mend = f"name an existing file; there is no folder '{path.parent}' that can be read"
    return DataError(
        f"cannot read: {error.strerror or error}", expected=_WHAT, mend=mend, where=str(path)
    )


def not_an_object(path: Path, begin: bytes) -> None:
    """Looks at a file's first bytes.

    Raises:
        DataError: they are no begin of a JSON object.
    """
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return
    if (other := of_file(path, begin[:_BEGIN])) is not None:
        raise other
    for magic, name, mend in _FORMATS:
        if begin.startswith(magic):
            raise DataError(f"this is {name}", expected=_WHAT, mend=mend, where=str(path))
    if text.startswith(b"["):
        is_results = bool(_RESULT.match(text[:_BEGIN]))
        of_annotations = b'"category_id"' in text[:_BEGIN]
        raise DataError(
            "this is a list of detections with scores (COCO's results format), not annotations"
            if is_results
            else "the JSON is a list, not an object",
            expected=_WHAT,
            mend="name the instances file that the results belong to"
            if is_results
            else "put it under 'annotations' beside 'images' and 'categories'"
            if of_annotations or not text[1:].strip(b" \t\r\n]")
            else "export COCO from the program that wrote it",
            where=str(path),
        )
    raise DataError(
        f"this is no JSON object: it begins with {begin[:20]!r}",
        expected=_WHAT,
        mend="name the instances json",
        where=str(path),
    )


def truncated(path: Path, size: int, key: str, read: int) -> DataError:
    """Gives the error of a file that ends before its JSON does."""
    if not size:
        return DataError(
            "the file is empty", expected=_WHAT, mend="write it again", where=str(path)
        )
    within = f" in '{key}', after {read:,} whole elements" if key else ""
    return DataError(
        f"the JSON is cut short: the file ends at byte {size:,}{within}",
        expected=_WHAT,
        mend="copy or download it again; was the program that wrote it stopped, or the disk full?",
        where=str(path),
    )


def second_value(path: Path, offset: int) -> DataError:
    """Gives the error of a file that goes on after its JSON."""
    return DataError(
        "the file holds more than one JSON value, or a bracket too many",
        expected=_WHAT,
        mend="remove what follows that place",
        where=_place(path, offset),
    )


def no_json(path: Path, offset: int, reason: str) -> DataError:
    """Gives the error of a place that is no JSON."""
    return DataError(
        f"this is no JSON: {reason[:1].lower()}{reason[1:]}",
        expected=_WHAT,
        mend="correct that place, or write the file again",
        where=_place(path, offset),
    )


def not_objects(path: Path, key: str, number: int, kind: str) -> DataError:
    """Gives the error of a top-level value that is no list of objects."""
    found = f"'{key}' is {kind}" if number < 0 else f"element {number} of '{key}' is of type {kind}"
    return DataError(
        f"{found}, not a list of objects" if number < 0 else found,
        expected=f"'{key}': a list of objects",
        mend="write it as COCO does",
        where=str(path),
    )


def _place(path: Path, offset: int) -> str:
    """Gives `file:line:column` of a byte; both count from 1."""
    line, line_begin, at = 1, 0, 0
    with open(path, "rb") as file:
        while at < offset and (block := file.read(min(_LINE_BLOCK, offset - at))):
            newlines = block.count(b"\n")
            if newlines:
                line += newlines
                line_begin = at + block.rindex(b"\n") + 1
            at += len(block)
    return f"{path}:{line}:{offset - line_begin + 1}"
