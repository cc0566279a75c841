"""A COCO json as columns: images, categories and annotations, outlines left in the file."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.coco_categories import MOST_ID, Category, read_categories
from odapi_repro.datasets.conversion.json_elements import Cut, JsonReader
from odapi_repro.datasets.image_ids import ImageIds
from odapi_repro.datasets.json_numbers import float_of, given_as, is_text, side_of, whole_of
from odapi_repro.datasets.other_formats import of_keys
from odapi_repro.errors import DataError, shortened

UNKNOWN = -1
"""The image or category of an annotation that names one which the file does not hold."""

_SHOWN = 10
_KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "num_keypoints")
_IMAGE_KEYS = ("id", "file_name", "height", "width")
_FLAGS = {0, 1, None}
_WANTED: Mapping[str, Sequence[str]] = {
    "images": (),
    "categories": (),
    "annotations": ("segmentation", "keypoints"),
}


@dataclass(frozen=True, eq=False)
class CocoIndex:
    """What a COCO json holds; annotations in the file's order, as columns of length N.

    Attributes:
        path: the json.
        digest: sha256 of the file.
        image_ids: ids of the images as text.
        file_names: of the images.
        heights: int64, pixels.
        widths: int64, pixels.
        categories: in the file's order.
        ids: int64 [N]; -1 where an annotation has none that is a whole number.
        images: int64 [N], number of the image, UNKNOWN where there is no such image.
        category_ids: int64 [N]; UNKNOWN where there is no such category.
        boxes: float64 [N, 4] x y width height in pixels, as in the json.
        areas: float64 [N] in pixels; NaN where there is none.
        crowd: bool [N].
        num_keypoints: int64 [N].
        segmentations: where the outlines lie in the file.
        keypoints: where the keypoints lie in the file.
        without_crowd_flag: annotations that lack `iscrowd`, which counts as 0.
        notes: what was read otherwise than it is written, a sentence each.
    """

    path: Path
    digest: str
    image_ids: tuple[str, ...]
    file_names: tuple[str, ...]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    categories: tuple[Category, ...]
    ids: NDArray[np.int64]
    images: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    num_keypoints: NDArray[np.int64]
    segmentations: Cut
    keypoints: Cut
    without_crowd_flag: int
    notes: tuple[str, ...] = ()


def read_coco(path: Path, *, tick: Callable[[int], None] = lambda read: None) -> CocoIndex:
    """Gives the columns of a COCO json; its memory does not grow with the outlines.

    `tick` is told the bytes read so far.

    Raises:
        DataError: no COCO json, or images, categories or boxes that are not as COCO has them.
    """
    reader = JsonReader(path, _WANTED)
    images: list[dict[str, Any]] = []
    categories: list[dict[str, Any]] = []
    columns = _Columns(path)
    for elements in reader.elements():
        if elements.key == "annotations":
            columns.add(elements.items, elements.first, elements.cuts)
        elif elements.key == "images":
            images += [_image_fields(path, item) for item in elements.items]
        else:
            categories += elements.items
        tick(reader.bytes_read)
    for key in ("images", "annotations", "categories"):
        if key not in reader.keys:
            raise of_keys(path, reader.keys) or DataError(
                f"this is not COCO: the json has no '{key}' "
                f"(it has: {', '.join(dict.fromkeys(reader.keys)) or 'nothing'})",
                expected="an object with 'images', 'annotations' and 'categories'",
                mend="name an instances json (captions and image infos hold no boxes)",
                where=str(path),
            )
    return columns.index(reader.digest, images, categories)


def _image_fields(path: Path, item: dict[str, Any]) -> dict[str, Any]:
    """Gives what is used of an image's entry, so that the rest need not stay in memory."""
    if type(item.get("id")) is float:
        item = {**item, "id": _without_fraction(item["id"])}
    if "file_name" not in item and is_text(item.get("coco_url")):
        item = {**item, "file_name": item["coco_url"]}  # LVIS
    missing = [key for key in _IMAGE_KEYS if key not in item]
    height, width = side_of(item.get("height")), side_of(item.get("width"))
    if not missing:
        number, name = item["id"], item["file_name"]
        is_id = type(number) is int or is_text(number)
        if is_id and is_text(name) and height is not None and width is not None:
            return {"id": number, "file_name": name, "height": height, "width": width}
        wrong = [key for key, sound in (("id", is_id), ("file_name", is_text(name))) if not sound]
        if height is None or width is None:
            wrong += ["height", "width"]
        found = "has " + " and ".join(f"{key} {given_as(item[key])}" for key in wrong)
    else:
        found = f"has no {missing[0]!r}"
    raise DataError(
        f"image {given_as(item.get('id', '?'))} {found}",
        expected="images with id (a whole number or text), file_name, height and width (whole "
        "pixels, from 1)",
        mend="correct the json",
        where=str(path),
    )


