"""Label maps (StringIntLabelMap text protos): read with line and column errors, and written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odapi_repro.errors import DataError, shortened
from odapi_repro.files import write_whole

_EXAMPLE = "items such as: item { id: 1 name: 'person' }, ids from 1"


@dataclass(frozen=True)
class LabelMap:
    """Class names by id, ids from 1 (0 is the background, which has no item).

    Attributes:
        items: name by id.
        display_names: display name by id, for the items that have one.
    """

    items: Mapping[int, str]
    display_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """The highest id: the least `num_classes` a model needs (COCO: 80 names, 90 classes)."""
        return max(self.items, default=0)

    def id_of(self, name: str) -> int | None:
        """Gives the id of a name or display name, None when neither is known.

        Where both match, the higher id counts (TfExampleDecoder._ClassTensorHandler).
        """
        ids = [
            i for names in (self.items, self.display_names) for i, n in names.items() if n == name
        ]
        return max(ids, default=None)

    def categories(self) -> list[dict[str, Any]]:
        """Gives COCO's `categories` list, by id."""
        return [{"id": i, "name": self.items[i]} for i in sorted(self.items)]


def read_label_map(path: str | os.PathLike[str]) -> LabelMap:
    """Gives the label map of a `.pbtxt` file.

    Raises:
        DataError: unreadable, no text proto (with line and column), no items, an id below 1, an
            id twice, an item without a name.
    """
    text = _text_of(path)
    from google.protobuf import text_format
    from object_detection.protos import string_int_label_map_pb2

    message = string_int_label_map_pb2.StringIntLabelMap()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        reason = shortened(str(error).split(" : ", 1)[-1])
        place = f":{line}:{column}" if line is not None and column is not None else ""
        raise DataError(
            f"the label map does not parse: {reason}",
            expected=_EXAMPLE,
            mend="edit the file at that place",
            where=f"{path}{place}",
        ) from error
    return _checked(message, path)


def write_label_map(label_map: LabelMap, path: str | os.PathLike[str]) -> None:
    """Writes the label map as a text proto that `read_label_map` and the OD API read.

    Raises:
        UserError: the file cannot be written; what was there still is.
    """
    lines = []
    for class_id in sorted(label_map.items):
        lines += ["item {", f"  id: {class_id}", f"  name: {_quoted(label_map.items[class_id])}"]
        if class_id in label_map.display_names:
            lines.append(f"  display_name: {_quoted(label_map.display_names[class_id])}")
        lines.append("}")
    write_whole(path, "\n".join(lines) + "\n")


def _text_of(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot read the label map: {error.strerror or error}",
            expected="a label map, a .pbtxt file",
            mend="name an existing file with --label_map",
            where=str(path),
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"the label map is no text (byte {error.start} is not UTF-8)",
            expected=_EXAMPLE,
            mend="name the .pbtxt file, not a record or an archive",
            where=str(path),
        ) from error


def _checked(message: Any, path: str | os.PathLike[str]) -> LabelMap:
    """Gives the label map of a parsed message, after the checks that the OD API leaves out."""
    items: dict[int, str] = {}
    display_names: dict[int, str] = {}
    for item in message.item:
        name = item.name or item.display_name
        if item.id < 1:
            raise DataError(
                f"item '{name}' has id {item.id}",
                expected="ids from 1; 0 is the background, which has no item",
                mend=(
                    "leave the background out"
                    if name == "background"
                    else "number the classes from 1, in the label map and in the records"
                ),
                where=str(path),
            )
        if item.id in items:
            raise DataError(
                f"id {item.id} is given twice: '{items[item.id]}' and '{name}'",
                expected="one item per id",
                mend="renumber or remove one of the two items",
                where=str(path),
            )
        if not name:
            raise DataError(
                f"the item with id {item.id} has no name",
                expected=_EXAMPLE,
                mend="give it the name that the records hold in image/object/class/text",
                where=str(path),
            )
        items[item.id] = name
        if item.display_name:
            display_names[item.id] = item.display_name
    if not items:
        raise DataError(
            "the label map has no items",
            expected=_EXAMPLE,
            mend="fill in the classes",
            where=str(path),
        )
    return LabelMap(items, display_names)


def _quoted(name: str) -> str:
    """Gives a text proto's string: letters of any alphabet as they are, the rest escaped.

    Letter by letter, because CEscape's as_utf8 differs between protobuf 4 and 6.
    """
    from google.protobuf import text_encoding

    return "'{}'".format(
        "".join(
            letter
            if letter.isprintable() and not letter.isascii()
            else text_encoding.CEscape(letter.encode(), as_utf8=False)
            for letter in name
        )
    )
