"""What each box is: well, or wrong in one way; a box is told of once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census.record_columns import MASK_OK
from odapi_repro.datasets.census.split_census import SplitCensus

WELL, NOT_FINITE, ABSOLUTE, SWAPPED, WITHOUT_AREA, OUTSIDE, OFF_MASK, RESIZED = range(8)

# A share above this is no share: the OD API itself takes 1.1 for the limit (box_list_ops.
# to_absolute_coordinates), but a box that overruns by a fifth is still a share.
_MOST_SHARE = 2.0
# Boxes that were rounded overrun the border by less.
_OVERRUN_PIXELS = 1.5
# A mask's box and the object's differ by rounding, and by what a polygon is drawn on whole pixels.
_MASK_PIXELS, _MASK_SHARE = 1.5, 0.05
# What an edge must come within to touch a limit.
_TOUCH_PIXELS = 1.5
_LEAST_TOUCHES = 3
# Lengths of images that differ by less are of one camera; a single image shows nothing.
_OTHER_LENGTH, _LEAST_OTHERS = 0.05, 2
# The factor from the image to what it was resized to is another than 1 by more than rounding.
_LEAST_CHANGE = 0.02
# Nobody makes images more than so many times as large; boxes in pixels look like a factor of
# hundreds.
_MOST_ENLARGED = 8.0
# Nor resizes them to less: boxes in another unit look like images of no size.
_LEAST_SIDE = 32.0
# Sides that images are resized to: multiples of 32, and those of the OD API's configs.
_USUAL_SIDES = frozenset({*range(32, 4097, 32), 300, 600, 700, 800, 1000, 1200, 1333, 1365})


@dataclass(frozen=True)
class ResizedBoxes:
    """Boxes in pixels of a resized image, divided by the size of the original.

    Attributes:
        target: what the images were resized to, `512 x 512` or `longer side 1024`.
        by_masks: whether the masks prove it, box by box; by the limit that no box passes otherwise.
        touching: without masks, images in which a box ends at that limit.
        is_certain: whether nothing else explains it; else no box is marked RESIZED.
    """

    target: str
    by_masks: bool
    touching: int = 0
    is_certain: bool = True


@dataclass(frozen=True, eq=False)
class BoxKinds:
    """The kind of every box of a split.

    Attributes:
        kind: uint8 [M], one of the constants of this module.
        resized: what the boxes of kind RESIZED were made for; None where there are none.
        off_mask: how boxes of kind OFF_MASK lie: `shifted`, `scaled`, `elsewhere`, with counts.
    """

    kind: NDArray[np.uint8]
    resized: ResizedBoxes | None
    off_mask: dict[str, int]

    def are(self, kind: int) -> NDArray[np.bool_]:
        """Gives which boxes are of a kind, bool [M]."""
        return np.asarray(self.kind == kind)


def box_kinds(split: SplitCensus) -> BoxKinds:
    """Gives what each box of a split is.

    The first that holds: a corner is no number; a corner above 2 (pixels instead of shares);
    corners in the wrong order; no height or no width; more than 1.5 pixels outside the image; off
    its mask by more than 2 pixels and 5 % of the mask's side; made for the image resized.
    """
    boxes = split.boxes
    corners = boxes.corners.astype(np.float64)
    size = split.images.size[boxes.image].astype(np.float64)
    scale = np.concatenate([size, size], axis=1)
    kind = np.full(len(boxes), WELL, np.uint8)
    if not len(boxes):
        return BoxKinds(kind, None, {})

    def mark(where: Any, value: int) -> None:
        kind[where & (kind == WELL)] = value

    has_mask = boxes.mask_state == MASK_OK
    mask = boxes.mask_box.astype(np.float64)
    tolerance = _mask_tolerance(mask)
    with np.errstate(invalid="ignore"):
        mark(~np.isfinite(corners).all(axis=1), NOT_FINITE)
        in_pixels = (np.abs(corners - mask) <= tolerance).all(axis=1)
        mark(has_mask & in_pixels & (corners.max(axis=1) > 1), ABSOLUTE)
        heights, widths = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
        mark((heights < 0) | (widths < 0), SWAPPED)
        mark((heights == 0) | (widths == 0), WITHOUT_AREA)
    pixels = np.where(np.isfinite(corners), corners, 0) * scale
    off = has_mask & (np.abs(pixels - mask) > tolerance).any(axis=1)
    whole = kind == WELL
    # Before those above 2: boxes of an image that was made three times as large are such.
    if has_mask.any():
        resized = _resized_by_masks(pixels, mask, size, off & whole)
    else:
        resized = _resized_by_limit(split, pixels, whole)
    if resized is not None:
        mark(resized[1], RESIZED)
    mark((np.abs(pixels) > _MOST_SHARE * scale).any(axis=1), ABSOLUTE)
    overrun = np.maximum(-pixels, pixels - scale).max(axis=1)
    mark(off, OFF_MASK)
    mark(overrun > _OVERRUN_PIXELS, OUTSIDE)
    off_mask = kind == OFF_MASK
    lies = off_truth(pixels[off_mask], mask[off_mask], size[off_mask])
    return BoxKinds(kind, resized[0] if resized else None, lies)


def _mask_tolerance(mask: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives how far each edge may lie from its mask's, in pixels, float64 [M, 4]."""
    sides = np.maximum(mask[:, 2:] - mask[:, :2], 0)
    share = np.concatenate([sides, sides], axis=1) * _MASK_SHARE
    return np.asarray(np.maximum(share, _MASK_PIXELS))


