"""The contact sheets of `data show`: records as they are, and as the model gets them."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import UNKNOWN_CLASS, AnnotatedImage, ModelInput, RefusedInput
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.limits import IMAGE_PIXELS, TooLarge
from odapi_repro.datasets.object_table import PickedRecord, Survey
from odapi_repro.errors import DataError
from odapi_repro.features.show.show_report import DrawsReport
from odapi_repro.foreign_text import shortened_name
from odapi_repro.page.canvas import (
    DASHES,
    MUTED,
    OUTSIDE,
    WARNING,
    Canvas,
    Corners,
    Label,
    LegendEntry,
    Mark,
    Picture,
    class_colour,
    overlap,
    render_sheet,
    tinted,
)
from odapi_repro.page.numbers import count_of
from odapi_repro.page.results_folder import Drawing
from odapi_repro.pipeline import Pipeline
from odapi_repro.trials.model_inputs import each_model_input

if TYPE_CHECKING:
    from PIL import Image


# --- One image with its objects drawn in, and with what leaves the image drawn beside it ---


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


# --- Tiles of records as they are, and of what the model gets of them ---


_ABSOLUTE: Final = 2.0
"""Shares above this can be nothing but pixels."""


def name_of(record: PickedRecord) -> str:
    """Gives the record's source id, its file name, or its place among the records."""
    image = record.image
    if image is not None and (image.source_id or image.filename):
        return image.source_id or image.filename
    return f"record {record.position}"


def record_tile(
    record: PickedRecord,
    label_map: LabelMap,
    *,
    with_masks: bool,
    max_pixels: int = IMAGE_PIXELS,
) -> Tile:
    """Gives the record as it is: its own image, boxes and masks.

    An image of more than `max_pixels` is not decoded; the tile says so.
    """
    name = name_of(record)
    image = record.image
    if image is None:
        return Tile(None, title=name, warning="no readable record", message=record.problem)
    title = f"{name}: {count_of(len(image.boxes), 'object')}"
    pixels, problem = _decoded(image.encoded_image, max_pixels)
    if pixels is None:
        return Tile(None, title=title, warning="does not decode", message=problem)
    masks, mask_problem = _masks(image, pixels.shape[:2], max_pixels) if with_masks else ([], "")
    objects = [
        DrawnObject(
            box=(box[0], box[1], box[2], box[3]),
            text=_text(label_map, int(image.class_ids[i]), image, i),
            class_id=int(image.class_ids[i]),
            is_crowd=bool(image.is_crowd[i]),
            mask=masks[i] if masks else None,
            is_wrong=_is_wrong(box, int(image.class_ids[i]), label_map),
        )
        for i, box in enumerate(image.boxes.astype(np.float64).tolist())
        if all(map(math.isfinite, box))
    ]
    warnings = [*_warnings(objects, image, pixels.shape[:2]), *filter(None, [mask_problem])]
    shown = [_as_pixels(one, pixels.shape[:2]) for one in objects]
    size = f"{image.width} x {image.height}"
    return Tile(pixels, shown, title=title, note=size, warning="; ".join(warnings))


def input_tile(
    drawn: ModelInput | RefusedInput, label_map: LabelMap, *, draw: int, with_masks: bool
) -> Tile:
    """Gives one draw of a record as the model gets it, and how many objects are left."""
    if isinstance(drawn, RefusedInput):
        return Tile(
            None, title=f"draw {draw + 1}", warning="training stops here", message=drawn.message
        )
    objects = [
        DrawnObject(
            box=(box[0], box[1], box[2], box[3]),
            text=label_map.items.get(int(drawn.class_ids[i]), f"id {drawn.class_ids[i]}?"),
            class_id=int(drawn.class_ids[i]),
            mask=drawn.masks[i] if with_masks and drawn.masks is not None else None,
        )
        for i, box in enumerate(drawn.boxes.astype(np.float64).tolist())
    ]
    height, width = drawn.image.shape[:2]
    left, there = len(objects), drawn.boxes_in_record
    lost = f"{there - left} of {there} objects are gone" if left < there else ""
    return Tile(
        drawn.image,
        objects,
        title=f"draw {draw + 1}: {left} of {there} objects",
        note=f"{width} x {height}",
        warning=lost,
        unpadded=(drawn.true_height, drawn.true_width),
    )


def _text(label_map: LabelMap, class_id: int, image: AnnotatedImage, index: int) -> str:
    if class_id in label_map.items:
        name = label_map.items[class_id]
    elif class_id == UNKNOWN_CLASS and image.class_names:
        name = f"'{image.class_names[index]}'?"
    else:
        name = f"id {class_id}?"
    return f"{name} (crowd)" if image.is_crowd[index] else name


