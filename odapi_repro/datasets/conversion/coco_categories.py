"""The categories of a COCO json: those that are classes, as other programs may write them."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.json_numbers import given_as, is_text, whole_of
from odapi_repro.errors import DataError

MOST_ID = 2**62
"""What ids are smaller than."""


@dataclass(frozen=True)
class Category:
    """A category of the json.

    Attributes:
        id: its id in the json.
        name: its name.
        keypoints: names of its keypoints; none for most.
    """

    id: int
    name: str
    keypoints: tuple[str, ...] = ()


def read_categories(
    path: Path, items: Sequence[dict[str, Any]], used: NDArray[np.int64], texts_of_annotations: int
) -> tuple[tuple[Category, ...], list[str]]:
    """Gives the categories, and what was read otherwise than it is written, a sentence each.

    A category 0 that only heads the others, as Roboflow's exports have it, is left out.

    Args:
        path: of the json.
        items: its 'categories'.
        used: the category ids of its annotations.
        texts_of_annotations: how many of these were written as text.

    Raises:
        DataError: ids that are no whole numbers, no names, or either of them twice.
    """
    notes = []
    heading = _heading(items, used)
    if heading is not None:
        notes.append(
            f"category 0 {given_as(heading['name'])} has no annotation and is the supercategory of "
            "others: left out"
        )
    texts = sum(isinstance(one.get("id"), str) for one in items)
    if texts or texts_of_annotations:
        notes.append(
            f"category ids are written as text (of {texts:,} categories and of "
            f"{texts_of_annotations:,} annotations): taken as numbers"
        )
    return _categories(path, [one for one in items if one is not heading]), notes


def _heading(items: Sequence[dict[str, Any]], used: NDArray[np.int64]) -> dict[str, Any] | None:
    above = [one.get("supercategory") for one in items if whole_of(one.get("id")) != 0]
    headings = {one for one in above if is_text(one)}
    heads = [one for one in items if whole_of(one.get("id")) == 0]
    name = heads[0].get("name") if len(heads) == 1 else None
    return None if not is_text(name) or name not in headings or (used == 0).any() else heads[0]


def _categories(path: Path, items: Sequence[dict[str, Any]]) -> tuple[Category, ...]:
    found: list[Category] = []
    for item in items:
        number, name = whole_of(item.get("id")), item.get("name")
        if type(number) is not int or abs(number) >= MOST_ID:
            raise DataError(
                f"category {given_as(name)} has id {given_as(item.get('id'))}, a "
                f"{type(item.get('id')).__name__}",
                expected="category ids that are whole numbers, from 1, of at most 62 bits",
                mend="number the categories in the json, and the annotations with them",
                where=str(path),
            )
        if not name or not is_text(name):
            raise DataError(
                f"category {number} has " + (f"the name {given_as(name)}" if name else "no name"),
                expected="categories with id and name, a text",
                mend="correct the json",
                where=str(path),
            )
        keypoints = item.get("keypoints") or []
        if not isinstance(keypoints, list) or not all(map(is_text, keypoints)):
            raise DataError(
                f"category {number} has the keypoints {given_as(keypoints)}",
                expected="'keypoints' of a category: a list of their names",
                mend="correct the json",
                where=str(path),
            )
        found.append(Category(number, name, tuple(keypoints)))
    for what, values in (
        ("id", [one.id for one in found]),
        ("name", [one.name for one in found]),
    ):
        twice = [value for value, count in collections.Counter(values).items() if count > 1]
        if twice:
            same = [f"{one.id}: '{one.name}'" for one in found if getattr(one, what) == twice[0]]
            raise DataError(
                f"category {what} {twice[0]!r} is given {len(same)} times ({', '.join(same)})",
                expected=f"each {what} once: a label map has one item for it",
                mend="renumber or rename all but one of them, in the annotations too",
                where=str(path),
            )
    if not found:
        raise DataError(
            "'categories' is empty",
            expected="at least one category",
            mend="write the categories that the annotations name",
            where=str(path),
        )
    return tuple(found)
