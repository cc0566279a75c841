"""Masks as compressed run lengths, checked to be of their image's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data.columns import GroundTruth, Segmentation
from odapi_repro.evaluation.coco_data.fields import Rows, kind_of, shown
from odapi_repro.evaluation.coco_data.run_lengths import run_length_sums

__all__ = ["compressed_masks", "detection_masks", "mask_areas"]

_EXPECTED = "{'size': [height, width], 'counts': text} as pycocotools.mask.encode gives it"


def detection_masks(
    rows: Rows, images: NDArray[np.int32], truth: GroundTruth
) -> tuple[Mapping[str, Any], ...]:
    """Gives the masks of detections, [D] compressed run lengths.

    Args:
        rows: the detections.
        images: [D], index into the images of `truth`.
        truth: gives the images' sizes; where it does not know one, any size is taken.

    Raises:
        DataError: one is of another kind or size, or its runs do not fill its size.
    """
    masks = rows.values("segmentation")
    kinds = [_wrong_kind(mask) for mask in masks]
    bad = [i for i, kind in enumerate(kinds) if kind]
    if bad:
        raise rows.error(
            f"'segmentation' is {kinds[bad[0]]}",
            bad,
            expected=_EXPECTED,
            mend="write compressed run lengths, counts decoded to ascii (COCO's results have no "
            "other masks), or leave 'segmentation' out to score boxes",
        )
    sizes = np.array([mask["size"] for mask in masks], np.int64).reshape(-1, 2)
    there = np.stack([truth.heights[images], truth.widths[images]], axis=1)
    bad = np.flatnonzero(((sizes != there) & (there > 0)).any(axis=1)).tolist()
    if bad:
        height, width = there[bad[0]].tolist()
        id_ = truth.image_ids[int(images[bad[0]])]
        raise rows.error(
            f"a mask of size {sizes[bad[0]].tolist()} (height, width) on image {shown(id_)}",
            bad,
            expected=f"masks of the image's size, here [{height}, {width}]",
            mend="resize masks to the image, or turn height and width round"
            if sizes[bad[0]].tolist() == [width, height]
            else "resize masks to the image as it is in the ground truth",
        )
    covered, _ = run_length_sums([mask["counts"] for mask in masks])
    bad = np.flatnonzero(covered != sizes.prod(axis=1)).tolist()
    if bad:
        height, width = sizes[bad[0]].tolist()
        runs = f"cover {covered[bad[0]]}" if covered[bad[0]] >= 0 else "are no such text for"
        raise rows.error(
            f"the run lengths of a mask {runs} {'of the ' if covered[bad[0]] >= 0 else ''}"
            f"{height * width} pixels of its size",
            bad,
            expected=_EXPECTED,
            mend="write the masks again",
        )
    return tuple(
        mask if isinstance(mask["counts"], str) else {**mask, "counts": mask["counts"].decode()}
        for mask in masks
    )


def _wrong_kind(mask: Any) -> str:
    """Gives what a mask is instead of compressed run lengths; empty where it is that."""
    if isinstance(mask, list):
        return "a list, as polygons are"
    if not isinstance(mask, Mapping):
        return kind_of(mask)
    if isinstance(mask.get("counts"), list):
        return "uncompressed run lengths"
    if not isinstance(mask.get("counts"), str | bytes) or not _is_size(mask.get("size")):
        return f"an object of {', '.join(map(str, mask)) or 'nothing'}"
    return ""


def _is_size(size: Any) -> bool:
    return (
        isinstance(size, Sequence)
        and len(size) == 2
        and all(isinstance(length, int) and length > 0 for length in size)
    )


def compressed_masks(truth: GroundTruth) -> tuple[Mapping[str, Any], ...]:
    """Gives the masks of the ground truth as compressed run lengths, [A].

    Polygons are drawn by pycocotools (`COCO.annToRLE`), so that every scorer sees the same pixels.

    Raises:
        DataError: no masks, or one that is none, is of another size than its image, or on an image
            of unknown size.
    """
    from pycocotools import mask as mask_api

    if truth.masks is None:
        if not truth.num_annotations:
            return ()
        raise DataError(
            "the ground truth holds boxes, and masks are asked for",
            expected="'segmentation' in every annotation",
            mend="score boxes, or name ground truth with masks",
            where=truth.where,
        )
    masks = []
    for index, (mask, image) in enumerate(zip(truth.masks, truth.images.tolist(), strict=True)):
        height, width = int(truth.heights[image]), int(truth.widths[image])
        problem = _problem(mask, height, width)
        if problem:
            raise DataError(
                f"the mask of annotation {truth.ids[index]} {problem}",
                expected="polygons [[x1, y1, x2, y2, x3, y3, ...], ...] or run lengths of the "
                "image's size",
                mend="correct it, or score boxes only",
                where=truth.where,
            )
        if isinstance(mask, Mapping) and not isinstance(mask["counts"], list):
            masks.append(mask)
            continue
        drawn = mask_api.frPyObjects(mask, height, width)
        masks.append(mask_api.merge(drawn) if isinstance(drawn, list) else drawn)
    covered, _ = run_length_sums([mask["counts"] for mask in masks])
    wanted = truth.heights[truth.images] * truth.widths[truth.images]
    bad = np.flatnonzero(covered != wanted)
    if len(bad):
        raise DataError(
            f"the run lengths of the mask of annotation {truth.ids[bad[0]]} do not cover the "
            f"{wanted[bad[0]]} pixels of its image",
            expected="sound run lengths",
            mend="write the masks again, or score boxes only",
            where=truth.where,
        )
    return tuple(masks)


def mask_areas(masks: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Gives the pixels of masks of compressed run lengths, float64 [N] (`pycocotools.mask.area`).

    pycocotools 2.0.11 fails on more than 255 masks at once under numpy 2.
    """
    return run_length_sums([mask["counts"] for mask in masks])[1].astype(np.float64)


def _problem(mask: Segmentation, height: int, width: int) -> str:
    if not height or not width:
        return "is on an image whose height and width the ground truth does not give"
    if isinstance(mask, Mapping):
        if list(mask.get("size", ())) != [height, width]:
            return f"is of size {mask.get('size')}, its image of [{height}, {width}]"
        counts = mask.get("counts")
        if isinstance(counts, list):
            sound = all(type(c) is int and c >= 0 for c in counts) and sum(counts) == height * width
            return "" if sound else "has run lengths that do not fill its size"
        return "" if isinstance(counts, str | bytes) else "has no run lengths"
    for polygon in mask:
        if not isinstance(polygon, list | tuple) or len(polygon) < 4:
            return "has a polygon that is no list of at least four numbers"
        if not all(isinstance(number, int | float) for number in polygon):
            return "has a polygon of something else than numbers"
        if not np.isfinite(polygon).all():
            return "has a polygon of numbers that are not finite"
    return ""
