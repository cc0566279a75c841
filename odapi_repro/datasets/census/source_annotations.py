"""The COCO json that records were made from, as columns."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.image_ids import ImageIds
from odapi_repro.datasets.json_numbers import (
    LARGEST_SIDE,
    float_of,
    is_number,
    is_whole,
    json_fault,
    side_of,
    whole_of,
)
from odapi_repro.errors import DataError, shortened

_EXPECTED = "COCO instances: an object with the lists images, annotations and categories"


@dataclass(frozen=True, eq=False)
class SourceAnnotations:
    """A COCO instances file, without its outlines.

    Attributes:
        path: where it lies.
        rows: image -> its annotations' rows, by the image's id as text.
        file_names: file name -> id as text, for records without COCO's ids.
        sizes: image -> height and width, by the image's id as text.
        corners: float64 [A, 4], ymin xmin ymax xmax in pixels, clipped to the image.
        overruns: bool [A], whether the box as written reaches beyond its image.
        flat: bool [A], whether it has no height or no width, or none that float32 shares can hold.
        outside: bool [A], whether it lies outside the image altogether, of those that are not flat.
        category: int64 [A].
        crowd: bool [A].
        area: float64 [A], NaN where there is none.
        names: category -> name.
    """

    path: Path
    rows: Mapping[str, NDArray[np.int64]]
    file_names: Mapping[str, str]
    sizes: Mapping[str, tuple[float, float]]
    corners: NDArray[np.float64]
    overruns: NDArray[np.bool_]
    flat: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    category: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    area: NDArray[np.float64]
    names: Mapping[int, str]


def read_source_annotations(path: str | os.PathLike[str]) -> SourceAnnotations:
    """Reads a COCO instances json; outlines are thrown away while it is parsed.

    Raises:
        DataError: it cannot be read, is no JSON, or no COCO instances.
    """
    content = _parsed(Path(path))
    lists = [content.get(key) if isinstance(content, dict) else None for key in _KEYS]
    if not all(isinstance(one, list) for one in lists):
        raise _refused(path, "no lists " + ", ".join(_KEYS))
    images, annotations, categories = lists
    try:
        return _columns(Path(path), images or [], annotations or [], categories or [])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"an entry is not as COCO has it ({error!r})"
        raise _refused(path, shortened(found)) from error


_KEYS = ("images", "annotations", "categories")


def _parsed(path: Path) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file, object_hook=_without_outline)
    except OSError as error:
        raise DataError(
            f"cannot read: {error.strerror or error}",
            expected=_EXPECTED,
            mend="name an existing file",
            where=str(path),
        ) from error
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"no JSON: {shortened(json_fault(error))}") from error


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    """Drops what would take ten times the room of all the rest."""
    for key in ("segmentation", "keypoints", "caption"):
        entry.pop(key, None)
    return entry


def _columns(
    path: Path, images: list[Any], annotations: list[Any], categories: list[Any]
) -> SourceAnnotations:
    names = [_id_text(one["id"]) for one in images]
    sides = [(_side(one, "height"), _side(one, "width")) for one in images]
    sizes = dict(zip(names, sides, strict=True))
    rows: dict[str, list[int]] = {name: [] for name in sizes}
    known = ImageIds([one["id"] for one in images], path)
    kept: list[Any] = []
    owners: list[str] = []
    for one in annotations:
        place = known.place(one["image_id"])
        if place is None:
            continue
        owners.append(names[place])
        rows[names[place]].append(len(kept))
        kept.append(one)
    size = np.array([sizes[one] for one in owners], np.float64).reshape(-1, 2)
    boxes = np.array([_box(one) for one in kept], np.float64).reshape(-1, 4)
    corners = np.stack(
        [boxes[:, 1], boxes[:, 0], boxes[:, 1] + boxes[:, 3], boxes[:, 0] + boxes[:, 2]], axis=1
    )
    limits = np.concatenate([size, size], axis=1)
    clipped = np.clip(corners, 0, limits)
    outside = np.asarray((corners[:, 2:] <= 0) | (corners[:, :2] >= size)).any(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (clipped / limits).astype(np.float32)
    flat = (shares[:, 2:] <= shares[:, :2]).any(axis=1) & ~outside
    flat |= (boxes[:, 2:] <= 0).any(axis=1)
    return SourceAnnotations(
        path=path,
        rows={name: np.array(found, np.int64) for name, found in rows.items()},
        file_names={
            str(one.get("file_name", "")): name for one, name in zip(images, names, strict=True)
        },
        sizes=sizes,
        corners=clipped,
        overruns=(corners != clipped).any(axis=1),
        flat=flat,
        outside=outside & ~flat,
        category=np.array([_whole(one, "category_id") for one in kept], np.int64),
        crowd=np.array([bool(one.get("iscrowd", 0)) for one in kept], np.bool_),
        area=np.array([float_of(one.get("area")) for one in kept], np.float64),
        names={_whole(one, "id"): str(one["name"]) for one in categories},
    )


def _side(image: dict[str, Any], name: str) -> float:
    side = side_of(image[name])
    if side is None:
        raise ValueError(f"{name} {image[name]!r}, not whole pixels from 1 to {LARGEST_SIDE:,}")
    return float(side)


def _box(annotation: dict[str, Any]) -> list[float]:
    """Gives the four numbers of a box; what is beyond all floats is infinite."""
    box = annotation["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise ValueError(f"bbox {box!r}, not four numbers")
    return [float_of(side) for side in box]


def _whole(entry: dict[str, Any], name: str) -> int:
    """Gives an id, as `whole_of` reads it."""
    value = whole_of(entry[name])
    if value is None or not is_whole(value):
        raise ValueError(f"{name} {entry[name]!r}, not a whole number of at most 64 bits")
    return value


def _id_text(value: Any) -> str:
    """Gives the id of an image as records have it, which `data convert` made of the same json."""
    return str(whole_of(value) if type(value) is float and value.is_integer() else value)


def _refused(path: str | os.PathLike[str], found: str) -> DataError:
    return DataError(
        f"these are no COCO annotations: {found}",
        expected=_EXPECTED,
        mend="name the json that the records were made from, such as instances_train2017.json",
        where=str(path),
    )