def _resized_by_masks(
    pixels: NDArray[np.float64],
    mask: NDArray[np.float64],
    size: NDArray[np.float64],
    off: NDArray[np.bool_],
) -> tuple[ResizedBoxes, NDArray[np.bool_]] | None:
    """Finds the resizing that explains most boxes that are off their masks."""
    if int(off.sum()) < _LEAST_TOUCHES:
        return None
    best: tuple[ResizedBoxes, NDArray[np.bool_]] | None = None
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = pixels[off][:, 2:] / mask[off][:, 2:]
    if not 0 < float(np.nanmedian(factors)) <= _MOST_ENLARGED:
        return None
    for target, factor in _targets(factors, size, off):
        if float(np.nanmedian(factor * size[:, :2])) < _LEAST_SIDE:
            continue
        explained = np.abs(pixels - mask * np.concatenate([factor, factor], axis=1))
        changed = (np.abs(factor - 1) > _LEAST_CHANGE).any(axis=1)
        holds = off & changed & (explained <= _TOUCH_PIXELS).all(axis=1)
        if best is None or holds.sum() > best[1].sum():
            best = ResizedBoxes(target, by_masks=True), holds
    if best is None or int(best[1].sum()) < max(_LEAST_TOUCHES, 0.5 * int(off.sum())):
        return None
    return best


