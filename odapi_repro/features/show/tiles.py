"""One image with its objects drawn in, and with what leaves the image drawn beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from odapi_repro.page.canvas import (
    HALO,
    MUTED,
    WARNING,
    Corners,
    class_colour,
    draw_dashed,
    draw_framed,
    draw_label,
    fitted,
    font,
)

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

__all__ = ["DrawnObject", "Tile", "render_tile"]

_MASK_OPACITY: Final = 0.5
_MARGIN: Final = 0.16
"""Of the tile on each side, where boxes leave the image."""
_OUTSIDE: Final = (222, 226, 230)
_BROKEN: Final = (208, 212, 216)
_CROWD: Final = (190, 197, 204)
_MOST_LABELS: Final = 14
"""Of one image; with more, nothing of the image is left to see."""


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
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (side, side), _BROKEN if tile.image is None else _OUTSIDE)
    draw = ImageDraw.Draw(canvas)
    if tile.image is None:
        _write_message(draw, tile.message, side)
        return canvas
    overruns = any(one.overruns for one in tile.objects)
    room = side * (1 - 2 * _MARGIN) if overruns else side
    scale = room / max(tile.image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in tile.image.shape[:2])
    left, top = (side - width) // 2, (side - height) // 2
    shown = Image.fromarray(_tinted(tile.image, tile.objects)).resize(
        (width, height), Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    )
    canvas.paste(shown, (left, top))
    if tile.unpadded is not None:
        _hatch_padding(draw, tile, (left, top, left + width, top + height), scale)
    if overruns:
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=MUTED)
    _draw_objects(draw, tile.objects, (left, top, width, height), side)
    return canvas


def _draw_objects(
    draw: ImageDraw.ImageDraw,
    objects: Sequence[DrawnObject],
    place: tuple[int, int, int, int],
    side: int,
) -> None:
    labels = []
    left, top, width, height = place
    inside = (float(left), float(top), left + width - 1.0, top + height - 1.0)
    for one in objects:
        # float64 of a box in absolute pixels may be far from the picture; it ends at its border.
        y, x = (sorted((one.box[axis], one.box[axis + 2])) for axis in (0, 1))
        corners = _within(
            (left + x[0] * width, top + y[0] * height, left + x[1] * width, top + y[1] * height),
            (0.0, 0.0, side - 1.0, side - 1.0),
        )
        colour = class_colour(one.class_id)
        if one.is_wrong or one.overruns:
            draw_dashed(draw, corners, WARNING)
            colour = WARNING
            if one.overruns and not one.is_wrong and _meet(corners, inside):
                draw_framed(draw, _within(corners, inside), class_colour(one.class_id))
        elif one.is_crowd:
            draw_dashed(draw, corners, _CROWD)
            colour = _CROWD
        else:
            draw_framed(draw, corners, colour)
        labels.append((one, corners, colour))
    taken: list[Corners] = []
    # The wrong ones first: they are what is looked for.
    labels.sort(key=lambda label: label[2] != WARNING)
    for one, corners, colour in labels[:_MOST_LABELS]:
        draw_label(draw, corners, one.text, colour, (side, side), taken)


def _within(corners: Corners, bounds: Corners) -> Corners:
    """The rectangle cut off at `bounds`, at least a few pixels wide."""
    left = min(max(corners[0], bounds[0]), bounds[2] - 3)
    top = min(max(corners[1], bounds[1]), bounds[3] - 3)
    right = min(max(corners[2], left + 3), bounds[2])
    bottom = min(max(corners[3], top + 3), bounds[3])
    return left, top, right, bottom


def _meet(one: Corners, other: Corners) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _tinted(image: NDArray[np.uint8], objects: Sequence[DrawnObject]) -> NDArray[np.uint8]:
    masks = [(one.mask, one.class_id) for one in objects if one.mask is not None]
    if not masks:
        return image
    tinted = image.astype(np.float32)
    for mask, class_id in masks:
        if mask.shape == image.shape[:2]:
            tinted[mask] += _MASK_OPACITY * (np.array(class_colour(class_id)) - tinted[mask])
    return tinted.astype(np.uint8)


def _hatch_padding(
    draw: ImageDraw.ImageDraw, tile: Tile, place: tuple[int, int, int, int], scale: float
) -> None:
    """Hatches what the resizer has added at the bottom and on the right."""
    assert tile.unpadded is not None
    left, top, right, bottom = place
    edge_x = left + round(tile.unpadded[1] * scale)
    edge_y = top + round(tile.unpadded[0] * scale)
    for corners in ((edge_x, top, right, bottom), (left, edge_y, edge_x, bottom)):
        x0, y0, x1, y1 = corners
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=_OUTSIDE)
        for start in range(x0 - (y1 - y0), x1, 8):
            # At 45 degrees from (start, y1) up to (start + height, y0), cut off at the sides.
            begin = max(start, x0)
            end = min(start + (y1 - y0), x1 - 1)
            if end > begin:
                heights = [y1 - 1 - (x - start) for x in (begin, end)]
                draw.line((begin, heights[0], end, heights[1]), fill=MUTED)


def _write_message(draw: ImageDraw.ImageDraw, message: str, side: int) -> None:
    lines = _wrapped(draw, message, side - 24)[:8]
    top = side / 2 - 9 * len(lines)
    for number, line in enumerate(lines):
        draw.text((side / 2, top + 18 * number + 9), line, fill=HALO, font=font(13), anchor="mm")


def _wrapped(draw: ImageDraw.ImageDraw, text: str, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and draw.textlength(longer, font=font(13)) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(draw, word, width, 13))
    return lines