def _as_pixels(one: DrawnObject, size: tuple[int, ...]) -> DrawnObject:
    """Where a box that cannot be shares would be, were its numbers pixels of the image."""
    if max(map(abs, one.box)) <= _ABSOLUTE:
        return one
    ymin, xmin, ymax, xmax = one.box
    height, width = size
    return dataclasses.replace(
        one,
        box=(ymin / height, xmin / width, ymax / height, xmax / width),
        text=f"{one.text}, if pixels",
        is_wrong=True,
    )


def _is_wrong(box: list[float], class_id: int, label_map: LabelMap) -> bool:
    ymin, xmin, ymax, xmax = box
    return not (ymax > ymin and xmax > xmin) or class_id not in label_map.items


def _warnings(
    objects: list[DrawnObject], image: AnnotatedImage, pixels: tuple[int, ...]
) -> list[str]:
    found = []
    if pixels != (image.height, image.width):
        found.append(f"decodes to {pixels[1]} x {pixels[0]}")
    outside = [one for one in objects if one.overruns]
    if outside:
        farthest = max(max(map(abs, one.box)) for one in outside)
        absolute = f", up to {farthest:.4g}" if farthest > _ABSOLUTE else ""
        found.append(f"{len(outside)} of {len(objects)} boxes outside{absolute}")
    if len(objects) < len(image.boxes):
        found.append(f"{len(image.boxes) - len(objects)} not a number")
    flat = sum(one.box[2] <= one.box[0] or one.box[3] <= one.box[1] for one in objects)
    if flat:
        found.append(f"{flat} without area")
    return found


def _decoded(
    encoded: bytes, max_pixels: int, mode: str = "RGB"
) -> tuple[NDArray[np.uint8] | None, str]:
    from PIL import Image

    from odapi_repro.datasets.image_file import opened_image

    try:
        with opened_image(encoded, max_pixels) as image:
            if not image.mode.startswith("I"):
                return np.asarray(image.convert(mode)), ""
            # 16 bits: Pillow would clip them at 255, and TensorFlow takes the high byte.
            high = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return np.asarray(high.convert(mode)), ""
    except TooLarge as error:
        return None, f"the image {error}"
    except (OSError, ValueError, SyntaxError) as error:
        # Pillow prints the address of its stream.
        return None, "the image does not decode: " + str(error).split("<_io")[0].strip()


def _masks(
    image: AnnotatedImage, size: tuple[int, ...], max_pixels: int
) -> tuple[list[NDArray[np.bool_] | None], str]:
    masks: list[NDArray[np.bool_] | None] = []
    problem = ""
    for encoded in image.masks_png:
        pixels, _ = _decoded(encoded, max_pixels, "L")
        if pixels is None:
            problem = "a mask does not decode"
            masks.append(None)
        elif pixels.shape != size:
            problem = "masks are not of the image's size"
            masks.append(None)
        else:
            masks.append(pixels > 0)
    return masks, problem


# --- The contact sheets of a split: records as they are, and as the model gets them ---


_COLUMNS: Final = 4
_ROWS: Final = 6
_MOST_LETTERS: Final = 200
_LEGEND: Final[tuple[LegendEntry, ...]] = (
    (Mark((86, 180, 233)), "object, a colour a class"),
    (CROWD_MARK, "crowd region"),
    (WARNING_MARK, "leaves the image, has no area, or a class that the label map lacks"),
)
_PADDING: Final = (Mark(MUTED, is_hatched=True), "padding of the resizer")

