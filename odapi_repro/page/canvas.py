"""Drawing on pictures, and pages of them as PNG.

Nothing else draws on an image.
"""

from __future__ import annotations

import colorsys
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odapi_repro.foreign_text import shown

if TYPE_CHECKING:
    from PIL import Image, ImageFont


# --- Drawing on pictures: boxes, labels that do not cover each other, masks, hatches, text ---


Corners = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the picture."""

Colour = tuple[int, int, int]
PAPER: Final[Colour] = (245, 245, 245)
INK: Final[Colour] = (31, 35, 40)
MUTED: Final[Colour] = (87, 96, 106)
HALO: Final[Colour] = (17, 17, 17)
WARNING: Final[Colour] = (207, 34, 46)
OUTSIDE: Final[Colour] = (222, 226, 230)
"""What is no part of the image: padding, and the margin beside it."""

Label = tuple[Corners, str, Colour]
"""The box that it is for, what it says, and its ground."""

DASHES: Final = (6.0, 11.0)
_LABEL_HEIGHT: Final = 16
_MOST_LABELS: Final = 14
"""Of one image; with more, nothing of the image is left to see."""
_MOST_MEASURED: Final = 500
"""Letters; no picture has room for more, and to measure many thousands takes seconds."""
_HATCH: Final = 8


@dataclass(frozen=True)
class Mark:
    """How a box is drawn: a line of 2 pixels with a dark halo, seen on any ground.

    Attributes:
        colour: of the line.
        dashes: pixels of a dash, and of the way from one to the next; None for a whole line.
        is_hatched: no line, but what stands for padding.
    """

    colour: Colour
    dashes: tuple[float, float] | None = None
    is_hatched: bool = False


class Canvas:
    """A picture that is drawn on."""

    def __init__(self, picture: Image.Image) -> None:
        from PIL import ImageDraw

        self.picture = picture
        self._draw = ImageDraw.Draw(picture)

    def box(self, corners: Corners, mark: Mark) -> None:
        """Draws a rectangle."""
        if mark.is_hatched:
            self.hatch(corners, is_outlined=True)
        elif mark.dashes is None:
            self._draw.rectangle(corners, outline=HALO, width=4)
            self._draw.rectangle(_inset(corners), outline=mark.colour, width=2)
        else:
            for shade, width in ((HALO, 4), (mark.colour, 2)):
                for start, end in _dashes(_inset(corners), *mark.dashes):
                    self._draw.line((*start, *end), fill=shade, width=width)

    def outline(self, corners: Corners) -> None:
        """Draws a thin line where the image ends."""
        self._draw.rectangle(corners, outline=MUTED)

    def hatch(self, corners: Corners, *, is_outlined: bool = False) -> None:
        """Fills a rectangle with lines at 45 degrees."""
        left, top, right, bottom = map(round, corners)
        rise = bottom - top + (not is_outlined)
        self._draw.rectangle(corners, fill=OUTSIDE, outline=MUTED if is_outlined else None)
        for start in range(left - (_HATCH if is_outlined else rise), right + 1, _HATCH):
            # From (start, bottom) up to the right, cut off at the sides.
            begin, end = max(start, left), min(start + rise, right)
            if end > begin:
                heights = [bottom - (x - start) for x in (begin, end)]
                self._draw.line((begin, heights[0], end, heights[1]), fill=MUTED)

    def labels(self, labels: Iterable[Label], *, is_tight: bool = False) -> None:
        """Writes labels at their boxes, each beside those before it if it can.

        Args:
            labels: the most important first.
            is_tight: close to their letters, black, and not at the sides of their boxes.
        """
        face, size, pad = font(12), self.picture.size, 3 if is_tight else 4
        taken: list[Corners] = []
        for corners, text, colour in itertools.islice(labels, _MOST_LABELS):
            short = fitted(text, size[0] - 2 * pad - 2, 12)
            length = face.getlength(short)
            width = round(length) + 6 if is_tight else length + 7
            room = room_for(
                corners,
                (width, _LABEL_HEIGHT),
                size,
                taken,
                margin=pad - 1,
                beside=not is_tight,
            )
            taken.append(room)
            self._draw.rectangle(room, fill=colour, outline=HALO)
            ink = (0, 0, 0) if is_tight else _ink_on(colour)
            middle = (room[0] + pad, (room[1] + room[3]) / 2)
            self._draw.text(middle, short, fill=ink, font=face, anchor="lm")

    def message(self, text: str) -> None:
        """Writes some lines in the middle."""
        width, height = self.picture.size
        lines = _wrapped(text, width - 24)[:8]
        for number, line in enumerate(lines):
            middle = (width / 2, height / 2 - 9 * len(lines) + 18 * number + 9)
            self._draw.text(middle, line, fill=HALO, font=font(13), anchor="mm")

    def text(
        self,
        at: tuple[float, float],
        text: str,
        *,
        colour: Colour = INK,
        size: int = 13,
        width: float | None = None,
        anchor: str | None = None,
    ) -> None:
        """Writes one line, its middle left out where it is wider than `width` pixels."""
        short = text if width is None else fitted(text, width, size)
        self._draw.text(at, short, fill=colour, font=font(size), anchor=anchor)


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


def fitted(text: str, width: float, size: int) -> str:
    """Gives the text on one line, its middle left out where it is wider than `width` pixels."""
    plain, face = shown(text), font(size)
    if len(plain) <= _MOST_MEASURED and face.getlength(plain) <= width:
        return plain
    for kept in range(min(len(plain), _MOST_MEASURED) - 1, 1, -1):
        shorter = f"{plain[: (kept + 1) // 2]}…{plain[len(plain) - kept // 2 :]}"
        if face.getlength(shorter) <= width:
            return shorter
    return "…"


def tinted(
    pixels: NDArray[np.uint8], masks: Iterable[tuple[NDArray[np.bool_], Colour]], opacity: float
) -> NDArray[np.uint8]:
    """Gives an image [h, w, 3] with masks [h, w] tinted, one after the other."""
    found = None
    for mask, colour in masks:
        if found is None:
            found = pixels.astype(np.float32)
        found[mask] += opacity * (np.array(colour, np.float32) - found[mask])
    return pixels if found is None else found.astype(np.uint8)


def overlap(one: Corners, other: Corners) -> bool:
    """Whether two rectangles have an inside in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


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
    free = (room for room in rooms if not any(overlap(room, other) for other in taken))
    return next(free, rooms[0])


