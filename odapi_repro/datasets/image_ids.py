"""Which image an annotation is of, by ids that COCO json may write in two forms."""

from __future__ import annotations

import collections
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from odapi_repro.datasets.json_numbers import given_as, whole_of
from odapi_repro.errors import DataError


class ImageIds:
    """The ids of a json's images, and the images that annotations name by them.

    An id that no image has to the letter is matched by the number that it means, where one image
    alone has that number: "1" and 1.0 are 1, "000139" is 139.

    Attributes:
        matched: annotations that were matched by number.
        example: the first of these: the id as it was given, and as the image has it.
    """

    def __init__(self, ids: Sequence[Any], path: Path) -> None:
        self.matched = 0
        self.example: tuple[Any, Any] | None = None
        self._ids = ids
        self._path = path
        self._places = {one: place for place, one in enumerate(ids)}

    def place(self, given: Any) -> int | None:
        """Gives the place of the image that an annotation names; None where there is none.

        Raises:
            DataError: several images have the number that is meant, and none the id itself.
        """
        place = self._places.get(given) if isinstance(given, (int, str, float)) else None
        if place is not None or (value := whole_of(given)) is None:
            return place
        alike = self._by_number.get(value, ())
        if len(alike) > 1:
            one, other = (given_as(self._ids[place]) for place in alike[:2])
            raise DataError(
                f"image_id {given_as(given)} of an annotation is the id of no image, and as a "
                f"number that of {len(alike)} images: {one} and {other}",
                expected="ids that are written alike in images and annotations",
                mend="write each image_id as the 'id' of its image, to the letter",
                where=str(self._path),
            )
        if not alike:
            return None
        self.matched += 1
        self.example = self.example or (given, self._ids[alike[0]])
        return alike[0]

    @property
    def note(self) -> str:
        """Tells how many were matched by number; empty for none."""
        if self.example is None:
            return ""
        are = "annotation names its" if self.matched == 1 else "annotations name their"
        given, own = map(given_as, self.example)
        return (
            f"{self.matched:,} {are} image by its id in another form ({given}, and the image has "
            f"{own}): matched by number"
        )

    @functools.cached_property
    def _by_number(self) -> Mapping[int, Sequence[int]]:
        places: dict[int, list[int]] = collections.defaultdict(list)
        for place, one in enumerate(self._ids):
            if (value := whole_of(one)) is not None:
                places[value].append(place)
        return places
