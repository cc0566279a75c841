"""Records against the COCO json they were made from, box by box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census.box_kinds import off_truth
from odapi_repro.datasets.census.manifest_check import Choice
from odapi_repro.datasets.census.record_columns import Tally, images_told
from odapi_repro.datasets.census.source_annotations import SourceAnnotations
from odapi_repro.datasets.census.split_census import SplitCensus
from odapi_repro.datasets.label_map import LabelMap

# Float32 shares give a pixel back to a thousandth; the OD API's converter rounds nothing.
_SAME_PIXELS = 0.5
_SAME_AREA = 0.001  # share
_SAME_SHARE = 0.001  # of the image's sides


@dataclass(frozen=True)
class SourceComparison:
    """What became of the annotations of a json in records.

    Attributes:
        path: the json.
        images: images of the json.
        boxes: annotations of the images that are in the records, of classes that were chosen.
        equal: among them, those that are in the records with the same box.
        images_missing: images of the json that no record holds, beyond those not chosen.
        images_not_chosen: images that no record holds because the conversion was not to take them.
        objects_not_chosen: annotations, of images that are in the records, of such classes.
        images_unknown: records whose source_id and file name the json does not have.
        exchanged: annotations in whose place records hold the objects of another image.
        moved: annotations whose box lies elsewhere in the records.
        how_moved: `shifted`, `scaled about their centre` ..., with counts.
        missing: annotations that have no box in the records.
        missing_flat: among them, those without height or width.
        missing_outside: among the others, those that lie outside the image altogether.
        missing_overrun: among the others, those that reach beyond it by any fraction.
        added: boxes of the records that the json does not have.
        class_changed, crowd_changed, area_changed: annotations whose box is in the records, under
            another class, crowd flag or area.
    """

    path: Path
    images: int
    boxes: int
    equal: int
    images_missing: Tally = field(default_factory=Tally)
    images_not_chosen: int = 0
    objects_not_chosen: int = 0
    images_unknown: Tally = field(default_factory=Tally)
    exchanged: Tally = field(default_factory=Tally)
    moved: Tally = field(default_factory=Tally)
    how_moved: Mapping[str, int] = field(default_factory=dict)
    missing: Tally = field(default_factory=Tally)
    missing_flat: int = 0
    missing_outside: int = 0
    missing_overrun: int = 0
    added: Tally = field(default_factory=Tally)
    class_changed: Tally = field(default_factory=Tally)
    crowd_changed: Tally = field(default_factory=Tally)
    area_changed: Tally = field(default_factory=Tally)
    images_with: Mapping[str, int] = field(default_factory=dict)

    def images_told(self, kind: str) -> str:
        """Gives in how many images there is a difference of a kind: `3 images`."""
        return images_told(self.images_with[kind])


def compare_with_source(
    split: SplitCensus,
    source: SourceAnnotations,
    label_map: LabelMap | None,
    choice: Choice | None = None,
) -> SourceComparison:
    """Compares box by box: images by source_id, else by file name; boxes by the nearest.

    A record that is there twice is compared twice. What a conversion was not to take, by `choice`,
    is counted apart.
    """
    return _Comparison(split, source, label_map, choice or Choice()).result()


class _Comparison:
    """Counts that grow image by image."""

    def __init__(
        self,
        split: SplitCensus,
        source: SourceAnnotations,
        label_map: LabelMap | None,
        choice: Choice,
    ) -> None:
        self._split, self._source, self._choice = split, source, choice
        self._is_chosen = _chosen_of(source, choice)
        boxes = split.boxes
        size = split.images.size[boxes.image].astype(np.float64)
        self._size = size
        with np.errstate(invalid="ignore"):  # a record may hold infinities
            self._pixels = boxes.corners.astype(np.float64) * np.concatenate([size, size], axis=1)
        self._classes = split.class_ids(label_map)
        self._wanted = _classes_of(source, label_map)
        self._tallies: dict[str, list[tuple[int, int]]] = {}
        self._pairs: list[tuple[int, int]] = []
        self._boxes = self._equal = 0
        self._flat = self._outside = self._overrun = self._not_chosen = 0

    def result(self) -> SourceComparison:
        images, source = self._split.images, self._source
        count = len(images)
        firsts = np.searchsorted(self._split.boxes.image, np.arange(count + 1))
        seen: set[str] = set()
        for index in range(count):
            name = self._name_in_source(index)
            if name is None:
                self._note("unknown", index, 1)
                continue
            seen.add(name)
            ours, rows = np.arange(firsts[index], firsts[index + 1]), source.rows[name]
            theirs = rows[self._is_chosen[rows]]
            self._not_chosen += len(rows) - len(theirs)
            if self._is_exchanged(ours, theirs):
                self._boxes += len(theirs)
                self._note("exchanged", index, len(theirs))
            else:
                self._compare(index, ours, theirs)
        missing = [name for name in source.rows if name not in seen]
        # Only their number is known, so none of the others is named as an example.
        not_chosen = min(len(missing), self._choice.images_left_out)
        examples = () if not_chosen else tuple(missing[:5])
        ours = np.array([pair[0] for pair in self._pairs], np.int64)
        theirs = np.array([pair[1] for pair in self._pairs], np.int64)
        return SourceComparison(
            path=source.path,
            images=len(source.rows),
            boxes=self._boxes,
            equal=self._equal,
            images_missing=Tally(len(missing) - not_chosen, examples),
            images_not_chosen=not_chosen,
            objects_not_chosen=self._not_chosen,
            images_unknown=self._tally("unknown"),
            exchanged=self._tally("exchanged"),
            moved=self._tally("moved"),
            how_moved=off_truth(self._pixels[ours], source.corners[theirs], self._size[ours]),
            missing=self._tally("missing"),
            missing_flat=self._flat,
            missing_outside=self._outside,
            missing_overrun=self._overrun,
            added=self._tally("added"),
            class_changed=self._tally("class"),
            crowd_changed=self._tally("crowd"),
            area_changed=self._tally("area"),
            images_with={kind: len(noted) for kind, noted in self._tallies.items()},
        )

    def _name_in_source(self, index: int) -> str | None:
        images, source = self._split.images, self._source
        name = str(images.source_id[index])
        if name in source.rows:
            return name
        by_file = source.file_names.get(str(images.filename[index]))
        return by_file if by_file is not None and images.filename[index] else None

    def _is_exchanged(self, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> bool:
        """Whether none of the boxes is where it should be and all are another image's, in order."""
        if not len(ours) or not len(theirs) or self._apart(ours, theirs).min() <= _SAME_PIXELS:
            return False
        others = self._shares_by_count.get(len(ours))
        if others is None:
            return False
        shares = self._split.boxes.corners[ours].astype(np.float64)
        return bool((np.abs(others - shares).max(axis=(1, 2)) <= _SAME_SHARE).any())

    @cached_property
    def _shares_by_count(self) -> dict[int, NDArray[np.float64]]:
        """Boxes of the json's images as shares, float64 [images, n, 4], by their number n."""
        source = self._source
        by_count: dict[int, list[NDArray[np.float64]]] = {}
        for name, rows in source.rows.items():
            height, width = source.sizes[name]
            scale = np.array([height, width, height, width])
            chosen = rows[self._is_chosen[rows]]
            by_count.setdefault(len(chosen), []).append(source.corners[chosen] / scale)
        return {count: np.stack(found) for count, found in by_count.items() if count}

    def _apart(self, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Gives how far apart boxes lie, in pixels, float64 [ours, theirs]."""
        pixels, corners = self._pixels[ours], self._source.corners[theirs]
        apart = np.abs(pixels[:, None] - corners[None]).max(axis=2, initial=0)
        return np.where(np.isfinite(apart), apart, np.inf)

    def _compare(self, index: int, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> None:
        self._boxes += len(theirs)
        if not len(theirs):
            self._note("added", index, len(ours))
            return
        apart = self._apart(ours, theirs)
        other_class = self._classes[ours][:, None] != self._wanted[theirs][None]
        # Of boxes that lie in one place, those of one class belong together.
        order = np.lexsort((other_class.ravel(), np.round(apart.ravel(), 3)))
        left_ours, left_theirs = set(range(len(ours))), set(range(len(theirs)))
        changed = dict.fromkeys(("class", "crowd", "area", "moved"), 0)
        for flat in order.tolist():
            i, j = divmod(flat, len(theirs))
            if i not in left_ours or j not in left_theirs:
                continue
            left_ours.remove(i)
            left_theirs.remove(j)
            if apart[i, j] > _SAME_PIXELS:
                changed["moved"] += 1
                self._pairs.append((int(ours[i]), int(theirs[j])))
                continue
            self._equal += 1
            changed["class"] += bool(other_class[i, j])
            changed["crowd"] += self._crowd_differs(ours[i], theirs[j])
            changed["area"] += self._area_differs(ours[i], theirs[j])
        for kind, count in changed.items():
            self._note(kind, index, count)
        self._note("added", index, len(left_ours))
        self._note("missing", index, len(left_theirs))
        rows = theirs[sorted(left_theirs)]
        flat, outside = self._source.flat[rows], self._source.outside[rows]
        self._flat += int(flat.sum())
        self._outside += int(outside.sum())
        self._overrun += int((self._source.overruns[rows] & ~flat & ~outside).sum())

    def _crowd_differs(self, ours: np.int64, theirs: np.int64) -> bool:
        return bool(self._split.boxes.crowd[ours] != self._source.crowd[theirs])

    def _area_differs(self, ours: np.int64, theirs: np.int64) -> bool:
        """Whether both give an area, and another.

        Either may leave it out or have 0. That of a box that was clipped to the image may be the
        clipped box's.
        """
        own, other = float(self._split.boxes.area[ours]), float(self._source.area[theirs])
        if not (own > 0 and other > 0):
            return False
        corners = self._source.corners[theirs]
        clipped = float((corners[2:] - corners[:2]).prod())
        may_be = [other, clipped] if self._source.overruns[theirs] and other > clipped else [other]
        return all(abs(own - one) > max(1e-3, _SAME_AREA * abs(one)) for one in may_be)

    def _note(self, kind: str, index: int, count: int) -> None:
        if count:
            self._tallies.setdefault(kind, []).append((index, count))

    def _tally(self, kind: str) -> Tally:
        noted = self._tallies.get(kind, [])
        names = self._split.images.names(index for index, _ in noted[:20])
        return Tally(sum(count for _, count in noted), names)


def _chosen_of(source: SourceAnnotations, choice: Choice) -> NDArray[np.bool_]:
    """Gives which annotations are of classes that were chosen, bool [A]."""
    if choice.classes is None:
        return np.ones(len(source.category), np.bool_)
    categories = [one for one, name in source.names.items() if name in choice.classes]
    return np.isin(source.category, categories)


def _classes_of(source: SourceAnnotations, label_map: LabelMap | None) -> NDArray[np.int64]:
    """Gives the class that each annotation should have in the records, int64 [A].

    By the category's name where the label map has it, else the category's id itself.
    """
    known = {
        category: (label_map.id_of(name) if label_map else None) or category
        for category, name in source.names.items()
    }
    wanted = [known.get(int(one), int(one)) for one in source.category]
    return np.array(wanted, np.int64)
