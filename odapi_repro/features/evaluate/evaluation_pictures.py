"""Pages of images with ground truth and detections drawn in, and which images they show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.coco_data import GroundTruth
from odapi_repro.evaluation.error_analysis.match_outcomes import Outcome
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport, Model
from odapi_repro.page.canvas import (
    Canvas,
    Colour,
    Corners,
    Label,
    LegendEntry,
    Mark,
    Picture,
    Spacing,
    render_sheet,
    tinted,
)

if TYPE_CHECKING:
    from PIL import Image


# --- Which images and errors are shown: the best images, the worst, the most confident errors ---


Box = tuple[float, float, float, float]
_WORDS = {
    Outcome.CLASSIFICATION: "wrong class",
    Outcome.LOCALISATION: "wrong place",
    Outcome.BOTH: "wrong class and place",
    Outcome.DUPLICATE: "found twice",
    Outcome.BACKGROUND: "nothing there",
}


@dataclass(frozen=True)
class DrawnDetection:
    """A detection to draw: box (x y width height in pixels), what to write on it, its outcome."""

    box: Box
    text: str
    outcome: Outcome
    mask: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class DrawnObject:
    """An annotation to draw; `crowd` counts neither as found nor as missed."""

    box: Box
    text: str
    state: Literal["found", "missed", "crowd"]


@dataclass(frozen=True)
class Tile:
    """One image of a page.

    Attributes:
        image: position in the ground truth.
        title, note: the two lines below it.
        objects, detections: what is drawn, the most confident detection last, on top.
    """

    image: int
    title: str
    note: str
    objects: tuple[DrawnObject, ...]
    detections: tuple[DrawnDetection, ...]


@dataclass(frozen=True)
class Page:
    """A page of images; `name` is its file's, without ending."""

    name: str
    title: str
    tiles: tuple[Tile, ...]


def pages(report: EvaluationReport, count: int) -> list[Page]:
    """Gives up to three pages of at most `count` images each; none without anything to show.

    Of masks, where masks were scored. Detections below their class's score of the best F1 are left
    out: at AP's operating point, every box a model can think of, one would see nothing else.
    Images are ranked by F1 at IoU 0.5; of images alike, the one with more to see comes first. The
    page of errors has one error of an image, its most confident one.
    """
    iou_type = report.iou_types[-1]
    shown = _Shown(report.truth, report.model, iou_type)
    by_f1 = sorted(shown.images(), key=lambda one: (-one.f1, -one.found))
    best = [one for one in by_f1 if one.found][:count]
    worst = sorted(shown.images(), key=lambda one: (one.f1, -(one.wrong + one.missed)))
    worst = [one for one in worst if one.wrong + one.missed][:count]
    errors = shown.errors(count)
    found = []
    for name, title, tiles in (
        ("best", "The images detected best", [shown.tile(one) for one in best]),
        ("worst", "The images detected worst", [shown.tile(one) for one in worst]),
        ("confident_errors", "The most confident errors, one an image", errors),
    ):
        if tiles:
            what = "masks" if iou_type == "segm" else "boxes"
            found.append(Page(name, f"{title} ({what}, IoU 0.5)", tuple(tiles)))
    return found


@dataclass(frozen=True)
class _Image:
    """An image by its detections above the scores of the best F1."""

    image: int
    found: int
    wrong: int
    missed: int

    @property
    def f1(self) -> float:
        """At IoU 0.5."""
        total = 2 * self.found + self.wrong + self.missed
        return 2 * self.found / total if total else 1.0


