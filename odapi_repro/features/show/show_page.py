"""What `data show` found as a page, and the folder that holds it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.features.show.show_report import (
    AnchorReport,
    Reached,
    ShowReport,
    SplitReport,
    listed,
    size_name,
)
from odapi_repro.files import read_json
from odapi_repro.page.blocks import Bullets, Code, Facts, Figure, Note, Page, Section, Table
from odapi_repro.page.numbers import count_of, percent
from odapi_repro.page.results_folder import Drawing, Results
from odapi_repro.pipeline.anchors import Border

# --- What `data show` found as a page: the numbers of each split, its anchors, its pictures ---


_MOST_CLASSES: Final = 10
"""On a terminal; a file has them all."""
_WIDEST: Final = 60


_BORDERS = {
    Border.KEPT: "anchors that leave the input are kept",
    Border.DROPPED: "anchors that leave the input are not trained with",
    Border.CLIPPED: "anchors that leave the input are clipped to it",
}


def count_sentences(report: SplitReport) -> Iterator[str]:
    """Gives what is there, and what is odd about it."""
    table = report.table
    per_image = table.objects_per_image
    empty = int((per_image == 0).sum())
    yield (
        f"{count_of(table.num_images, 'image')} in {count_of(report.files, 'file')}, "
        f"{count_of(table.num_objects, 'object')} "
        f"({count_of(int(table.is_crowd.sum()), 'crowd region')}), "
        f"{count_of(empty, 'image')} without any"
    )
    if len(per_image):
        yield (
            f"{np.median(per_image):g} objects in the median image, {int(per_image.max()):,} at "
            "most"
            + (
                f"; max_number_of_boxes {report.max_number_of_boxes} cuts off "
                f"{report.num_beyond_limit:,}"
                if report.max_number_of_boxes is not None
                else ""
            )
        )
    sides = report.objects.sides
    if len(sides):
        low, middle, high = np.percentile(sides, [5, 50, 95])
        of = "the network's input" if report.max_number_of_boxes is not None else "the image"
        yield (
            f"side (root of the area) in pixels of {of}: median {middle:.0f}, nine of ten "
            f"between {low:.0f} and {high:.0f}"
        )
    odd = {
        "records that could not be read": report.num_broken,
        "boxes that leave the image": report.num_outside,
        "boxes without area": report.objects.num_without_area,
        "objects of a class that the label map lacks": report.num_unknown_class,
    }
    for words, count in odd.items():
        if count:
            yield f"{words}: {count:,}"


def anchor_sentences(report: AnchorReport) -> Iterator[str]:
    """Gives how the anchors are made and what they reach."""
    fit = report.fit
    ratios = sorted({ratio for level in report.levels for ratio in level.ratios})
    yield (
        f"{len(fit.anchors.corners()):,} anchors for an input of "
        f"{fit.anchors.width} x {fit.anchors.height} ({report.design.kind}), aspect ratios "
        f"{listed(tuple(ratios))}; {_BORDERS[fit.anchors.border]}"
    )
    matcher, reached = fit.matcher, report.reached
    compared = f"{reached.compared:,} objects"
    if report.is_sample:
        compared += f" (a sample of {len(report.objects.boxes):,})"
    if matcher.matched is None:
        yield f"{compared}: the matcher ignores thresholds, so that every anchor is matched"
        return
    if not reached.below_matched:
        yield f"{compared}: each has an anchor at the matched threshold {matcher.matched:g}"
    else:
        yield from _unreached(report, compared)
    low, middle, high = np.percentile(fit.iou, [5, 50, 95])
    yield f"IoU with the best anchor: median {middle:.2f}, nine of ten {low:.2f} to {high:.2f}"


def _unreached(report: AnchorReport, compared: str) -> Iterator[str]:
    matcher, reached = report.fit.matcher, report.reached
    assert matcher.matched is not None
    forced = (
        "each of them is learned from its forced match alone"
        if matcher.forced
        else "nothing is learned from them"
    )
    yield (
        f"{compared}: no anchor reaches {reached.below_matched:,} "
        f"({percent(reached.share_below_matched)}) at the matched threshold "
        f"{matcher.matched:g}; {forced}"
    )
    if matcher.unmatched < matcher.matched:
        yield (
            f"{reached.below_unmatched:,} ({percent(reached.share_below_unmatched)}) are below the "
            f"unmatched threshold {matcher.unmatched:g}, too"
        )


def draw_sentences(report: SplitReport) -> Iterator[str]:
    """Gives what augmentation left of the objects."""
    draws = report.draws
    if draws is None:
        return
    lost = count_of(draws.draws_without_objects, "draw")
    share = draws.objects_left / draws.objects_in_records if draws.objects_in_records else 1.0
    yield (
        f"as the model gets {draws.images} of the images, {count_of(draws.draws, 'draw')} of each: "
        f"{draws.objects_left:,} of {draws.objects_in_records:,} objects are left "
        f"({percent(share)}); {lost} lost all of theirs"
    )


def show_page(report: ShowReport, pictures: Mapping[str, Sequence[str]]) -> Page:
    """Gives the page; `pictures` are the names of the PNGs that are to be drawn, by split."""
    return Page(
        report.data,
        (
            Section("", [Code(report.command)], "file"),
            Facts(tuple(_facts(report))),
            *(Note("note", note) for note in report.notes),
            *(_of_split(split, pictures.get(split.split, ())) for split in report.splits),
        ),
    )


def _facts(report: ShowReport) -> Iterator[tuple[str, str]]:
    yield "data", report.data
    yield "label map", report.label_map
    if report.pipeline:
        yield "pipeline", f"{report.pipeline}: {report.model}, images {report.resized}"
    if report.only:
        yield "images shown", f"only {report.only}"
    yield "seed", str(report.seed)


def _of_split(split: SplitReport, pictures: Sequence[str]) -> Section:
    stops = anchors = None
    if split.draws is not None:
        title = f"Training would stop at {split.draws.refused} of these draws"
        stops = Section(title, [Bullets(split.draws.messages)])
    if split.anchors is not None:
        said = Bullets(tuple(anchor_sentences(split.anchors)))
        anchors = Section("Anchors", [said, *_anchor_tables(split.anchors, split)])
    return Section(
        split.split,
        [
            Bullets((*count_sentences(split), *draw_sentences(split))),
            stops,
            *(Note("note", note) for note in split.notes),
            anchors,
            *_classes(split),
            *(Figure(name, name.removesuffix(".png").replace("_", " ")) for name in pictures),
        ],
    )


def _anchor_tables(anchors: AnchorReport, split: SplitReport) -> Iterator[Table]:
    compared = len(anchors.fit.index)
    yield Table(
        ("feature map", "stride", "sides in pixels", "best for"),
        tuple(
            (
                f"{level.grid[1]} x {level.grid[0]}",
                f"{level.stride[0]:.3g}",
                listed(level.sides),
                percent(level.best_for / compared),
            )
            for level in anchors.levels
        ),
    )
    yield _counted(
        "side in pixels",
        [(size_name(row.low, row.high), row.objects, row.reached) for row in split.sizes],
        _thresholds(split),
    )


def _classes(split: SplitReport) -> Iterator[Table | Section]:
    whole = _counted(
        "class",
        [(row.name, row.objects, row.reached) for row in split.classes],
        _thresholds(split),
    )
    rest = len(whole.rows) - _MOST_CLASSES
    if rest <= 0:
        yield whole
        return
    more = (f"... {rest} more", *[""] * (len(whole.header) - 1))
    first = Table(whole.header, (*whole.rows[:_MOST_CLASSES], more), widest=_WIDEST)
    yield Section("", [first], "terminal")
    yield Section("", [whole], "file")


def _counted(
    what: str, rows: Sequence[tuple[str, int, Reached | None]], thresholds: Sequence[float]
) -> Table:
    """Gives objects by `what`, and which share of them is below the matcher's thresholds."""
    return Table(
        (what, "objects", *(f"below {threshold:g}" for threshold in thresholds)),
        tuple(
            (name, f"{objects:,}", *_shares(reached)[: len(thresholds)])
            for name, objects, reached in rows
        ),
        widest=_WIDEST,
    )


