"""Pages of pictures as PNG: a heading, the pictures with two lines each, and what marks mean."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from odapi_repro.page.canvas import INK, MUTED, PAPER, WARNING, Canvas, Mark, font

if TYPE_CHECKING:
    from PIL import Image


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