class _Shown:
    """What can be shown of one model."""

    def __init__(self, truth: GroundTruth, model: Model, iou_type: str) -> None:
        breakdown: Breakdown = model.breakdowns[iou_type]
        self._truth = truth
        self._outcomes = breakdown.outcomes
        self._matches = breakdown.matches
        detections = model.detections
        self._masks = detections.masks if iou_type == "segm" else None
        self._boxes = detections.boxes
        cuts = [np.inf if one.score is None else one.score for one in breakdown.best_f1]
        self._kept = self._matches.scores >= np.array(cuts)[self._matches.categories]
        self._found = self._outcomes.found_objects(self._kept)
        self._counts = ~self._matches.truth_ignored[0]
        self._of_image = _by_image(self._matches.images, truth.num_images)
        self._objects_of_image = _by_image(truth.images, truth.num_images)

    def images(self) -> list[_Image]:
        """All images that have an object or a detection."""
        kinds = self._outcomes.kinds
        wrong = self._kept & ~np.isin(kinds, (Outcome.FOUND, Outcome.IGNORED))
        missed = self._counts & ~self._found
        size = self._truth.num_images
        columns = [
            np.bincount(images[chosen], minlength=size).tolist()
            for images, chosen in (
                (self._truth.images, self._found),
                (self._matches.images, wrong),
                (self._truth.images, missed),
            )
        ]
        every = [_Image(i, *counts) for i, counts in enumerate(zip(*columns, strict=True))]
        return [one for one in every if one.found + one.wrong + one.missed]

    def tile(self, one: _Image) -> Tile:
        """An image with all that is above the scores of the best F1."""
        rows = [row for row in self._of_image[one.image].tolist() if self._kept[row]]
        note = f"F1 {one.f1:.2f}: {one.found} found, {one.missed} missed, {one.wrong} wrong"
        return Tile(
            one.image, self._name(one.image), note, self._objects(one.image), self._drawn(rows)
        )

    def errors(self, count: int) -> list[Tile]:
        """The most confident wrong detections, whatever their score, one an image."""
        kinds = self._outcomes.kinds
        rows = np.flatnonzero(~np.isin(kinds, (Outcome.FOUND, Outcome.IGNORED)))
        rows = rows[np.argsort(-self._matches.scores[rows], kind="stable")]
        first = np.sort(np.unique(self._matches.images[rows], return_index=True)[1])[:count]
        tiles = []
        for row in rows[first].tolist():
            image = int(self._matches.images[row])
            kind = Outcome(int(kinds[row]))
            note = f"{_WORDS[kind]}: {self._text(row)}"
            if kind == Outcome.CLASSIFICATION:
                truth = self._truth.categories[self._outcomes.objects[row]]
                note += f" on {self._truth.category_names[truth]}"
            tiles.append(
                Tile(image, self._name(image), note, self._objects(image), self._drawn([row]))
            )
        return tiles

    def _name(self, image: int) -> str:
        return self._truth.file_names[image] or f"image {self._truth.image_ids[image]}"

    def _text(self, row: int) -> str:
        name = self._truth.category_names[self._matches.categories[row]]
        return f"{name} {self._matches.scores[row]:.2f}"

    def _objects(self, image: int) -> tuple[DrawnObject, ...]:
        drawn = []
        for place in self._objects_of_image[image].tolist():
            name = self._truth.category_names[self._truth.categories[place]]
            state: Literal["found", "missed", "crowd"] = "crowd"
            if self._counts[place]:
                state = "found" if self._found[place] else "missed"
            drawn.append(
                DrawnObject(
                    _box(self._truth.boxes[place]),
                    f"{name} (crowd)" if state == "crowd" else name,
                    state,
                )
            )
        return tuple(drawn)

    def _drawn(self, rows: Sequence[int]) -> tuple[DrawnDetection, ...]:
        drawn = []
        for row in sorted(rows, key=lambda row: float(self._matches.scores[row])):
            position = int(self._matches.rows[row])
            outcome = Outcome(int(self._outcomes.kinds[row]))
            if outcome == Outcome.IGNORED:
                continue
            mask = None if self._masks is None else self._masks[position]
            drawn.append(
                DrawnDetection(self._box_of(position, mask), self._text(row), outcome, mask)
            )
        return tuple(drawn)

    def _box_of(self, position: int, mask: Mapping[str, Any] | None) -> Box:
        if self._boxes is not None:
            return _box(self._boxes[position])
        from pycocotools import mask as mask_api

        return _box(mask_api.toBbox(mask))


def _by_image(images: NDArray[np.int32], count: int) -> list[NDArray[np.int64]]:
    order = np.argsort(images, kind="stable")
    return np.split(order, np.searchsorted(images[order], np.arange(1, count)))


def _box(values: NDArray[np.float64]) -> Box:
    x, y, width, height = values.tolist()
    return x, y, width, height


# --- Pages of images with ground truth and detections drawn in, as PNG ---


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
_MARK_WORDS: Final = ("found", "wrong place", "wrong class", "both", "duplicate", "background")
_LEGEND: Final[tuple[LegendEntry, ...]] = (
    (_OBJECTS["found"], "ground truth"),
    (_OBJECTS["missed"], "missed"),
    (_OBJECTS["crowd"], "crowd region"),
    (None, "detections:"),
    *((Mark(colour), word) for colour, word in zip(_COLOURS.values(), _MARK_WORDS, strict=True)),
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
