"""Pages of images with ground truth and detections drawn in, as PNG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from odapi_repro.evaluation.error_analysis.outcomes import Outcome
from odapi_repro.features.evaluate.shown_images import DrawnDetection, Page, Tile
from odapi_repro.page.canvas import Canvas, Colour, Corners, Label, Mark, tinted
from odapi_repro.page.contact_sheet import LegendEntry, Picture, Spacing, render_sheet

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


_SIDE: Final = 320
_NO_IMAGE: Final = (208, 212, 216)
_DASHES: Final = (7.0, 12.0)
_OBJECTS: Final = {
    "found": Mark((255, 255, 255)),
    "missed": Mark((255, 225, 77), _DASHES),
    "crowd": Mark((138, 147, 156), _DASHES),
}
_COLOURS: Final[Mapping[Outcome, Colour]] = {
    Outcome.FOUND: (0, 179, 122),
    Outcome.LOCALISATION: (240, 160, 0),
    Outcome.CLASSIFICATION: (232, 111, 197),
    Outcome.BOTH: (155, 107, 255),
    Outcome.DUPLICATE: (77, 184, 255),
    Outcome.BACKGROUND: (242, 72, 58),
}
_WORDS: Final = ("found", "wrong place", "wrong class", "both", "duplicate", "background")
_LEGEND: Final[tuple[LegendEntry, ...]] = (
    (_OBJECTS["found"], "ground truth"),
    (_OBJECTS["missed"], "missed"),
    (_OBJECTS["crowd"], "crowd region"),
    (None, "detections:"),
    *((Mark(colour), word) for colour, word in zip(_COLOURS.values(), _WORDS, strict=True)),
)
_SPACING: Final = Spacing(
    caption=40, above=5, line=17, foot=70, row=28, mark=(26, 18), after=7, between=20, edge=14
)
_MASK_OPACITY: Final = 0.45


def render_page(page: Page, images: Mapping[int, Image.Image], *, columns: int = 4) -> bytes:
    """Gives a page as PNG.

    Args:
        page: what to draw.
        images: by position; a tile whose image is not there shows its boxes on grey.
        columns: tiles side by side.
    """
    return render_sheet(
        page.title,
        "",
        [Picture(_drawn(one, images.get(one.image)), one.title, one.note) for one in page.tiles],
        columns=max(3, min(columns, len(page.tiles))),
        side=_SIDE,
        legend=_LEGEND,
        spacing=_SPACING,
    )


def _drawn(tile: Tile, image: Image.Image | None) -> Image.Image:
    """The image as large as fits into its place, with what is drawn on it."""
    from PIL import Image

    if image is None:
        boxes = [one.box for one in tile.objects] + [one.box for one in tile.detections]
        ends = [max((box[i] + box[i + 2] for box in boxes), default=1.0) for i in (0, 1)]
        width, height = (max(1, math.ceil(end)) for end in ends)
    else:
        width, height = image.size
    scale = _SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if image is None:
        canvas = Canvas(Image.new("RGB", size, _NO_IMAGE))
    else:
        pixels = np.asarray(image.convert("RGB"))
        pixels = tinted(pixels, _masks(tile.detections, pixels.shape[:2]), _MASK_OPACITY)
        canvas = Canvas(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    found: list[Label] = []
    missed: list[Label] = []
    for one in tile.objects:
        corners, mark = _corners(one.box, scale, size), _OBJECTS[one.state]
        canvas.box(corners, mark)
        if one.state != "found":
            missed.append((corners, one.text, mark.colour))
    for detection in tile.detections:
        corners, colour = _corners(detection.box, scale, size), _COLOURS[detection.outcome]
        canvas.box(corners, Mark(colour))
        found.append((corners, detection.text, colour))
    # The most confident detection first.
    canvas.labels([*reversed(found), *missed], is_tight=True)
    return canvas.picture


def _masks(
    detections: Sequence[DrawnDetection], size: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.bool_], Colour]]:
    from pycocotools import mask as mask_api

    for one in detections:
        # Its size first: decoded, it takes a byte a pixel, and it may be of any size.
        if one.mask is not None and tuple(one.mask["size"]) == size:
            mask: Any = mask_api.decode(one.mask)
            yield mask > 0, _COLOURS[one.outcome]


def _corners(box: Sequence[float], scale: float, size: tuple[int, int]) -> Corners:
    """Left, top, right and bottom inside the picture, at least a pixel apart."""
    x, y, width, height = (value * scale for value in box)
    left, top = min(max(x, 0.0), size[0] - 2.0), min(max(y, 0.0), size[1] - 2.0)
    right = min(max(x + width, left + 1.0), size[0] - 1.0)
    bottom = min(max(y + height, top + 1.0), size[1] - 1.0)
    return left, top, right, bottom
