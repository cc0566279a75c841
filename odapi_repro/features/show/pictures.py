"""The contact sheets of a split: records as they are, and as the model gets them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.limits import IMAGE_PIXELS, TooLarge
from odapi_repro.datasets.model_input import ModelInput, RefusedInput
from odapi_repro.datasets.object_table import PickedRecord, Survey
from odapi_repro.errors import DataError
from odapi_repro.features.show.picked_tiles import input_tile, name_of, record_tile
from odapi_repro.features.show.show_report import DrawsReport
from odapi_repro.features.show.tiles import CROWD_MARK, WARNING_MARK, Tile, render_tile
from odapi_repro.foreign_text import shortened_name
from odapi_repro.page.canvas import MUTED, Mark
from odapi_repro.page.contact_sheet import LegendEntry, Picture, render_sheet
from odapi_repro.page.results_folder import Drawing
from odapi_repro.pipeline import Pipeline
from odapi_repro.trials.model_inputs import each_model_input

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
