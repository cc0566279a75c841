"""Pages of tiles as PNG: a heading, the tiles with their lines, a legend."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from odapi_repro.features.show.tiles import Tile
from odapi_repro.page.canvas import (
    INK,
    MUTED,
    PAPER,
    WARNING,
    Colour,
    draw_dashed,
    draw_framed,
    fitted,
    font,
)

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

__all__ = ["LEGEND", "LegendEntry", "render_sheet"]

_GAP: Final = 14
_CAPTION: Final = 42
_HEAD: Final = 62
_FOOT: Final = 40
_CROWD: Final = (190, 197, 204)

LegendEntry = tuple[str, str]
"""A kind of mark (`box`, `crowd`, `warning`, `padding`) and what it means."""

LEGEND: Final[tuple[LegendEntry, ...]] = (
    ("box", "object, a colour a class"),
    ("crowd", "crowd region"),
    ("warning", "leaves the image, has no area, or a class that the label map lacks"),
)


def render_sheet(
    title: str,
    subtitle: str,
    pictures: Sequence[tuple[Tile, Image.Image]],
    *,
    columns: int,
    side: int,
    legend: Sequence[LegendEntry] = LEGEND,
) -> bytes:
    """Gives a page as PNG.

    Args:
        title: the heading.
        subtitle: the line below it.
        pictures: tiles and their pictures (`render_tile`), row by row.
        columns: tiles side by side.
        side: of a tile, in pixels.
        legend: what the marks mean.
    """
    from PIL import Image, ImageDraw

    rows = math.ceil(len(pictures) / columns)
    width = columns * (side + _GAP) + _GAP
    laid = _laid_out(legend, width)
    foot = _FOOT + 26 * (len(laid) - 1)
    sheet = Image.new("RGB", (width, _HEAD + rows * (side + _CAPTION + _GAP) + foot), PAPER)
    draw = ImageDraw.Draw(sheet)
    for text, size, y, colour in ((title, 18, 22, INK), (subtitle, 13, 45, MUTED)):
        shown = fitted(draw, text, width - 2 * _GAP, size)
        draw.text((_GAP, y), shown, fill=colour, font=font(size), anchor="lm")
    for place, (tile, picture) in enumerate(pictures):
        row, column = divmod(place, columns)
        left, top = _GAP + column * (side + _GAP), _HEAD + row * (side + _CAPTION + _GAP)
        sheet.paste(picture, (left, top))
        second = (tile.warning, WARNING) if tile.warning else (tile.note, MUTED)
        for line, (text, colour) in enumerate(((tile.title, INK), second)):
            shown = fitted(draw, text, side, 13)
            draw.text((left, top + side + 4 + 18 * line), shown, fill=colour, font=font(13))
    _draw_legend(draw, laid, sheet.height - foot + 8)
    stream = io.BytesIO()
    sheet.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _laid_out(legend: Sequence[LegendEntry], width: int) -> list[list[tuple[str, str, int]]]:
    """The entries line by line, each with where it begins."""
    lines: list[list[tuple[str, str, int]]] = [[]]
    x = _GAP
    for kind, text in legend:
        length = 34 + round(font(13).getlength(text)) + 22
        if lines[-1] and x + length > width:
            lines.append([])
            x = _GAP
        lines[-1].append((kind, text, x))
        x += length
    return lines


def _draw_legend(
    draw: ImageDraw.ImageDraw, lines: Sequence[Sequence[tuple[str, str, int]]], top: int
) -> None:
    for number, line in enumerate(lines):
        y = top + 26 * number
        for kind, text, x in line:
            corners = (float(x), float(y), x + 24.0, y + 17.0)
            if kind == "box":
                colour: Colour = (86, 180, 233)
                draw_framed(draw, corners, colour)
            elif kind == "padding":
                draw.rectangle(corners, fill=(222, 226, 230), outline=MUTED)
                for start in (x - 8, x, x + 8, x + 16):
                    begin, end = max(start, x), min(start + 17, x + 24)
                    draw.line((begin, y + 17 - (begin - start), end, y + 17 - (end - start)), MUTED)
            else:
                draw_dashed(draw, corners, WARNING if kind == "warning" else _CROWD)
            draw.text((x + 34, y + 9), text, fill=INK, font=font(13), anchor="lm")
