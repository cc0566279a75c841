"""Annotations in another format than COCO's: what they are, and the way to COCO."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from odapi_repro.errors import DataError, shortened

__all__ = ["EXPECTED", "of_file", "of_folder", "of_keys"]

EXPECTED = "COCO's instances as JSON: an object with 'images', 'annotations' and 'categories'"
_BOX = "its bbox is [xmin, ymin, xmax - xmin, ymax - ymin] in pixels"
_EXPORT = "export COCO from the program that the boxes were drawn with"
_VOC = (
    "Pascal VOC's XML, a file an image",
    f"{_EXPORT}, or convert the set (in VOC's own folders) with Datumaro: datum convert -if voc -i "
    f"FOLDER -f coco -o OUT; {_BOX}",
)
_CVAT = ("CVAT's own XML", "export the task as 'COCO 1.0' from CVAT")
_YOLO = (
    "YOLO's labels, a text an image: class, centre, width and height as shares",
    f"{_EXPORT}, or convert the set (with its list of names) with Datumaro: datum convert -if yolo "
    "-i FOLDER -f coco -o OUT",
)
_RECORDS = (
    "records (TFRecord), which are what this command makes",
    "look at them with: python -m odapi_repro.data check {path}",
)
_OF_ONE_IMAGE = f"{_EXPORT}: one json for all images of a split"
# A key that COCO does not have -> whose json it is, and what to do.
_KEYS = {
    "shapes": ("labelme's json, a file an image", _OF_ONE_IMAGE),
    "_via_img_metadata": ("a project of the VGG Image Annotator", "export it as COCO from there"),
}
_MOST_ENTRIES = 10_000
_YOLO_LINE = re.compile(rb"\A\s*\d+(?:[ \t]+[-+.\deE]+){4,}[ \t]*(?:\r?\n|\Z)")
_RECORD_NAME = re.compile(r"record", re.IGNORECASE)


def of_file(path: Path, begin: bytes) -> DataError | None:
    """Gives the error of a file in a known format that is no JSON; None for any other.

    `begin` are the file's first bytes.
    """
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") and re.search(rb"<annotation\b", text):
        return _refused(path, *_VOC)
    if text.startswith(b"<") and re.search(rb"<annotations\b", text):
        return _refused(path, *_CVAT)
    if b"\0" in begin and _RECORD_NAME.search(path.name):
        return _refused(path, *_RECORDS)
    if _YOLO_LINE.match(text):
        return _refused(path, *_YOLO)
    head = text.split(b"\n", 1)[0].decode(errors="replace").strip()
    columns = re.split(r"[,;\t]", head)
    if path.suffix.lower() in (".csv", ".tsv") or (len(columns) >= 5 and head[:1] not in "{["):
        listed = shortened(", ".join(one.strip().strip('"') for one in columns))
        return _refused(
            path,
            f"a table (csv) that begins with {listed}",
            f"{_EXPORT}, or write each row as an annotation, with the image and the category that "
            f"it names; {_BOX}",
        )
    return None


def of_folder(path: Path) -> DataError:
    """Gives the error of a folder in place of a json, by what lies in it."""
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in islice(entries, _MOST_ENTRIES))
    except OSError as error:
        return DataError(
            f"cannot list the folder: {error.strerror or error}",
            expected=EXPECTED,
            mend="name a json that can be read",
            where=str(path),
        )
    by_end = {
        end: [one for one in names if one.lower().endswith(end)]
        for end in (".json", ".xml", ".csv", ".txt")
    }
    begins = {end: _begin(path / found[0]) for end, found in by_end.items() if found}
    records = [one for one in names if _RECORD_NAME.search(one)]
    if by_end[".json"] and b'"shapes"' not in begins[".json"]:
        many = len(by_end[".json"]) > 1
        return DataError(
            f"this is a folder, with {by_end['.json'][0]}" + (" and others" if many else ""),
            expected=EXPECTED,
            mend=f"name the json of the split: --annotations {path / by_end['.json'][0]}",
            where=str(path),
        )
    if by_end[".json"]:
        return _refused(path, *_KEYS["shapes"], folder=True)
    for end in (".xml", ".csv", ".txt"):
        if by_end[end]:
            told = of_file(path / by_end[end][0], begins[end])
            if told is not None:
                return _folder_of(path, told)
    if records:
        return _refused(path, *_RECORDS, folder=True)
    return DataError(
        "this is a folder, without a json" if names else "this is an empty folder",
        expected=EXPECTED,
        mend="name the json of the split",
        where=str(path),
    )


def of_keys(path: Path, keys: Sequence[str]) -> DataError | None:
    """Gives the error of a json of another program, by its keys; None for an unknown one."""
    for key, (what, mend) in _KEYS.items():
        if key in keys:
            return _refused(path, what, mend)
    return None


def _begin(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _folder_of(path: Path, told: DataError) -> DataError:
    return DataError(
        told.found.replace("this is ", "this is a folder of ", 1),
        expected=told.expected,
        mend=told.mend,
        where=str(path),
    )


def _refused(path: Path, what: str, mend: str, *, folder: bool = False) -> DataError:
    return DataError(
        f"this is {'a folder of ' if folder else ''}{what}",
        expected=EXPECTED,
        mend=mend.format(path=path),
        where=str(path),
    )
