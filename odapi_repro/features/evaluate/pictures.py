"""Pages of images with ground truth and detections drawn in, as PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from odapi_repro.evaluation.error_analysis.outcomes import Outcome
from odapi_repro.features.evaluate.shown_images import DrawnDetection, DrawnObject, Page, Tile
from odapi_repro.page.canvas import (
    HALO,
    Corners,
    draw_dashed,
    draw_framed,
    fitted,
    font,
    room_for,
)

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

__all__ = ["render_page"]

_TILE: Final = 320
_GAP: Final = 14
_CAPTION: Final = 40
_HEAD, _FOOT = 46, 70
_PAPER, _INK, _MUTED = "#f5f5f5", "#1f2328", "#57606a"
_TRUTH, _MISSED, _CROWD = "#ffffff", "#ffe14d", "#8a939c"
_COLOURS: Final = {
    Outcome.FOUND: "#00b37a",
    Outcome.CLASSIFICATION: "#e86fc5",
    Outcome.LOCALISATION: "#f0a000",
    Outcome.BOTH: "#9b6bff",
    Outcome.DUPLICATE: "#4db8ff",
    Outcome.BACKGROUND: "#f2483a",
}
_LEGEND: Final = (
    (Outcome.FOUND, "found"),
    (Outcome.LOCALISATION, "wrong place"),
    (Outcome.CLASSIFICATION, "wrong class"),
    (Outcome.BOTH, "both"),
    (Outcome.DUPLICATE, "duplicate"),
    (Outcome.BACKGROUND, "background"),
)
_MASK_OPACITY: Final = 0.45
_MOST_LABELS: Final = 14
"""Of one image; with more, nothing of the image is left to see."""


def render_page(page: Page, images: Mapping[int, Image.Image], *, columns: int = 4) -> bytes:
    """Gives a page as PNG.

    Args:
        page: what to draw.
        images: by position; a tile whose image is not there shows its boxes on grey.
        columns: tiles side by side.
    """
    from PIL import Image, ImageDraw

    columns = max(3, min(columns, len(page.tiles)))
    rows = math.ceil(len(page.tiles) / columns)
    width = columns * (_TILE + _GAP) + _GAP
    height = _HEAD + rows * (_TILE + _CAPTION + _GAP) + _FOOT
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _HEAD / 2), page.title, fill=_INK, font=font(18), anchor="lm")
    for place, tile in enumerate(page.tiles):
        row, column = divmod(place, columns)
        left, top = _GAP + column * (_TILE + _GAP), _HEAD + row * (_TILE + _CAPTION + _GAP)
        picture = _picture(tile, images.get(tile.image))
        sheet.paste(picture, (left, top + _TILE - picture.height))
        for line, (text, colour) in enumerate(((tile.title, _INK), (tile.note, _MUTED))):
            shown = fitted(draw, text, _TILE, 13)
            draw.text((left, top + _TILE + 5 + 17 * line), shown, fill=colour, font=font(13))
    _draw_legend(draw, height - _FOOT + 8, width)
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()


def _picture(tile: Tile, image: Image.Image | None) -> Image.Image:
    """The image in a square of the tile's size, with what is drawn on it."""
    from PIL import Image, ImageDraw

    boxes = [one.box for one in tile.objects] + [one.box for one in tile.detections]
    if image is None:
        ends = [max((box[i] + box[i + 2] for box in boxes), default=1.0) for i in (0, 1)]
        width, height = (max(1, math.ceil(end)) for end in ends)
    else:
        image = _tinted(image, tile.detections)
        width, height = image.size
    scale = _TILE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if image is None:
        shown = Image.new("RGB", size, "#d0d4d8")
    else:
        shown = image.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(shown)
    for one in tile.objects:
        _draw_object(draw, _corners(one.box, scale, shown.size), one)
    for detection in tile.detections:
        colour = _COLOURS[detection.outcome]
        corners = _corners(detection.box, scale, shown.size)
        draw_framed(draw, corners, colour)
    _draw_labels(draw, tile, scale, shown.size)
    return shown