class _Columns:
    """Collects annotations, batch by batch, as arrays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batches: dict[str, list[NDArray[Any]]] = collections.defaultdict(list)
        self._image_ids: list[Any] = []
        self._without_crowd = 0
        self._notes: list[str] = []
        self._category_texts = 0

    def add(self, items: Sequence[dict[str, Any]], first: int, cuts: Mapping[str, Cut]) -> None:
        add = self._batches
        ids, image_ids, categories, boxes, areas, flags, num_keypoints = (
            [item.get(key) for item in items] for key in _KEYS
        )
        image_ids = _without_fractions(image_ids)
        add["ids"].append(_whole_or_unknown(_without_fractions(ids)))
        self._image_ids.append(np.array(image_ids) if _are_whole(image_ids) else image_ids)
        add["category"].append(self._category_ids(categories, items, first))
        add["boxes"].append(self._boxes(boxes, items, first))
        add["areas"].append(np.array([float_of(area) for area in areas], np.float64))
        self._without_crowd += flags.count(None)
        if not set(map(type, flags)) <= {int, bool, float, type(None)} or not set(flags) <= _FLAGS:
            number = next(i for i, flag in enumerate(flags) if flag not in (0, 1, None))
            found = f"iscrowd {given_as(flags[number])}"
            raise self._wrong(items[number], first + number, found, "0 or 1")
        add["crowd"].append(np.array([bool(flag) for flag in flags], np.bool_))
        add["num_keypoints"].append(_whole_or_unknown(_without_fractions(num_keypoints)))
        for name, cut in cuts.items():
            add[f"{name} starts"].append(cut.starts)
            add[f"{name} lengths"].append(cut.lengths)

    def _category_ids(
        self, values: list[Any], items: Sequence[dict[str, Any]], first: int
    ) -> NDArray[np.int64]:
        if _are_whole(values):
            return _whole(values)
        numbers = []
        for number, value in enumerate(values):
            whole = whole_of(value)
            if whole is not None and abs(whole) <= MOST_ID:
                self._category_texts += isinstance(value, str)
                numbers.append(whole)
                continue
            found = "no category_id" if value is None else f"category_id {given_as(value)}"
            raise self._wrong(
                items[number], first + number, found, "the id of a category, a whole number"
            )
        return _whole(numbers)

    def _boxes(
        self, values: list[Any], items: Sequence[dict[str, Any]], first: int
    ) -> NDArray[np.float64]:
        if set(map(type, values)) == {list} and set(map(len, values)) == {4}:
            flat = list(itertools.chain.from_iterable(values))
            if set(map(type, flat)) <= {int, float}:
                return _floats(flat).reshape(-1, 4)
        for number, value in enumerate(values):
            if not isinstance(value, list):
                found = "no bbox" if value is None else f"bbox {given_as(value)}"
            elif len(value) != 4:
                found = f"a bbox of {len(value)} values"
            elif not set(map(type, value)) <= {int, float}:
                found = f"bbox {given_as(value)}"
            else:
                continue
            raise self._wrong(
                items[number], first + number, found,
                "bbox: [x, y, width, height], four numbers in pixels",
            )  # fmt: skip
        return np.zeros((0, 4))

    def _wrong(self, item: dict[str, Any], number: int, found: str, expected: str) -> DataError:
        name = f"annotation number {number}"
        if "id" in item:
            name = f"annotation {given_as(item['id'])}"
        return DataError(
            f"{name} has {found}", expected=expected, mend="correct the json",
            where=str(self._path),
        )  # fmt: skip

    def _joined(self, name: str, dtype: Any, width: tuple[int, ...] = ()) -> NDArray[Any]:
        batches = self._batches.pop(name, [])
        return np.concatenate(batches) if batches else np.zeros((0, *width), dtype)

    def index(
        self, digest: str, images: Sequence[dict[str, Any]], items: Sequence[dict[str, Any]]
    ) -> CocoIndex:
        ids = [image["id"] for image in images]
        self._check_images(ids)
        category_ids = self._joined("category", np.int64)
        categories, notes = read_categories(self._path, items, category_ids, self._category_texts)
        self._notes += notes
        known = np.isin(category_ids, [one.id for one in categories])
        return CocoIndex(
            path=self._path,
            digest=digest,
            image_ids=tuple(map(str, ids)),
            file_names=tuple(image["file_name"] for image in images),
            heights=np.array([image["height"] for image in images], np.int64),
            widths=np.array([image["width"] for image in images], np.int64),
            categories=categories,
            ids=self._joined("ids", np.int64),
            images=self._image_numbers(ids),
            category_ids=np.where(known, category_ids, UNKNOWN),
            boxes=self._joined("boxes", np.float64, (4,)),
            areas=self._joined("areas", np.float64),
            crowd=self._joined("crowd", np.bool_),
            num_keypoints=self._joined("num_keypoints", np.int64),
            segmentations=self._cut("segmentation"),
            keypoints=self._cut("keypoints"),
            without_crowd_flag=self._without_crowd,
            notes=tuple(self._notes),
        )

    def _cut(self, name: str) -> Cut:
        return Cut(
            self._joined(f"{name} starts", np.int64), self._joined(f"{name} lengths", np.int64)
        )

    def _check_images(self, ids: Sequence[Any]) -> None:
        if not ids:
            raise DataError(
                "'images' is empty",
                expected="at least one image",
                mend="name the instances json of the images",
                where=str(self._path),
            )
        twice = [one for one, count in collections.Counter(map(str, ids)).items() if count > 1]
        if twice:
            raise DataError(
                f"{len(twice)} image id(s) are given more than once: "
                + shortened(", ".join(twice[:_SHOWN])) + (", ..." if len(twice) > _SHOWN else ""),
                expected="each image id once; annotations name their image by it",
                mend="renumber the images, in the annotations too",
                where=str(self._path),
            )  # fmt: skip

    def _image_numbers(self, ids: Sequence[Any]) -> NDArray[np.int64]:
        """Gives the number of each annotation's image."""
        known = ImageIds(ids, self._path)
        parts = []
        sorted_ids = order = np.zeros(0, np.int64)
        if all(type(one) is int and abs(one) < 2**62 for one in ids):
            order = np.argsort(np.array(ids, np.int64), kind="stable")
            sorted_ids = np.array(ids, np.int64)[order]
        for batch in self._image_ids:
            if isinstance(batch, np.ndarray) and len(sorted_ids):
                place = np.minimum(np.searchsorted(sorted_ids, batch), len(sorted_ids) - 1)
                parts.append(np.where(sorted_ids[place] == batch, order[place], UNKNOWN))
            else:
                listed = batch.tolist() if isinstance(batch, np.ndarray) else batch
                places = [known.place(one) for one in listed]
                parts.append(_whole([UNKNOWN if one is None else one for one in places]))
        if known.note:
            self._notes.append(known.note)
        self._image_ids = []
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _are_whole(values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {int} and all(-MOST_ID < one < MOST_ID for one in values)


def _whole(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _whole_or_unknown(values: Sequence[Any]) -> NDArray[np.int64]:
    if _are_whole(values):
        return _whole(values)
    wholes = map(whole_of, values)
    return _whole([UNKNOWN if one is None or abs(one) >= MOST_ID else one for one in wholes])


def _without_fraction(value: Any) -> Any:
    """Gives 7 for 7.0, which pandas writes; anything else as it is."""
    is_whole = type(value) is float and value.is_integer() and abs(value) < MOST_ID
    return int(value) if is_whole else value


def _without_fractions(values: list[Any]) -> list[Any]:
    return list(map(_without_fraction, values)) if float in set(map(type, values)) else values


def _floats(values: Sequence[int | float]) -> NDArray[np.float64]:
    try:
        return np.array(values, np.float64)
    except OverflowError:  # a whole number beyond all floats
        return np.array(list(map(float_of, values)), np.float64)