def _targets(
    factors: NDArray[np.float64], size: NDArray[np.float64], off: NDArray[np.bool_]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Gives resizings that the factors of boxes to masks speak for, with factors of all boxes.

    The median is right where at least half of the boxes that are off were made so.
    """
    heights, widths = np.round(np.nanmedian(factors * size[off], axis=0))
    yield f"{heights:.0f} x {widths:.0f}", np.array([[heights, widths]]) / size
    for word, side in (("longer", size.max(axis=1)), ("shorter", size.min(axis=1))):
        length = np.round(np.nanmedian(factors * side[off][:, None]))
        yield f"{word} side {length:.0f}", np.repeat((length / side)[:, None], 2, axis=1)


def _resized_by_limit(
    split: SplitCensus, pixels: NDArray[np.float64], whole: NDArray[np.bool_]
) -> tuple[ResizedBoxes, NDArray[np.bool_]] | None:
    """Finds a limit, in pixels, that no box passes whatever the size of its image.

    Boxes that end at the border of a well-made set end at the border of their own image. Boxes of
    images that were resized to S end at S, in the middle of a larger image and outside a smaller
    one. Boxes at three places or more must show it for each axis, in images of several sizes or
    beyond the image. In larger images of one size it may be a region that was looked at: no box is
    marked then, and that is told of where the limit is of sides that images are resized to.
    """
    size = split.images.size.astype(np.float64)
    shown = whole & (size[split.boxes.image] > 0).all(axis=1)
    of, boxes = split.boxes.image[shown], pixels[shown]
    if len(np.unique(of)) < _LEAST_TOUCHES:
        return None
    asked = None
    for word, own in (
        ("", size),
        ("longer", np.repeat(size.max(axis=1, keepdims=True), 2, axis=1)),
        ("shorter", np.repeat(size.min(axis=1, keepdims=True), 2, axis=1)),
    ):
        stretched = boxes * np.tile(own[of] / size[of], 2)
        limit = stretched[:, 2:].max(axis=0)
        if word:
            limit = np.full(2, limit.max())
        found = _touches_of_limit(stretched, of, own, limit, size)
        if found is None or (asked is not None and not found[1]):
            continue
        touching, certain = found
        target = f"{word} side {limit[0]:.0f}" if word else f"{limit[0]:.0f} x {limit[1]:.0f}"
        changed = np.asarray((np.abs(limit / np.maximum(own, 1) - 1) > _LEAST_CHANGE).any(axis=1))
        moved = whole & changed[split.boxes.image] & certain
        asked = ResizedBoxes(target, False, touching, certain), moved
        if certain:
            break
    return asked


def _touches_of_limit(
    boxes: NDArray[np.float64],
    of: NDArray[np.int64],
    side: NDArray[np.float64],
    limit: NDArray[np.float64],
    size: NDArray[np.float64],
) -> tuple[int, bool] | None:
    """Gives the images whose boxes end at the limit, where that is no chance, and if it is proof.

    Args:
        boxes: float64 [B, 4], in pixels.
        of: int64 [B], the image of each.
        side: float64 [N, 2], where boxes would end at the border of their own image.
        limit: float64 [2], the farthest of all.
        size: float64 [N, 2], rows and columns of the images.
    """
    if limit.min() < _LEAST_SIDE or np.median(limit / side[np.unique(of)]) > _MOST_ENLARGED:
        return None
    ends = boxes[:, 2:]
    other = (np.abs(side / limit - 1) > _LEAST_CHANGE)[of]
    touching = other & (ends >= limit - _TOUCH_PIXELS)
    at_own_border = other & (np.abs(ends - side[of]) <= _TOUCH_PIXELS) & ~touching
    images = [np.unique(of[touching[:, axis]]) for axis in (0, 1)]
    own = [len(np.unique(of[at_own_border[:, axis]])) for axis in (0, 1)]
    for axis in (0, 1):
        # Objects end at their image's border by chance where the image happens to fit the limit.
        if _places(boxes[touching[:, axis]]) < _LEAST_TOUCHES or len(images[axis]) <= own[axis]:
            return None
    count = len(np.union1d(*images))
    if all(_differ(size[images[axis], axis]) for axis in (0, 1)):
        return count, True
    if not all(any(abs(one - known) <= 1 for known in _USUAL_SIDES) for one in limit):
        return None
    beyond = [float((limit / side[one]).max()) for one in images]
    if max(beyond) > 1 + _LEAST_CHANGE:
        return count, True
    begins = boxes[:, :2] <= _TOUCH_PIXELS
    near = all(_places(boxes[begins[:, axis]]) >= _LEAST_TOUCHES for axis in (0, 1))
    return (count, False) if near else None


def _differ(lengths: NDArray[np.float64]) -> bool:
    """Whether images are of several lengths, float64 [K], and not of one but for a few rows."""
    usual = np.sort(lengths)[len(lengths) // 2]
    return int((np.abs(lengths / usual - 1) > _OTHER_LENGTH).sum()) >= _LEAST_OTHERS


def _places(boxes: NDArray[np.float64]) -> int:
    """Counts the places of boxes, float64 [K, 4], up to three.

    Where a camera stands still objects lie at the same few places: boxes whose centres are nearer
    than half a side, and whose sides differ by less than half, are at one.
    """
    count = 0
    while len(boxes) and count < _LEAST_TOUCHES:
        count += 1
        sides, centres = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
        apart = np.maximum(np.abs(centres - centres[0]), np.abs(sides - sides[0]))
        boxes = boxes[(apart > np.maximum(sides, sides[0]) / 2).any(axis=1)]
    return count


def off_truth(
    boxes: NDArray[np.float64], truth: NDArray[np.float64], size: NDArray[np.float64]
) -> dict[str, int]:
    """Counts how boxes lie beside where they belong, as far as the image's border lets it be seen.

    Args:
        boxes: float64 [K, 4], ymin xmin ymax xmax in pixels.
        truth: float64 [K, 4], where they should be.
        size: float64 [K, 2], of their images; an edge at the border may have been cut there.
    """
    if not len(boxes):
        return {}
    boxes = np.where(np.isfinite(boxes), boxes, 0)
    limit = _mask_tolerance(truth)[:, :2]
    free = (boxes[:, :2] > 0.5) & (boxes[:, 2:] < size - 0.5)
    first, second = boxes[:, :2] - truth[:, :2], boxes[:, 2:] - truth[:, 2:]
    moved = np.maximum(np.abs(first), np.abs(second)) > limit
    same_size = free & moved & (np.abs(first - second) <= 2 * limit)
    same_centre = free & moved & (np.abs(first + second) <= 2 * limit)
    # Cut at the border, a side says at least whether both its ends went one way.
    cut = ~free & moved & (np.minimum(np.abs(first), np.abs(second)) > 0.5)
    same_size |= cut & (first * second > 0)
    same_centre |= cut & (first * second < 0)
    overlap = np.minimum(boxes[:, 2:], truth[:, 2:]) - np.maximum(boxes[:, :2], truth[:, :2])
    apart = (overlap <= 0).any(axis=1)
    shifted = same_size.any(axis=1) & ~same_centre.any(axis=1) & ~apart
    scaled = same_centre.any(axis=1) & ~same_size.any(axis=1) & ~apart
    counts = {
        "shifted": int(shifted.sum()),
        "scaled about their centre": int(scaled.sum()),
        "apart from it": int(apart.sum()),
    }
    counts["otherwise"] = len(boxes) - sum(counts.values())
    return {word: count for word, count in counts.items() if count}
