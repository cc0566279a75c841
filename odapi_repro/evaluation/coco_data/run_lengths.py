"""Masks as compressed run lengths, checked to be of their image's size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.json_numbers import are_within, float_of, is_number, is_whole, side_of
from odapi_repro.datasets.limits import MOST_MASK_PIXELS, furthest_corner
from odapi_repro.errors import DataError, shortened
from odapi_repro.evaluation.coco_data.coco_columns import GroundTruth, Segmentation
from odapi_repro.evaluation.coco_data.json_fields import Rows, kind_of, listed, shown

_EXPECTED = "{'size': [height, width], 'counts': text} as pycocotools.mask.encode gives it"
_OUTLINES = "polygons [[x1, y1, x2, y2, x3, y3, ...], ...] or run lengths of the image's size"
_BOXES_ONLY = ", or score boxes only: --iou_type bbox"


_AT_ONCE = 10_000  # masks; about 100 MB of intermediate arrays
_MOST_GROUPS = 7  # 32 bits

_Ints = NDArray[np.int64]


def run_length_sums(counts: Sequence[str | bytes]) -> tuple[_Ints, _Ints]:
    """Gives the pixels that the runs cover and those of them that are 1, int64 [N] each.

    Both are -1 where the text is no run lengths. The first is height * width in a sound mask;
    pycocotools does not check it, and reads beyond its memory where it is not.
    """
    parts = [_sums(counts[i : i + _AT_ONCE]) for i in range(0, len(counts), _AT_ONCE)]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _sums(counts: Sequence[str | bytes]) -> tuple[_Ints, _Ints]:
    texts = [c.encode("utf-8", "surrogatepass") if isinstance(c, str) else c for c in counts]
    num = len(texts)
    lengths = np.fromiter(map(len, texts), np.int64, num)
    letters = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    sound = np.ones(num, np.bool_)
    if not len(letters):
        return np.zeros(num, np.int64), np.zeros(num, np.int64)
    owner = np.repeat(np.arange(num), lengths)
    sound[owner[(letters < 0) | (letters > 63)]] = False
    is_last = (letters & 32) == 0
    text_ends = np.cumsum(lengths)[lengths > 0] - 1
    sound[owner[text_ends[~is_last[text_ends]]]] = False
    is_last[text_ends] = True  # keeps the masks after a broken one apart from it

    ends = np.flatnonzero(is_last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    groups = ends - starts + 1
    value_owner = owner[starts]
    sound[value_owner[groups > _MOST_GROUPS]] = False
    place = np.minimum(np.arange(len(letters)) - np.repeat(starts, groups), _MOST_GROUPS)
    values = np.add.reduceat((letters & 31) << (5 * place), starts)
    negative = (letters[ends] & 16) != 0
    values = values - np.where(negative, np.int64(1) << (5 * np.minimum(groups, _MOST_GROUPS)), 0)

    is_first = np.concatenate(([True], value_owner[1:] != value_owner[:-1]))
    first = np.flatnonzero(is_first)
    index = np.arange(len(values)) - np.repeat(first, np.diff(np.append(first, len(values))))
    for chosen in (index % 2 == 1, (index % 2 == 0) & (index > 0)):
        values[chosen] = _sums_within(values[chosen], value_owner[chosen])
    sound[value_owner[values < 0]] = False
    covered = _total(values, value_owner, num)
    area = _total(np.where(index % 2 == 1, values, 0), value_owner, num)
    return np.where(sound, covered, -1), np.where(sound, area, -1)


def _sums_within(values: _Ints, owner: _Ints) -> _Ints:
    """Gives running sums that begin anew with every owner."""
    sums = np.cumsum(values)
    if not len(sums):
        return sums
    first = np.flatnonzero(np.concatenate(([True], owner[1:] != owner[:-1])))
    before = np.where(first > 0, sums[first - 1], 0)
    result: _Ints = sums - np.repeat(before, np.diff(np.append(first, len(sums))))
    return result


def _total(values: _Ints, owner: _Ints, num: int) -> NDArray[Any]:
    totals = np.zeros(num, np.int64)
    np.add.at(totals, owner, values)
    return totals


def detection_masks(
    rows: Rows, images: NDArray[np.int32], truth: GroundTruth, *, with_boxes: bool
) -> tuple[Mapping[str, Any], ...]:
    """Gives the masks of detections, [D] compressed run lengths.

    Beside boxes, polygons and uncompressed run lengths are drawn, as `COCO.loadRes` and
    `COCO.annToRLE` of pycocotools do; for masks alone both take compressed ones only.

    Args:
        rows: the detections.
        images: [D], index into the images of `truth`.
        truth: gives the images' sizes; where it does not know one, any size is taken.
        with_boxes: whether the detections have boxes, too.

    Raises:
        DataError: one is of another kind or size, or its runs do not fill its size.
    """
    masks = rows.values("segmentation", mend=f"draw it{_BOXES_ONLY}" if with_boxes else "")
    if with_boxes:
        masks = _drawn_masks(rows, masks, images, truth)
    kinds = [_wrong_kind(mask) for mask in masks]
    bad = [i for i, kind in enumerate(kinds) if kind]
    if bad:
        raise rows.error(
            f"'segmentation' is {kinds[bad[0]]}",
            bad,
            expected=_EXPECTED,
            mend=f"draw it{_BOXES_ONLY}"
            if with_boxes
            else "write compressed run lengths, counts decoded to ascii; COCO's results of masks "
            "alone have no others",
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


def _drawn_masks(
    rows: Rows, masks: Sequence[Any], images: NDArray[np.int32], truth: GroundTruth
) -> list[Any]:
    """Gives the masks with polygons and uncompressed run lengths drawn, all others as they are."""
    drawn: list[Any] = []
    heights, widths = truth.heights[images].tolist(), truth.widths[images].tolist()
    for index, (mask, height, width) in enumerate(zip(masks, heights, widths, strict=True)):
        if not _is_outline(mask):
            drawn.append(mask)
            continue
        if problem := _problem(mask, height, width):
            raise rows.error(
                f"a mask {problem},", [index], expected=_OUTLINES, mend=f"correct it{_BOXES_ONLY}"
            )
        drawn.append(_drawn(mask, height, width))
    return drawn


def _is_outline(mask: Any) -> bool:
    return isinstance(mask, list) or (
        isinstance(mask, Mapping) and isinstance(mask.get("counts"), list)
    )


def _drawn(mask: Any, height: int, width: int) -> Mapping[str, Any]:
    """Gives polygons or uncompressed run lengths as `COCO.annToRLE` draws them."""
    from pycocotools import mask as mask_api

    drawn = mask_api.frPyObjects(mask, height, width)
    result: Mapping[str, Any] = mask_api.merge(drawn) if isinstance(drawn, list) else drawn
    return result


def _wrong_kind(mask: Any) -> str:
    """Gives what a mask is instead of compressed run lengths; empty where it is that."""
    if isinstance(mask, list):
        return "a list, as polygons are"
    if not isinstance(mask, Mapping):
        return kind_of(mask)
    if isinstance(mask.get("counts"), list):
        return "uncompressed run lengths"
    if not isinstance(mask.get("counts"), str | bytes) or "size" not in mask:
        return f"an object of {shortened(', '.join(map(str, mask))) or 'nothing'}"
    return "" if _is_size(mask["size"]) else f"of size {shown(mask['size'])}"


def _is_size(size: Any) -> bool:
    """Whether it is a height and a width of so many pixels as run lengths can count."""
    return (
        isinstance(size, Sequence)
        and len(size) == 2
        and all(type(side) is int and side_of(side) for side in size)
        and math.prod(size) < MOST_MASK_PIXELS
    )


def compressed_masks(truth: GroundTruth) -> tuple[Mapping[str, Any], ...]:
    """Gives the masks of the ground truth as compressed run lengths, [A].

    Polygons are drawn by pycocotools (`COCO.annToRLE`), so that every scorer sees the same pixels.

    Raises:
        DataError: no masks, or one that is none, is of another size than its image, or on an image
            of unknown size.
    """
    if truth.masks is None:
        if not truth.num_annotations:
            return ()
        check_all_masked(truth)
        raise DataError(
            "the ground truth holds boxes, and masks are asked for",
            expected="'segmentation' in every annotation",
            mend="score boxes, or name ground truth with masks",
            where=truth.where,
        )
    masks: list[Mapping[str, Any]] = []
    for index, (mask, image) in enumerate(zip(truth.masks, truth.images.tolist(), strict=True)):
        height, width = int(truth.heights[image]), int(truth.widths[image])
        problem = _problem(mask, height, width)
        if problem:
            raise DataError(
                f"the mask of annotation {truth.ids[index]} {problem}",
                expected=_OUTLINES,
                mend=f"correct it{_BOXES_ONLY}",
                where=truth.where,
            )
        if isinstance(mask, Mapping) and not _is_outline(mask):
            masks.append(mask)
        else:
            masks.append(_drawn(mask, height, width))
    covered, _ = run_length_sums([mask["counts"] for mask in masks])
    wanted = truth.heights[truth.images] * truth.widths[truth.images]
    bad = np.flatnonzero(covered != wanted)
    if len(bad):
        raise DataError(
            f"the run lengths of the mask of annotation {truth.ids[bad[0]]} do not cover the "
            f"{wanted[bad[0]]} pixels of its image",
            expected="sound run lengths",
            mend=f"write the masks again{_BOXES_ONLY}",
            where=truth.where,
        )
    return tuple(masks)


def check_all_masked(truth: GroundTruth) -> None:
    """Looks for annotations without a mask in a ground truth where others have one.

    Raises:
        DataError: there are some. pycocotools stops there with a KeyError.
    """
    without = truth.unmasked
    if without:
        count = len(without)
        raise DataError(
            f"{count:,} of {truth.num_annotations:,} annotations "
            f"{'has no mask (id' if count == 1 else 'have no mask (ids'} {listed(without, 5)}), "
            "the others have, and masks are to be scored",
            expected="'segmentation' in every annotation",
            mend=f"draw the masks that are missing{_BOXES_ONLY}",
            where=truth.where,
        )


def mask_areas(masks: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Gives the pixels of masks of compressed run lengths, float64 [N] (`pycocotools.mask.area`).

    pycocotools 2.0.11 fails on more than 255 masks at once under numpy 2.
    """
    return run_length_sums([mask["counts"] for mask in masks])[1].astype(np.float64)


