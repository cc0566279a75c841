"""What stops a conversion: all cases in a file beside the output, the first ones in the message."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.box_units import (
    MOST_COMPARED,
    MOST_OUTLINES,
    BoxSample,
    are_boxes,
    misread_boxes,
    spread,
)
from odapi_repro.datasets.conversion.coco_index import UNKNOWN, CocoIndex
from odapi_repro.datasets.conversion.conversion_request import Bad, SplitRequest
from odapi_repro.datasets.conversion.converted_objects import REASONS, Objects
from odapi_repro.datasets.conversion.png_masks import outline_bounds
from odapi_repro.errors import DataError, shortened
from odapi_repro.files import write_whole
from odapi_repro.foreign_text import command_line

_SHOWN = 10


def missing_images(
    output_dir: Path, split: SplitRequest, names: Sequence[str], of: int
) -> DataError:
    """Gives the error of images that the json names and that are not there; lists all of them."""
    listed = _listed(output_dir, f"missing_images_{split.name}.txt", names)
    return DataError(
        f"{len(names):,} of {of:,} images are missing (all are listed in {listed}):\n"
        + _first(names),
        expected="every image of the json, under its file_name",
        mend=_mend_of_missing(split.image_dir, names, len(names) == of),
        where=str(split.image_dir),
    )


def bad_images(output_dir: Path, split: SplitRequest, bad: Sequence[Bad], policy: str) -> DataError:
    """Gives the error of images that cannot be used as they are; lists all of them.

    `policy` is what --size_mismatch said.
    """
    ordered = sorted(bad, key=lambda one: one.number)
    lines = [f"{one.name} {one.reason}" for one in ordered]
    listed = _listed(output_dir, f"bad_images_{split.name}.txt", lines)
    sizes = sum(one.is_size for one in bad)
    mends = []
    if sizes:
        mends.append(
            "correct the sizes and boxes in the json, or leave these images out with "
            "--size_mismatch drop (turned or cropped, they cannot be rescaled)"
            if policy == "rescale"
            else "--size_mismatch rescale (files that were resized after they were annotated) or "
            "--size_mismatch drop"
        )
    if sizes < len(bad):
        mends.append("fix the files, or leave them out with --bad_images drop")
    what = (
        f"{'have' if len(bad) > 1 else 'has'} another size than the json says: the boxes are in "
        "the json's pixels"
        if sizes == len(bad)
        else "cannot be used"
    )
    return DataError(
        f"{len(bad):,} image{'s' if len(bad) > 1 else ''} {what} (all are listed in {listed}; "
        "shards without them are kept):\n" + _first(lines),
        expected="JPEG, PNG or BMP files of the size that the json gives",
        mend="; ".join(mends),
        where=str(split.image_dir),
    )


def unknown_owners(index: CocoIndex, objects: Objects) -> None:
    """Looks for annotations of images and categories that the json does not hold.

    Raises:
        DataError: there are some.
    """
    for reason, what in (("unknown_image", "images"), ("unknown_category", "categories")):
        rows = np.flatnonzero(objects.fates == REASONS.index(reason))
        if not len(rows):
            continue
        ids = [
            f"none (number {row})" if one == UNKNOWN else str(one)
            for row, one in zip(
                rows[:_SHOWN].tolist(), index.ids[rows[:_SHOWN]].tolist(), strict=True
            )
        ]
        raise DataError(
            f"{len(rows):,} of {len(index.ids):,} annotations are of {what} that the json does not "
            f"hold (annotation ids {', '.join(ids)}{', ...' if len(rows) > _SHOWN else ''})",
            expected=f"annotations of the json's own {what}",
            mend=_mend_of_unknown(index, len(rows) == len(index.ids), what),
            where=str(index.path),
        )


def _mend_of_unknown(index: CocoIndex, are_all: bool, what: str) -> str:
    if not are_all:
        return "correct the json, or leave them out with --bad_annotations drop"
    known = index.image_ids if what == "images" else [str(one.id) for one in index.categories]
    field = "image_id" if what == "images" else "category_id"
    return f"write the ids of the {what} as {field}: they begin with " + shortened(
        ", ".join(known[:3])
    )


def check_boxes(index: CocoIndex) -> None:
    """Looks whether the boxes are x, y, width, height in pixels.

    Raises:
        DataError: they are something else.
    """
    rows = spread(np.arange(len(index.ids)), 4 * MOST_COMPARED)
    rows = spread(
        rows[are_boxes(index.boxes[rows]) & (index.images[rows] != UNKNOWN) & ~index.crowd[rows]]
    )
    images = index.images[rows]
    sample = BoxSample(
        boxes=index.boxes[rows],
        sizes=np.stack([index.widths[images], index.heights[images]], axis=1).astype(np.float64),
        areas=index.areas[rows],
        outlines=_outlines(index, rows),
    )
    if found := misread_boxes(sample):
        raise DataError(
            f"the boxes are not x, y, width, height in pixels: {found}",
            expected="bbox: [x, y, width, height], x and y of the upper left corner, in pixels of "
            "the image",
            mend="write them so; or take them as they are, with --nocheck_boxes",
            where=str(index.path),
        )


def _outlines(index: CocoIndex, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Gives the edges of some outlines, float64 [rows, 4]; NaN where none was looked at."""
    edges = np.full((len(rows), 4), np.nan)
    starts, lengths = index.segmentations.starts[rows], index.segmentations.lengths[rows]
    with open(index.path, "rb", buffering=0) as file:
        for place in spread(np.flatnonzero(starts >= 0), MOST_OUTLINES).tolist():
            text = os.pread(file.fileno(), int(lengths[place]), int(starts[place]))
            image = index.images[rows[place]]
            size = int(index.heights[image]), int(index.widths[image])
            edges[place] = outline_bounds(_parsed(text), *size)
    return edges


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _listed(output_dir: Path, name: str, lines: Sequence[str]) -> Path:
    """Writes a list beside the output folder, and gives where it lies."""
    folder = output_dir if output_dir.name not in ("", "..") else output_dir.resolve()
    path = folder.parent / f"{folder.name}.{name}"
    write_whole(path, "\n".join(lines) + "\n")
    return path


