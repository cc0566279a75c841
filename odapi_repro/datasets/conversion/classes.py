"""Which categories become classes, under which ids: one label map for all splits."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odapi_repro.datasets.conversion.coco_categories import Category
from odapi_repro.datasets.conversion.coco_index import CocoIndex
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.errors import DataError, UserError

_LARGEST_ID = 2**31 - 1  # a label map's ids are int32


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        categories: those kept, by id.
        ids: id in the label map, by category id.
    """

    categories: Mapping[int, Category]
    ids: Mapping[int, int]

    @property
    def label_map(self) -> LabelMap:
        """The label map of the classes."""
        return LabelMap({self.ids[one.id]: one.name for one in self.categories.values()})


def classes_of(indexes: Sequence[CocoIndex], names: Sequence[str], class_ids: str) -> Classes:
    """Gives the classes of several jsons together.

    Args:
        indexes: the jsons; a category that several hold must be the same in each.
        names: classes to keep; all when empty.
        class_ids: `keep` the categories' ids, or number them `consecutive` from 1, by id.

    Raises:
        DataError: jsons that contradict each other, or an id that no label map can hold.
        UserError: a name that no json has.
    """
    categories: dict[int, Category] = {}
    for index in indexes:
        for one in index.categories:
            other = categories.setdefault(one.id, one)
            if other.name != one.name:
                raise _contradiction(f"category {one.id} is '{one.name}'", f"'{other.name}'", index)
    by_name: dict[str, Category] = {}
    for one in categories.values():
        other = by_name.setdefault(one.name, one)
        if other.id != one.id:
            raise _contradiction(f"'{one.name}' has id {one.id}", str(other.id), indexes[-1])
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
            raise UserError(
                f"--classes names '{name}', which the json does not have",
                expected=f"names of its {len(by_name)} categories, such as "
                + ", ".join(f"'{one}'" for one in list(by_name)[:3]),
                mend=f"did you mean '{near[0]}'?" + _quotes(near[0])
                if near
                else "correct the name",
            )
    kept = sorted(by_name[name].id for name in names) if names else sorted(categories)
    if class_ids == "consecutive":
        ids = {number: place for place, number in enumerate(kept, start=1)}
    else:
        ids = {number: number for number in kept}
        if kept[0] < 1:
            raise DataError(
                f"category '{categories[kept[0]].name}' has id {kept[0]}",
                expected="ids from 1: 0 is the background in the OD API",
                mend="--class_ids consecutive numbers the classes from 1",
                where=str(indexes[0].path),
            )
        if kept[-1] > _LARGEST_ID:
            raise DataError(
                f"category '{categories[kept[-1]].name}' has id {kept[-1]}",
                expected=f"ids up to {_LARGEST_ID}, as a label map's are 32 bits",
                mend="--class_ids consecutive numbers the classes from 1",
                where=str(indexes[0].path),
            )
    return Classes({number: categories[number] for number in kept}, ids)


def _quotes(name: str) -> str:
    return " A name with a comma stands in double quotes: '\"a, b\",c'" if "," in name else ""


def _contradiction(here: str, there: str, index: CocoIndex) -> DataError:
    return DataError(
        f"{here} in this json and {there} in the other split's",
        expected="the same categories in all splits: they share one label map",
        mend="correct one of them, or convert them into different folders",
        where=str(index.path),
    )