OnDraw = Callable[[int, int], None]
"""Gets how many draws are done, and how many there are."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Look:
    """How sheets are drawn.

    Attributes:
        label_map: names the classes.
        side: of a tile, in pixels.
        with_masks: whether masks are tinted.
        max_pixels: pixels that an image may have.
    """

    label_map: LabelMap
    side: int
    with_masks: bool
    max_pixels: int = IMAGE_PIXELS


@dataclass(frozen=True)
class InputSheets:
    """The sheets of model inputs, and what is left of the objects."""

    drawings: tuple[Drawing, ...]
    draws: DrawsReport


def record_sheets(split: str, survey: Survey, look: Look) -> tuple[Drawing, ...]:
    """Gives the pages of the records picked, to be drawn; unreadable ones come last."""
    records = [*survey.picked, *survey.broken]
    about = (
        f"{len(survey.picked):,} of {survey.num_matching:,} images, boxes and masks as the "
        "OD API decodes them"
    )

    def sheet(part: Sequence[PickedRecord]) -> bytes:
        tiles = (
            record_tile(one, look.label_map, with_masks=look.with_masks, max_pixels=look.max_pixels)
            for one in part
        )
        return render_sheet(
            f"{split}: records as they are",
            about,
            [_picture_of(tile, look.side) for tile in tiles],
            columns=min(_COLUMNS, len(part)),
            side=look.side,
            legend=_LEGEND,
        )

    pages = _paged(f"records_{split}", records, _COLUMNS * _ROWS)
    return tuple(png(name, partial(sheet, part)) for name, part in pages)


def _check_sizes(picked: Sequence[PickedRecord], max_pixels: int) -> None:
    """Looks at the headers of the images that TensorFlow is to decode whole.

    Raises:
        DataError: one has more pixels.
    """
    from odapi_repro.datasets.image_file import opened_image

    for one in picked:
        if one.image is None:
            continue
        try:
            with (
                contextlib.suppress(OSError, SyntaxError),
                opened_image(one.image.encoded_image, max_pixels),
            ):
                pass
        except TooLarge as error:
            raise DataError(
                f"the image of {name_of(one)} {error}",
                expected="images that fit into memory, decoded",
                mend="raise the limit, or leave the image out",
            ) from error
        except ValueError:
            continue  # no image; the input functions say what they make of it


def input_sheets(
    split: str,
    pipeline: Pipeline,
    picked: Sequence[PickedRecord],
    label_map_path: Path,
    look: Look,
    *,
    draws: int,
    seed: int,
    on_draw: OnDraw = lambda done, total: None,
) -> InputSheets:
    """Gives the pages of what the model gets of the records picked, a record a row.

    Raises:
        UserError, EnvironmentMissing: as `each_model_input`, and for an image of too many pixels.
    """
    _check_sizes(picked, look.max_pixels)
    pictures: dict[tuple[int, int], Picture] = {}
    counts: list[tuple[int, int]] = []
    refused: list[str] = []

    def take(record: int, draw: int, one: ModelInput | RefusedInput) -> None:
        tile = input_tile(one, look.label_map, draw=draw, with_masks=look.with_masks)
        pictures[record, draw] = _picture_of(tile, look.side)
        if isinstance(one, ModelInput):
            counts.append((one.boxes_in_record, len(one.boxes)))
        else:
            refused.append(f"{one.message}; {one.mend}" if one.mend else one.message)
        on_draw(len(pictures), draws * len(picked))

    each_model_input(
        pipeline, [one.data for one in picked], label_map_path, take, draws=draws, seed=seed
    )
    steps = [
        str(step.WhichOneof("preprocessing_step"))
        for step in pipeline.proto.train_config.data_augmentation_options
    ]
    done = ", then ".join(steps) if steps else "no augmentation"
    loads_masks = look.with_masks and bool(pipeline.proto.train_input_reader.load_instance_masks)

    def sheet(part: Sequence[tuple[int, PickedRecord]]) -> bytes:
        row_by_row = []
        for record, one in part:
            tile = record_tile(
                one, look.label_map, with_masks=loads_masks, max_pixels=look.max_pixels
            )
            row_by_row.append(_picture_of(tile, look.side))
            row_by_row += [pictures[record, draw] for draw in range(draws)]
        return render_sheet(
            f"{split}: as the model gets them, the record on the left",
            done,
            row_by_row,
            columns=1 + draws,
            side=look.side,
            legend=(*_LEGEND, _PADDING),
        )

    pages = _paged(f"model_input_{split}", list(enumerate(picked)), _ROWS)
    drawings = tuple(png(name, partial(sheet, part)) for name, part in pages)
    report = DrawsReport(
        images=len(picked),
        draws=draws,
        objects_in_records=sum(there for there, _ in counts),
        objects_left=sum(left for _, left in counts),
        draws_without_objects=sum(there > 0 and left == 0 for there, left in counts),
        refused=len(refused),
        messages=tuple(dict.fromkeys(refused)),
    )
    return InputSheets(drawings, report)


def png(name: str, draw: Callable[[], bytes]) -> Drawing:
    """Gives the drawing of one file, `name`.png."""
    return Drawing(name, lambda: {f"{name}.png": draw()})


def _picture_of(tile: Tile, side: int) -> Picture:
    """Gives the tile drawn, or one that says why it cannot be: the others still can."""
    try:
        image = render_tile(tile, side)
    except Exception as error:
        why = f"cannot be drawn: {type(error).__name__}: {error}"
        image = render_tile(Tile(None, message=shortened_name(why, _MOST_LETTERS)), side)
    return Picture(image, tile.title, tile.warning or tile.note, bool(tile.warning))


def _paged(stem: str, items: Sequence[_T], size: int) -> Iterator[tuple[str, Sequence[_T]]]:
    pages = [items[start : start + size] for start in range(0, len(items), size)]
    for number, part in enumerate(pages, start=1):
        yield (stem if len(pages) == 1 else f"{stem}_{number}"), part
