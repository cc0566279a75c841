"""What the folder of `data show` holds: README.md and show.json, then the pictures."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.features.show.show_page import show_page
from odapi_repro.features.show.show_report import AnchorReport, Reached, ShowReport, SplitReport
from odapi_repro.files import read_json
from odapi_repro.page.results_folder import Drawing, Results

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