def _ink_on(colour: Colour) -> Colour:
    """Gives black or white, whichever is read on `colour`."""
    red, green, blue = colour
    return HALO if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else (255, 255, 255)


def _wrapped(text: str, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(13).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(word, width, 13))
    return lines


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


# --- Pages of pictures as PNG: a heading, the pictures with two lines each, and what marks mean ---


_GAP: Final = 14

LegendEntry = tuple[Mark | None, str]
"""A mark, or none where a word stands for itself, and what it means."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image and the two lines below it.

    Attributes:
        image: at most as large as its place; a lower one stands at the bottom of it.
        title: the first line.
        note: the second.
        is_warning: whether the second is in the colour of warnings.
    """

    image: Image.Image
    title: str
    note: str
    is_warning: bool = False


class Spacing(NamedTuple):
    """Pixels of a sheet.

    Attributes:
        caption: of the lines below a picture, in all; `above` the first, and from `line` to line.
        foot: of the legend, at the least; `row` by row.
        mark: width and height of a mark, then `after` it, and `between` two entries.
        edge: that is left free after an entry.
    """

    caption: int = 42
    above: int = 4
    line: int = 18
    foot: int = 40
    row: int = 26
    mark: tuple[int, int] = (24, 17)
    after: int = 10
    between: int = 22
    edge: int = 22


_SPACING: Final = Spacing()


def render_sheet(
    title: str,
    subtitle: str,
    pictures: Sequence[Picture],
    *,
    columns: int,
    side: int,
    legend: Sequence[LegendEntry],
    spacing: Spacing = _SPACING,
) -> bytes:
    """Gives a page as PNG.

    Args:
        title: the heading.
        subtitle: the line below it, if any.
        pictures: row by row.
        columns: pictures side by side.
        side: of a picture's place, in pixels.
        legend: what the marks mean.
        spacing: between all these.
    """
    from PIL import Image

    rows = math.ceil(len(pictures) / columns)
    width, head = columns * (side + _GAP) + _GAP, 62 if subtitle else 46
    laid = _laid_out(legend, width, spacing)
    foot = max(spacing.foot, 14 + spacing.row * (1 + max(row for _, _, row in laid)))
    height = head + rows * (side + spacing.caption + _GAP) + foot
    canvas = Canvas(Image.new("RGB", (width, height), PAPER))
    room = width - 2 * _GAP
    canvas.text((_GAP, 22 if subtitle else 23), title, size=18, width=room, anchor="lm")
    canvas.text((_GAP, 45), subtitle, colour=MUTED, width=room, anchor="lm")
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        left = _GAP + column * (side + _GAP)
        bottom = head + row * (side + spacing.caption + _GAP) + side
        canvas.picture.paste(picture.image, (left, bottom - picture.image.height))
        second = WARNING if picture.is_warning else MUTED
        for line, (text, colour) in enumerate(((picture.title, INK), (picture.note, second))):
            at = (left, bottom + spacing.above + spacing.line * line)
            canvas.text(at, text, colour=colour, width=side)
    for (mark, text), x, row in laid:
        y = height - foot + 8 + spacing.row * row
        if mark is not None:
            canvas.box((x, y, x + spacing.mark[0], y + spacing.mark[1]), mark)
        canvas.text((x + _shift(mark, spacing), y + 9), text, anchor="lm")
    stream = io.BytesIO()
    canvas.picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _laid_out(
    legend: Sequence[LegendEntry], width: int, spacing: Spacing
) -> list[tuple[LegendEntry, int, int]]:
    """The entries, each with where it begins, and in which row."""
    laid: list[tuple[LegendEntry, int, int]] = []
    x, row = _GAP, 0
    for mark, text in legend:
        length = _shift(mark, spacing) + font(13).getlength(text)
        if x > _GAP and x + round(length + spacing.edge) > width:
            x, row = _GAP, row + 1
        laid.append(((mark, text), x, row))
        x += round(length + spacing.between)
    return laid


def _shift(mark: Mark | None, spacing: Spacing) -> int:
    return 0 if mark is None else spacing.mark[0] + spacing.after
