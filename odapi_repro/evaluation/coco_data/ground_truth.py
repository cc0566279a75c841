"""Ground truth from COCO's instances JSON, with the checks that pycocotools leaves out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.json_numbers import LARGEST_SIDE, writable
from odapi_repro.datasets.limits import JSON_BYTES
from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data.coco_columns import GroundTruth
from odapi_repro.evaluation.coco_data.json_fields import Rows, kind_of, listed, shown
from odapi_repro.evaluation.coco_data.json_file import collection_paused, read_json

_EXPECTED = "a COCO instances file: an object of images, annotations and categories"


def read_ground_truth(path: str | os.PathLike[str], *, max_bytes: int = JSON_BYTES) -> GroundTruth:
    """Gives the ground truth of a COCO instances file (.json or .json.gz).

    Raises:
        DataError: a file that does not read, of another kind, inconsistent, or without a single
            annotation, on which nothing could be scored.
    """
    with collection_paused():
        truth = ground_truth_of(
            read_json(path, "ground truth", max_bytes=max_bytes), where=str(path)
        )
    if not truth.num_annotations:
        raise DataError(
            f"the ground truth holds no annotations ({truth.num_images} images)",
            expected=_EXPECTED,
            mend="name the file with the annotations of these images",
            where=str(path),
        )
    return truth


def ground_truth_of(content: Any, where: str = "") -> GroundTruth:
    """Gives the ground truth of a parsed COCO instances data set.

    As pycocotools does: `iscrowd` is 0 where it is missing, `ignore` counts for nothing
    (`COCOeval._prepare` overwrites it by `iscrowd`), and every annotation needs an `area`, by
    which objects are sorted into small, medium and large. Unlike there, what does not fit together
    is refused: ids given twice, annotations of images or categories that are not listed. An empty
    list of annotations is taken: nothing to score is a result of its own.

    Args:
        content: `json.load` of the file, or a data set made in memory.
        where: the file, for the messages.

    Raises:
        DataError: another kind of file, a field that is missing or wrong, an id given twice or
            not listed.
    """
    _check_kind(content, where)
    images = Rows(content["images"], "image", "images", where)
    annotations = Rows(content["annotations"], "annotation", "annotations", where)
    categories = Rows(content["categories"], "category", "categories", where)
    image_ids = _image_ids(images)
    by_id = _category_names(categories)
    if annotations.rows and "segments_info" in annotations.rows[0]:
        raise _of_kind("a panoptic file: its annotations are 'segments_info'", where)
    if annotations.rows and "caption" in annotations.rows[0]:
        raise _of_kind("a captions file", where)
    category_ids = tuple(by_id)
    boxes = annotations.boxes(annotations.values("bbox"))
    ids = _annotation_ids(annotations)
    # An empty list is no mask.
    masks = tuple(row["segmentation"] for row in annotations.rows if row.get("segmentation"))
    return GroundTruth(
        image_ids=image_ids,
        file_names=tuple(writable(str(row.get("file_name", ""))) for row in images.rows),
        heights=_sizes(images, "height"),
        widths=_sizes(images, "width"),
        category_ids=category_ids,
        category_names=tuple(by_id.values()),
        ids=ids,
        images=_positions(annotations, "image_id", image_ids, "images"),
        categories=_positions(annotations, "category_id", category_ids, "categories"),
        boxes=boxes,
        areas=_areas(annotations),
        is_crowd=_crowds(annotations),
        masks=masks if masks and len(masks) == len(annotations) else None,
        where=where,
        unmasked=_unmasked(annotations, ids) if masks else (),
    )


def _check_kind(content: Any, where: str) -> None:
    if isinstance(content, list):
        first = content[0] if content else None
        if isinstance(first, Mapping) and "score" in first:
            raise DataError(
                f"this is a results file: a list of {len(content)} detections",
                expected=_EXPECTED,
                mend="name it with --detections, and the instances file with --ground_truth",
                where=where,
            )
    if not isinstance(content, Mapping):
        raise _of_kind(f"JSON of another kind: {kind_of(content)}", where)
    missing = [name for name in ("images", "annotations", "categories") if name not in content]
    if missing:
        there = listed(content, most=6) or "nothing"
        tested = missing == ["annotations"]
        raise DataError(
            f"the ground truth has no {' and no '.join(map(repr, missing))} (it has {there})",
            expected=_EXPECTED,
            mend="a list of test images has no ground truth; name an instances file"
            if tested
            else "name an instances file",
            where=where,
        )
    for name in ("images", "categories"):
        if not content[name]:
            raise DataError(
                f"the ground truth's list of {name} is empty", expected=_EXPECTED, where=where
            )


def _of_kind(kind: str, where: str) -> DataError:
    return DataError(
        f"this is {kind}", expected=_EXPECTED, mend="name an instances file", where=where
    )


def _image_ids(images: Rows) -> tuple[int, ...] | tuple[str, ...]:
    ids = images.values("id")
    kinds = set(map(type, ids))
    if kinds not in ({int}, {str}):
        wrong = kinds - {int, str}
        bad = [i for i, value in enumerate(ids) if type(value) in (wrong or {str})]
        raise images.error(
            f"'id' is {shown(ids[bad[0]])}",
            bad,
            expected="integers, or strings, and the same in all images",
        )
    _check_unique(images, ids)
    return tuple(ids)


def _category_names(categories: Rows) -> dict[int, str]:
    """Gives the names by id, ascending."""
    ids = categories.values("id")
    bad = [i for i, value in enumerate(ids) if type(value) is not int]
    if bad:
        raise categories.error(f"'id' is {shown(ids[bad[0]])}", bad, expected="integers")
    _check_unique(categories, ids)
    given = (str(row.get("name", id_)) for row, id_ in zip(categories.rows, ids, strict=True))
    names = map(writable, given)
    return dict(sorted(zip(ids, names, strict=True)))


def _annotation_ids(annotations: Rows) -> NDArray[np.int64]:
    if not any("id" in row for row in annotations.rows):
        return np.arange(1, len(annotations) + 1, dtype=np.int64)
    ids = annotations.values("id")
    if set(map(type, ids)) != {int} or not -(2**63) < min(ids) <= max(ids) < 2**63:
        bad = [i for i, value in enumerate(ids) if type(value) is not int or abs(value) >= 2**63]
        raise annotations.error(
            f"'id' is {shown(ids[bad[0]])}", bad, expected="integers of at most 64 bits"
        )
    _check_unique(annotations, ids)
    return np.array(ids, np.int64)


def _check_unique(rows: Rows, ids: Sequence[int | str]) -> None:
    if len(set(ids)) == len(ids):
        return
    twice = {id_ for id_, count in Counter(ids).items() if count > 1}
    bad = [i for i, id_ in enumerate(ids) if id_ in twice]
    raise rows.error(
        f"{len(twice)} ids are given more than once ({listed(sorted(twice, key=ids.index))})",
        bad,
        expected=f"an id of its own for every {rows.noun}",
        mend="number them again; were two files put together?",
    )


def _sizes(images: Rows, name: str) -> NDArray[np.int64]:
    values = [row.get(name) or 0 for row in images.rows]
    column = images.numbers(name, values)
    is_side = (column >= 0) & (column <= LARGEST_SIDE) & (column == np.floor(column))
    bad = np.flatnonzero(~is_side).tolist()
    if bad:
        raise images.error(
            f"'{name}' is {column[bad[0]]:g}", bad, expected=f"whole pixels, up to {LARGEST_SIDE:,}"
        )
    return column.astype(np.int64)


def _areas(annotations: Rows) -> NDArray[np.float64]:
    values = annotations.values(
        "area",
        mend="write the area of the mask, or width * height where there are boxes only; COCO sorts "
        "objects into small, medium and large by it",
    )
    areas = annotations.numbers("area", values)
    bad = np.flatnonzero(areas < 0).tolist()
    if bad:
        raise annotations.error(f"'area' is {areas[bad[0]]:g}", bad, expected="square pixels")
    return areas


def _crowds(annotations: Rows) -> NDArray[np.bool_]:
    values = [row.get("iscrowd", 0) for row in annotations.rows]
    if not set(map(type, values)) <= {int, bool, float} or not set(values) <= {0, 1}:
        bad = [i for i, value in enumerate(values) if value not in (0, 1)]
        raise annotations.error(f"'iscrowd' is {shown(values[bad[0]])}", bad, expected="0 or 1")
    return np.array(values, np.bool_)


def _unmasked(annotations: Rows, ids: NDArray[np.int64]) -> tuple[int, ...]:
    lacks = [not row.get("segmentation") for row in annotations.rows]
    return tuple(ids[np.array(lacks, np.bool_)].tolist())


def _positions(
    annotations: Rows, name: str, ids: Sequence[int | str], listed_in: str
) -> NDArray[np.int32]:
    found = annotations.positions(name, ids)
    bad = np.flatnonzero(found < 0).tolist()
    if bad:
        unknown = dict.fromkeys(shown(annotations.rows[i][name]) for i in bad)
        raise annotations.error(
            f"'{name}' is not among the {listed_in} ({', '.join(list(unknown)[:3])})",
            bad,
            expected=f"ids that '{listed_in}' lists, such as {listed(ids, most=2)}",
            mend=f"leave out the annotations of other {listed_in}, or list these",
        )
    return found