def _first(lines: Sequence[str]) -> str:
    shown = "\n".join(f"    {line}" for line in lines[:_SHOWN])
    return shown + (f"\n    and {len(lines) - _SHOWN:,} more" if len(lines) > _SHOWN else "")


def _mend_of_missing(place: Path, names: Sequence[str], are_all: bool) -> str:
    drop = "" if are_all else ", or leave them out with --bad_images drop"
    twice = [base for base, count in Counter(map(_base, names)).items() if count > 1]
    if place.is_dir():
        for base in twice[:_SHOWN]:
            if (place / base).exists():
                same = [name for name in dict.fromkeys(names) if _base(name) == base]
                return (
                    f"'{base}' lies there, and {len(same)} images of the json end in it "
                    f"('{same[0]}', '{same[-1]}'): give --image_dir the folders that the json has"
                    + drop
                )
        for folder in sorted(path for path in place.iterdir() if path.is_dir())[:50]:
            if (folder / names[0]).exists():
                told = command_line(["--image_dir", str(folder)])
                return f"did you mean {told}?{drop.removeprefix(',')}"
        if alike := _alike(place / names[0]):
            return (
                f"'{alike.relative_to(place)}' lies there, and the json has '{names[0]}': write "
                f"the names as the files have them{drop}"
            )
    return f"name the folder or zip that holds them with --image_dir{drop}"


def _alike(path: Path) -> Path | None:
    """Gives a file of the same name but for case or ending."""
    if not path.parent.is_dir():
        return None
    stem = path.stem.casefold()
    return next((one for one in sorted(path.parent.iterdir()) if one.stem.casefold() == stem), None)


def _base(name: str) -> str:
    return re.split(r"[\\/]", name)[-1]
