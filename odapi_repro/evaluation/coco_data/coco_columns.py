"""A data set and detections as columns: one array a field instead of one dict an object."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Segmentation = Mapping[str, Any] | Sequence[Sequence[float]]
"""A mask as COCO writes it: `{"size": [height, width], "counts": ...}` with compressed (text) or
plain (list) run lengths, or a list of polygons `[x1, y1, x2, y2, ...]`."""


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Images, categories and annotations of a COCO instances data set.

    I images, K categories, A annotations. Annotations stand in the order of the file, which is
    the order in which COCO offers them to a detection.

    Attributes:
        image_ids: in the order of the file; all integers or all strings, no two alike.
        file_names: [I], empty where the file has none.
        heights, widths: int64 [I] in pixels, 0 where the file does not say.
        category_ids: ascending (COCO's K axis), whatever the order in the file.
        category_names: [K].
        ids: int64 [A]; the position from 1 where the file gives none.
        images: int32 [A], index into `image_ids`.
        categories: int32 [A], index into `category_ids`.
        boxes: float64 [A, 4], x y width height in pixels of the image; zero sizes are legal.
        areas: float64 [A] in square pixels: the annotation's own, by which COCO sorts into small,
            medium and large (the area of the mask, in COCO's files).
        is_crowd: bool [A].
        masks: [A] as COCO has them, or None where any annotation has none.
        unmasked: ids of the annotations without a mask where others have one; `masks` is None then.
        where: the file they come from, for messages; empty for what was made in memory.
    """

    image_ids: tuple[int, ...] | tuple[str, ...]
    file_names: tuple[str, ...]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    category_ids: tuple[int, ...]
    category_names: tuple[str, ...]
    ids: NDArray[np.int64]
    images: NDArray[np.int32]
    categories: NDArray[np.int32]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    is_crowd: NDArray[np.bool_]
    masks: tuple[Segmentation, ...] | None = None
    where: str = ""
    unmasked: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if list(self.category_ids) != sorted(set(self.category_ids)):
            raise ValueError(f"category_ids are not ascending: {self.category_ids}")

    @property
    def num_images(self) -> int:
        """I."""
        return len(self.image_ids)

    @property
    def num_annotations(self) -> int:
        """A."""
        return len(self.images)

    @property
    def num_categories(self) -> int:
        """K."""
        return len(self.category_ids)

    @cached_property
    def image_order(self) -> NDArray[np.int64]:
        """The images (indices, int64 [I]) in the order in which COCO goes through them.

        By ascending id, strings as strings. It decides which of two detections of equal score on
        different images counts first (pycocotools `COCOeval.evaluate`: `np.unique` of the ids).
        """
        ids: Sequence[Any] = self.image_ids
        return np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)

    @cached_property
    def image_ranks(self) -> NDArray[np.int64]:
        """The place of each image in `image_order`, int64 [I]."""
        ranks = np.empty(self.num_images, np.int64)
        ranks[self.image_order] = np.arange(self.num_images)
        return ranks

    def subset(self, chosen: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> GroundTruth:
        """Gives all images and categories with the annotations of a mask (bool [A]) or indices."""
        rows = _rows(chosen)
        return dataclasses.replace(
            self,
            ids=self.ids[rows],
            images=self.images[rows],
            categories=self.categories[rows],
            boxes=self.boxes[rows],
            areas=self.areas[rows],
            is_crowd=self.is_crowd[rows],
            masks=None if self.masks is None else tuple(self.masks[row] for row in rows.tolist()),
        )

    def to_coco(self) -> dict[str, Any]:
        """Gives the data set as COCO's instances JSON has it; ids are the file's."""
        annotations: list[dict[str, Any]] = [
            {
                "id": id_,
                "image_id": self.image_ids[image],
                "category_id": self.category_ids[category],
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            for id_, image, category, box, area, crowd in zip(
                self.ids.tolist(),
                self.images.tolist(),
                self.categories.tolist(),
                self.boxes.tolist(),
                self.areas.tolist(),
                self.is_crowd.tolist(),
                strict=True,
            )
        ]
        for annotation, mask in zip(annotations, self.masks or (), strict=False):
            annotation["segmentation"] = mask
        return {
            "images": [
                {"id": id_, "file_name": name, "height": height, "width": width}
                for id_, name, height, width in zip(
                    self.image_ids,
                    self.file_names,
                    self.heights.tolist(),
                    self.widths.tolist(),
                    strict=True,
                )
            ],
            "annotations": annotations,
            "categories": [
                {"id": id_, "name": name}
                for id_, name in zip(self.category_ids, self.category_names, strict=True)
            ],
        }


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found, D detections in the order of the file.

    The order counts: of detections of equal score on one image, COCO takes the first one first.

    Attributes:
        images: int32 [D], index into `GroundTruth.image_ids`.
        categories: int32 [D], index into `GroundTruth.category_ids`.
        boxes: float64 [D, 4], x y width height in pixels; None where only masks are compared.
        scores: float64 [D], finite.
        masks: [D] compressed run lengths of the image's size, or None for boxes alone.
        areas: float64 [D], those of the masks where the file holds masks alone: `boxes` are then
            the boxes around them. None where an area is that of the box.
        where: the file they come from, for messages; empty for what was made in memory.
    """

    images: NDArray[np.int32]
    categories: NDArray[np.int32]
    boxes: NDArray[np.float64] | None
    scores: NDArray[np.float64]
    masks: tuple[Mapping[str, Any], ...] | None = None
    where: str = ""
    areas: NDArray[np.float64] | None = None

    @property
    def num(self) -> int:
        """D."""
        return len(self.images)

    def subset(self, chosen: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> Detections:
        """Gives the detections of a mask (bool [D]) or of indices, in the order of these."""
        rows = _rows(chosen)
        return dataclasses.replace(
            self,
            images=self.images[rows],
            categories=self.categories[rows],
            boxes=None if self.boxes is None else self.boxes[rows],
            scores=self.scores[rows],
            masks=None if self.masks is None else tuple(self.masks[row] for row in rows.tolist()),
            areas=None if self.areas is None else self.areas[rows],
        )

    def to_coco(self, truth: GroundTruth) -> list[dict[str, Any]]:
        """Gives COCO's results format; ids are those of `truth`.

        Masks that were read alone are written alone, without the boxes around them.
        """
        results: list[dict[str, Any]] = [
            {"image_id": truth.image_ids[image], "category_id": truth.category_ids[category]}
            for image, category in zip(self.images.tolist(), self.categories.tolist(), strict=True)
        ]
        masks_alone = self.masks is not None and self.areas is not None
        if self.boxes is not None and not masks_alone:
            for result, box in zip(results, self.boxes.tolist(), strict=True):
                result["bbox"] = box
        for result, score in zip(results, self.scores.tolist(), strict=True):
            result["score"] = score
        if self.masks is not None:
            for result, mask in zip(results, self.masks, strict=True):
                result["segmentation"] = mask
        return results


def _rows(chosen: NDArray[Any]) -> NDArray[Any]:
    return np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