def _thresholds(split: SplitReport) -> tuple[float, ...]:
    """Gives the matcher's thresholds that say something; the lower one where it is another."""
    if split.anchors is None or split.anchors.fit.matcher.matched is None:
        return ()
    matched, unmatched = split.anchors.fit.matcher.matched, split.anchors.fit.matcher.unmatched
    return (matched, unmatched) if unmatched < matched else (matched,)


def _shares(reached: Reached | None) -> tuple[str, str]:
    if reached is None or not reached.compared:
        return "", ""
    return percent(reached.share_below_matched), percent(reached.share_below_unmatched)


# --- What the folder of `data show` holds: README.md and show.json, then the pictures ---


_JSON = "show.json"


SCHEMA = 1
_IOU_BINS = 20


def show_json(report: ShowReport, pictures: Mapping[str, Sequence[str]]) -> str:
    """Gives the report as JSON; sizes are pixels, shares are from 0 to 1.

    Args:
        report: what was found.
        pictures: the names of the PNGs that are there, by split.
    """
    fields: dict[str, Any] = {"schema": SCHEMA} | {
        field.name: getattr(report, field.name)
        for field in dataclasses.fields(report)
        if field.name != "splits"
    }
    fields["splits"] = [_split(one, pictures.get(one.split, ())) for one in report.splits]
    return json.dumps(fields, indent=1) + "\n"


