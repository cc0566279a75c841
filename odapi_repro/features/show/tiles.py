"""One image with its objects drawn in, and with what leaves the image drawn beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from odapi_repro.page.canvas import (
    DASHES,
    OUTSIDE,
    WARNING,
    Canvas,
    Corners,
    Label,
    Mark,
    class_colour,
    overlap,
    tinted,
)

if TYPE_CHECKING:
    from PIL import Image


_MASK_OPACITY: Final = 0.5
_MARGIN: Final = 0.16
"""Of the tile on each side, where boxes leave the image."""
_BROKEN: Final = (208, 212, 216)
WARNING_MARK: Final = Mark(WARNING, DASHES)
CROWD_MARK: Final = Mark((190, 197, 204), DASHES)


@dataclass(frozen=True, eq=False)
class DrawnObject:
    """An object of a tile.

    Attributes:
        box: ymin, xmin, ymax, xmax as shares of the image, wherever they lie.
        text: class name, and what else is to be known.
        class_id: decides the colour.
        is_crowd: drawn in grey dashes.
        mask: bool [h, w] of the image's size, or None.
        is_wrong: drawn in the warning's colour: no area, corners swapped, a class without name.
    """

    box: tuple[float, float, float, float]
    text: str
    class_id: int
    is_crowd: bool = False
    mask: NDArray[np.bool_] | None = None
    is_wrong: bool = False

    @property
    def overruns(self) -> bool:
        """Whether it leaves the image by more than rounding."""
        return min(self.box) < -_ROUNDING or max(self.box) > 1 + _ROUNDING


_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Tile:
    """An image and what is written below it.

    Attributes:
        image: uint8 [h, w, 3], or None where there is none to show.
        objects: drawn in their order.
        title: the first line below.
        note: the second line.
        warning: the second line in the warning's colour, instead of `note`.
        unpadded: height and width of the image without padding, or None.
        message: written in the middle of a tile without an image.
    """

    image: NDArray[np.uint8] | None
    objects: Sequence[DrawnObject] = field(default=())
    title: str = ""
    note: str = ""
    warning: str = ""
    unpadded: tuple[int, int] | None = None
    message: str = ""


def render_tile(tile: Tile, side: int) -> Image.Image:
    """Gives the tile's picture, `side` x `side` pixels, without the lines below it."""
    from PIL import Image

    ground = _BROKEN if tile.image is None else OUTSIDE
    canvas = Canvas(Image.new("RGB", (side, side), ground))
    if tile.image is None:
        canvas.message(tile.message)
        return canvas.picture
    overruns = any(one.overruns for one in tile.objects)
    room = side * (1 - 2 * _MARGIN) if overruns else side
    scale = room / max(tile.image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in tile.image.shape[:2])
    left, top = (side - width) // 2, (side - height) // 2
    masks = (
        (one.mask, class_colour(one.class_id))
        for one in tile.objects
        if one.mask is not None and one.mask.shape == tile.image.shape[:2]
    )
    shown = Image.fromarray(tinted(tile.image, masks, _MASK_OPACITY)).resize(
        (width, height), Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    )
    canvas.picture.paste(shown, (left, top))
    inside = (left, top, left + width - 1, top + height - 1)
    if tile.unpadded is not None:
        _hatch_padding(canvas, tile.unpadded, inside, scale)
    if overruns:
        canvas.outline(inside)
    _draw_objects(canvas, tile.objects, (left, top, width, height))
    return canvas.picture


def _draw_objects(
    canvas: Canvas, objects: Sequence[DrawnObject], place: tuple[int, int, int, int]
) -> None:
    labels: list[Label] = []
    left, top, width, height = place
    inside = (left, top, left + width - 1.0, top + height - 1.0)
    for one in objects:
        # float64 of a box in absolute pixels may be far from the picture; it ends at its border.
        y, x = (sorted((one.box[axis], one.box[axis + 2])) for axis in (0, 1))
        corners = _within(
            (left + x[0] * width, top + y[0] * height, left + x[1] * width, top + y[1] * height),
            (0.0, 0.0, canvas.picture.width - 1.0, canvas.picture.height - 1.0),
        )
        own = Mark(class_colour(one.class_id))
        mark = CROWD_MARK if one.is_crowd else own
        if one.is_wrong or one.overruns:
            mark = WARNING_MARK
        canvas.box(corners, mark)
        if one.overruns and not one.is_wrong and overlap(corners, inside):
            canvas.box(_within(corners, inside), own)
        labels.append((corners, one.text, mark.colour))
    # The wrong ones first: they are what is looked for.
    canvas.labels(sorted(labels, key=lambda label: label[2] != WARNING))


def _within(corners: Corners, bounds: Corners) -> Corners:
    """The rectangle cut off at `bounds`, at least a few pixels wide."""
    left = min(max(corners[0], bounds[0]), bounds[2] - 3)
    top = min(max(corners[1], bounds[1]), bounds[3] - 3)
    right = min(max(corners[2], left + 3), bounds[2])
    bottom = min(max(corners[3], top + 3), bounds[3])
    return left, top, right, bottom


def _hatch_padding(
    canvas: Canvas, unpadded: tuple[int, int], inside: tuple[int, int, int, int], scale: float
) -> None:
    """Hatches what the resizer has added at the bottom and on the right."""
    left, top, right, bottom = inside
    edge_x = left + round(unpadded[1] * scale)
    edge_y = top + round(unpadded[0] * scale)
    for x0, y0, x1, y1 in ((edge_x, top, right, bottom), (left, edge_y, edge_x - 1, bottom)):
        if x1 > x0 and y1 > y0:
            canvas.hatch((x0, y0, x1, y1))
