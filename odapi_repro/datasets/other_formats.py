"""Annotations in another format than COCO's: what they are, and the way to COCO."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from odapi_repro.datasets.record_files import is_record_name
from odapi_repro.datasets.tfrecord import begins_record
from odapi_repro.errors import DataError, shortened
from odapi_repro.foreign_text import command_line

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
_MOST_ENTRIES, _MOST_FOLDERS, _MOST_DEPTH = 10_000, 50, 2
_YOLO_LINE = re.compile(rb"\A\s*\d+(?:[ \t]+[-+.\deE]+){4,}[ \t]*(?:\r?\n|\Z)")


def of_file(path: Path, begin: bytes) -> DataError | None:
    """Gives the error of a file in a known format that is no JSON; None for any other.

    `begin` are the file's first bytes.
    """
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") and re.search(rb"<annotation\b", text):
        return _refused(path, *_VOC)
    if text.startswith(b"<") and re.search(rb"<annotations\b", text):
        return _refused(path, *_CVAT)
    if begins_record(begin) or (b"\0" in begin and is_record_name(path.name)):
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
    """Gives the error of a folder in place of a json, by what lies in it or in its folders."""
    try:
        is_empty = next(path.iterdir(), None) is None
    except OSError as error:
        return DataError(
            f"cannot list the folder: {error.strerror or error}",
            expected=EXPECTED,
            mend="name a json that can be read",
            where=str(path),
        )
    for folder in islice(_folders(path), _MOST_FOLDERS):
        if (told := _by_contents(path, folder)) is not None:
            return told
    return DataError(
        "this is an empty folder" if is_empty else "this is a folder, without a json",
        expected=EXPECTED,
        mend="name the json of the split",
        where=str(path),
    )


def _folders(path: Path) -> Iterator[Path]:
    """Gives a folder, those in it and those in these; what is named train before the others."""
    level = [path]
    for _ in range(_MOST_DEPTH + 1):
        yield from level
        below = (one for folder in level[:_MOST_FOLDERS] for one in _entries(folder))
        level = sorted((one for one in below if one.is_dir()), key=_train_first)


def _entries(folder: Path) -> list[Path]:
    try:
        return [one for one in islice(folder.iterdir(), _MOST_ENTRIES) if one.name[0] != "."]
    except OSError:
        return []


def _train_first(path: Path) -> tuple[bool, str]:
    return "train" not in path.name, str(path)


def _by_contents(given: Path, path: Path) -> DataError | None:
    """Gives the error of `given` by the files in `path`, itself or a folder in it."""
    files = sorted((one for one in _entries(path) if not one.is_dir()), key=_train_first)
    names = [one.name for one in files]
    by_end = {
        end: [one for one in names if one.lower().endswith(end)]
        for end in (".json", ".xml", ".csv", ".txt")
    }
    begins = {end: _begin(path / found[0]) for end, found in by_end.items() if found}
    if by_end[".json"] and b'"shapes"' not in begins[".json"]:
        json = path / by_end[".json"][0]
        many = len(by_end[".json"]) > 1
        return DataError(
            f"this is a folder, with {json.relative_to(given)}" + (" and others" if many else ""),
            expected=EXPECTED,
            mend=f"name the json of the split: {command_line(['--annotations', str(json)])}",
            where=str(given),
        )
    if by_end[".json"]:
        return _refused(path, *_KEYS["shapes"], folder=True)
    for end in (".xml", ".csv", ".txt"):
        if by_end[end]:
            told = of_file(path / by_end[end][0], begins[end])
            if told is not None:
                return _folder_of(path, told)
    if any(map(is_record_name, names)):
        return _refused(path, *_RECORDS, folder=True)
    return None


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
    found = told.found.replace("a table (csv) that", "tables (csv), one of which", 1)
    return DataError(
        found.replace("this is ", "this is a folder of ", 1),
        expected=told.expected,
        mend=told.mend,
        where=str(path),
    )


def _refused(path: Path, what: str, mend: str, *, folder: bool = False) -> DataError:
    return DataError(
        f"this is {'a folder of ' if folder else ''}{what}",
        expected=EXPECTED,
        mend=mend.format(path=command_line([str(path)])),
        where=str(path),
    )