def _split(split: SplitReport, pictures: Sequence[str]) -> dict[str, Any]:
    table = split.table
    return {
        "split": split.split,
        "files": split.files,
        "images": table.num_images,
        "objects": table.num_objects,
        "crowd_regions": int(table.is_crowd.sum()),
        "images_without_objects": int((table.objects_per_image == 0).sum()),
        "records_not_read": split.num_broken,
        "boxes_outside": split.num_outside,
        "boxes_without_area": split.objects.num_without_area,
        "objects_of_unknown_class": split.num_unknown_class,
        "max_number_of_boxes": split.max_number_of_boxes,
        "objects_beyond_max_number_of_boxes": split.num_beyond_limit,
        "objects_per_image": _counts(table.objects_per_image.tolist()),
        "side_percentiles": _percentiles(split.objects.sides.tolist()),
        "aspect_ratio_percentiles": _percentiles(split.objects.ratios.tolist()),
        "classes": [
            {"id": row.class_id, "name": row.name, "objects": row.objects, **_reached(row.reached)}
            for row in split.classes
        ],
        "sizes": [
            {
                "low": row.low,
                "high": None if math.isinf(row.high) else row.high,
                "objects": row.objects,
                **_reached(row.reached),
            }
            for row in split.sizes
        ],
        "anchors": None if split.anchors is None else _anchors(split.anchors),
        "draws": None if split.draws is None else dataclasses.asdict(split.draws),
        "images_matching": split.num_matching,
        "images_shown": split.num_shown,
        "pictures": list(pictures),
        "notes": list(split.notes),
    }


def _anchors(report: AnchorReport) -> dict[str, Any]:
    counts, edges = np.histogram(report.fit.iou, np.linspace(0, 1, _IOU_BINS + 1))
    matcher = report.fit.matcher
    return {
        "generator": report.design.kind,
        "input": {"height": report.fit.anchors.height, "width": report.fit.anchors.width},
        "border": report.fit.anchors.border.value,
        "matched_threshold": matcher.matched,
        "unmatched_threshold": matcher.unmatched,
        "force_match_for_each_row": matcher.forced,
        **_reached(report.reached),
        "levels": [dataclasses.asdict(level) for level in report.levels],
        "best_iou": {
            "edges": [round(float(edge), 4) for edge in edges],
            "objects": [int(count) for count in counts],
        },
    }


def _reached(reached: Reached | None) -> dict[str, Any]:
    if reached is None:
        return {}
    return {
        "compared": reached.compared,
        "below_matched": reached.below_matched,
        "below_unmatched": reached.below_unmatched,
    }


def _counts(values: list[int]) -> dict[str, int]:
    found, counts = np.unique(values, return_counts=True)
    return {str(int(value)): int(count) for value, count in zip(found, counts, strict=True)}


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    points = (0, 5, 25, 50, 75, 95, 100)
    return {
        str(point): round(float(value), 3)
        for point, value in zip(points, np.percentile(values, points), strict=True)
    }


def check_output(folder: Path) -> None:
    """Tells whether the folder can be written to or made, before it is made.

    Raises:
        UserError: it cannot.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.exists(one))
    problem = "no permission" if there.is_dir() else f"'{there}' is no folder"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"cannot write here: {problem}",
            expected="a folder that can be written, with space left",
            mend="name another --output_dir",
            where=str(folder),
        )


def show_results(
    report: ShowReport, drawings: Mapping[str, Sequence[Drawing]], folder: Path
) -> Results:
    """Gives what is to be written; pictures of an earlier call that this one lacks go.

    Args:
        report: what was found.
        drawings: of each split, by its name.
        folder: that an earlier call may have written to.
    """
    pictures = {
        split: [f"{drawing.name}.png" for drawing in found] for split, found in drawings.items()
    }
    return Results(
        show_page(report, pictures),
        tables={},
        drawings=lambda: itertools.chain(*drawings.values()),
        earlier=_pictures_of(folder / _JSON),
        listings=lambda files: {
            _JSON: show_json(
                report,
                {
                    split: [one for one in named if one in files]
                    for split, named in pictures.items()
                },
            )
        },
    )


def _pictures_of(path: Path) -> set[str]:
    """The pictures that an earlier show.json lists; nothing of a file that is something else."""
    try:
        held = read_json(path, mend="")
        named = {name for split in held["splits"] for name in split["pictures"]}
    except (FileNotFoundError, DamagedFile, KeyError, TypeError):
        return set()
    return {str(name) for name in named if str(name).endswith(".png") and "/" not in str(name)}