def mask_boxes(masks: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Gives the boxes around masks, float64 [N, 4]: x y width height, all 0 for an empty mask."""
    from pycocotools import mask as mask_api

    boxes: NDArray[np.float64] = mask_api.toBbox(list(masks)).reshape(-1, 4)
    return boxes


def _problem(mask: Segmentation, height: int, width: int) -> str:
    if not height or not width:
        return "is on an image whose height and width the ground truth does not give"
    if height * width >= MOST_MASK_PIXELS:
        return f"is on an image of {height:,} x {width:,}, more pixels than run lengths count"
    if isinstance(mask, Mapping):
        size: Any = mask.get("size")
        if not _is_size(size) or list(size) != [height, width]:
            return f"is of size {shown(size)}, its image of [{height}, {width}]"
        counts = mask.get("counts")
        if isinstance(counts, list):
            sound = all(is_whole(c) and c >= 0 for c in counts) and sum(counts) == height * width
            return "" if sound else "has run lengths that do not fill its size"
        return "" if isinstance(counts, str | bytes) else "has no run lengths"
    if not isinstance(mask, list | tuple):
        return f"is {kind_of(mask)}"
    return _polygons_problem(mask, height, width)


def _polygons_problem(polygons: Sequence[Any], height: int, width: int) -> str:
    if not polygons:
        return "is an empty list"
    furthest = furthest_corner(height, width)
    problem = next((p for one in polygons if (p := _polygon_problem(one, furthest))), "")
    if not problem and len(polygons[0]) == 4:
        # frPyObjects takes all for boxes then, and its frBbox takes no lists.
        return "has a polygon of two points, which encloses nothing"
    return problem


def _polygon_problem(polygon: Any, furthest: float) -> str:
    if not isinstance(polygon, list | tuple) or len(polygon) < 4:
        return "has a polygon that is no list of at least four numbers"
    if are_within(polygon, furthest):
        return ""
    if not all(map(is_number, polygon)):
        return "has a polygon of something else than numbers"
    if not all(map(math.isfinite, map(float_of, polygon))):
        return "has a polygon of numbers that are not finite"
    return f"has a polygon with a corner {max(map(abs, polygon)):.3g} pixels away from its image"