def _draw_object(draw: ImageDraw.ImageDraw, corners: Corners, one: DrawnObject) -> None:
    if one.state == "found":
        draw_framed(draw, corners, _TRUTH)
        return
    colour = _MISSED if one.state == "missed" else _CROWD
    draw_dashed(draw, corners, colour, dash=7, step=12)


def _draw_labels(
    draw: ImageDraw.ImageDraw, tile: Tile, scale: float, size: tuple[int, int]
) -> None:
    """Writes on detections and on missed objects, where no other label stands if there is room."""
    face = font(12)
    wanted = [
        *((one.box, one.text, _COLOURS[one.outcome]) for one in reversed(tile.detections)),
        *(
            (one.box, one.text, _MISSED if one.state == "missed" else _CROWD)
            for one in tile.objects
            if one.state != "found"
        ),
    ]
    taken: list[Corners] = []
    for box, text, colour in wanted[:_MOST_LABELS]:
        shown = fitted(draw, text, size[0] - 8, 12)
        _, _, text_width, _ = draw.textbbox((0, 0), shown, font=face)
        width, height = text_width + 6, 16
        corners = _corners(box, scale, size)
        room = room_for(corners, (width, height), size, taken, margin=2, beside=False)
        taken.append(room)
        draw.rectangle(room, fill=colour, outline=HALO)
        draw.text(
            (room[0] + 3, (room[1] + room[3]) / 2), shown, fill="black", font=face, anchor="lm"
        )


def _tinted(image: Image.Image, detections: Sequence[DrawnDetection]) -> Image.Image:
    from PIL import Image, ImageColor
    from pycocotools import mask as mask_api

    masked = [one for one in detections if one.mask is not None]
    if not masked:
        return image
    pixels = np.asarray(image.convert("RGB")).astype(np.float32)
    for one in masked:
        # Its size first: decoded, it takes a byte a pixel, and it may be of any size.
        if one.mask is not None and list(one.mask["size"]) == list(pixels.shape[:2]):
            mask: Any = mask_api.decode(one.mask)
            colour = np.array(ImageColor.getrgb(_COLOURS[one.outcome])[:3], np.float32)
            pixels[mask > 0] += _MASK_OPACITY * (colour - pixels[mask > 0])
    return Image.fromarray(pixels.astype(np.uint8))


def _draw_legend(draw: ImageDraw.ImageDraw, top: int, width: int) -> None:
    face = font(13)
    x, y = _GAP, top
    truth = DrawnObject((0, 0, 0, 0), "", "found")
    entries: list[tuple[str, DrawnObject | str | None]] = [
        ("ground truth", truth),
        ("missed", DrawnObject((0, 0, 0, 0), "", "missed")),
        ("crowd region", DrawnObject((0, 0, 0, 0), "", "crowd")),
        ("detections:", None),
        *((text, _COLOURS[outcome]) for outcome, text in _LEGEND),
    ]
    for text, mark in entries:
        shift = 0 if mark is None else 33
        length = draw.textlength(text, font=face)
        if x + shift + length > width - _GAP:
            x, y = _GAP, y + 28
        corners = (x, y, x + 26, y + 18)
        if isinstance(mark, DrawnObject):
            _draw_object(draw, corners, mark)
        elif mark is not None:
            draw_framed(draw, corners, mark)
        draw.text((x + shift, y + 9), text, fill=_INK, font=face, anchor="lm")
        x += round(shift + length + 20)


def _corners(box: Sequence[float], scale: float, size: tuple[int, int]) -> Corners:
    """Left, top, right and bottom inside the picture, at least a pixel apart."""
    x, y, width, height = (value * scale for value in box)
    left, top = min(max(x, 0.0), size[0] - 2.0), min(max(y, 0.0), size[1] - 2.0)
    right = min(max(x + width, left + 1.0), size[0] - 1.0)
    bottom = min(max(y + height, top + 1.0), size[1] - 1.0)
    return left, top, right, bottom
