"""Drawing on small pictures: fonts, colours, dashes, and labels that do not cover each other."""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from odapi_repro.foreign_text import shown

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

__all__ = [
    "HALO",
    "INK",
    "MUTED",
    "PAPER",
    "WARNING",
    "Colour",
    "Corners",
    "class_colour",
    "draw_dashed",
    "draw_framed",
    "draw_label",
    "fitted",
    "font",
    "ink_on",
    "room_for",
]

Corners = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the picture."""

Colour = tuple[int, int, int]
PAPER: Final[Colour] = (245, 245, 245)
INK: Final[Colour] = (31, 35, 40)
MUTED: Final[Colour] = (87, 96, 106)
HALO: Final[Colour] = (17, 17, 17)
WARNING: Final[Colour] = (207, 34, 46)
_LABEL_HEIGHT: Final = 16
_MOST_MEASURED: Final = 500
"""Letters; no picture has room for more, and to measure many thousands takes seconds."""


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Gives Matplotlib's DejaVu Sans, which is the plots' font, too."""
    import matplotlib as mpl
    from PIL import ImageFont

    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def class_colour(class_id: int) -> Colour:
    """Gives a colour by class; steps of the golden ratio keep neighbouring ids apart."""
    red, green, blue = colorsys.hsv_to_rgb((class_id * 0.618034) % 1.0, 0.7, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def ink_on(colour: Colour) -> Colour:
    """Gives black or white, whichever is read on `colour`."""
    red, green, blue = colour
    return HALO if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else (255, 255, 255)


def fitted(draw: ImageDraw.ImageDraw, text: str, width: float, size: int) -> str:
    """Gives the text on one line, its middle left out where it is wider than `width` pixels."""
    plain = shown(text)
    if len(plain) <= _MOST_MEASURED and draw.textlength(plain, font=font(size)) <= width:
        return plain
    for kept in range(min(len(plain), _MOST_MEASURED) - 1, 1, -1):
        shorter = f"{plain[: (kept + 1) // 2]}…{plain[len(plain) - kept // 2 :]}"
        if draw.textlength(shorter, font=font(size)) <= width:
            return shorter
    return "…"


def draw_framed(draw: ImageDraw.ImageDraw, corners: Corners, colour: Colour | str) -> None:
    """Draws a rectangle that is seen on any ground: a line of 2 pixels with a dark halo."""
    draw.rectangle(corners, outline=HALO, width=4)
    draw.rectangle(_inset(corners), outline=colour, width=2)


def draw_dashed(
    draw: ImageDraw.ImageDraw,
    corners: Corners,
    colour: Colour | str,
    *,
    dash: float = 6,
    step: float = 11,
) -> None:
    """Draws a rectangle of dashes with a dark halo; one of `dash` pixels begins each `step`."""
    for shade, width in ((HALO, 4), (colour, 2)):
        for start, end in _dashes(_inset(corners), dash, step):
            draw.line((*start, *end), fill=shade, width=width)


def draw_label(
    draw: ImageDraw.ImageDraw,
    corners: Corners,
    text: str,
    colour: Colour,
    size: tuple[int, int],
    taken: list[Corners],
) -> None:
    """Writes a label at a box, in a picture of `size`, beside those already `taken` if it can."""
    short = fitted(draw, text, size[0] - 10, 12)
    width = draw.textlength(short, font=font(12)) + 7
    room = room_for(corners, (width, _LABEL_HEIGHT), size, taken)
    taken.append(room)
    draw.rectangle(room, fill=colour, outline=HALO)
    middle = (room[0] + 4, (room[1] + room[3]) / 2)
    draw.text(middle, short, fill=ink_on(colour), font=font(12), anchor="lm")


def room_for(
    corners: Corners,
    label: tuple[float, float],
    size: tuple[int, int],
    taken: Sequence[Corners],
    *,
    margin: float = 3,
    beside: bool = True,
) -> Corners:
    """Gives a place for a label at its box, inside the picture; a free one if there is.

    Above and below the box, `margin` pixels within it, and `beside` it, if wanted.
    """
    left, top, right, bottom = corners
    width, height = label
    places = [
        (left, top - height),
        (left, bottom),
        (right - width, top - height),
        (right - width, bottom),
        (left + margin, top + margin),
        (left + margin, bottom - height - margin),
    ]
    if beside:
        places += [
            (right, top),
            (left - width, top),
            (right, bottom - height),
            (left - width, bottom - height),
        ]
    rooms = []
    for wanted_x, wanted_y in places:
        x = min(max(wanted_x, 0.0), max(size[0] - 1 - width, 0.0))
        y = min(max(wanted_y, 0.0), max(size[1] - 1 - height, 0.0))
        rooms.append((x, y, x + width, y + height))
    free = (room for room in rooms if not any(_overlap(room, other) for other in taken))
    return next(free, rooms[0])


def _overlap(one: Corners, other: Corners) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inset(corners: Corners) -> Corners:
    left, top, right, bottom = corners
    if right - left <= 2 or bottom - top <= 2:
        return corners
    return left + 1, top + 1, right - 1, bottom - 1


def _dashes(
    corners: Corners, dash: float, step: float
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    left, top, right, bottom = corners
    points = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length = abs(x1 - x0) + abs(y1 - y0)
        at = 0.0
        while at < length:
            end = min(at + dash, length)
            yield (
                (x0 + (x1 - x0) * at / length, y0 + (y1 - y0) * at / length),
                (x0 + (x1 - x0) * end / length, y0 + (y1 - y0) * end / length),
            )
            at += step
