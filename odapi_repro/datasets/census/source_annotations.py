"""The COCO json that records were made from, as columns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.conversion.coco_index import UNKNOWN, CocoIndex, read_coco


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
    """Reads a COCO instances json as `data convert` does; outlines stay in the file.

    Raises:
        DataError: as of `read_coco`.
    """
    index = read_coco(Path(path))
    kept = index.images != UNKNOWN
    images = index.images[kept]
    size = np.stack([index.heights, index.widths], axis=1)[images].astype(np.float64)
    left, top, width, height = index.boxes[kept].T
    corners = np.stack([top, left, top + height, left + width], axis=1)
    limits = np.concatenate([size, size], axis=1)
    clipped = np.clip(corners, 0, limits)
    outside = np.asarray((corners[:, 2:] <= 0) | (corners[:, :2] >= size)).any(axis=1)
    shares = (clipped / limits).astype(np.float32)
    flat = (shares[:, 2:] <= shares[:, :2]).any(axis=1) & ~outside
    flat |= (width <= 0) | (height <= 0)
    return SourceAnnotations(
        path=index.path,
        rows=_rows_of(index, images),
        file_names=dict(zip(index.file_names, index.image_ids, strict=True)),
        sizes=dict(zip(index.image_ids, zip(*_sides(index), strict=True), strict=True)),
        corners=clipped,
        overruns=(corners != clipped).any(axis=1),
        flat=flat,
        outside=outside & ~flat,
        category=index.category_ids[kept],
        crowd=index.crowd[kept],
        area=index.areas[kept],
        names={one.id: one.name for one in index.categories},
    )


def _rows_of(index: CocoIndex, images: NDArray[np.int64]) -> Mapping[str, NDArray[np.int64]]:
    order = np.argsort(images, kind="stable")
    ends = np.cumsum(np.bincount(images, minlength=len(index.image_ids)))
    return dict(zip(index.image_ids, np.split(order, ends[:-1]), strict=True))


def _sides(index: CocoIndex) -> tuple[list[float], list[float]]:
    heights, widths = (sides.astype(np.float64).tolist() for sides in (index.heights, index.widths))
    return heights, widths
