"""`data show`: from the flags to the pages and pictures of records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from odapi_repro.command import nearest
from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import ConfigError, UserError

if TYPE_CHECKING:
    from odapi_repro.datasets.source import DataSource
    from odapi_repro.pipeline import Pipeline


# --- Which images `data show` is to look at ---


_SMALL_AREA = 32.0**2
_ROUNDING = 1e-3

Filter = Callable[[AnnotatedImage], bool]


def image_filter(only: Sequence[str], source_ids: Sequence[str], label_map: LabelMap) -> Filter:
    """Gives what decides whether an image is one of those to be shown.

    Args:
        only: kinds (`KINDS`) and names of classes; an image of any of them is one. Empty: any.
        source_ids: images by source id; empty: any.
        label_map: knows the classes.

    Raises:
        UserError: no such kind or class.
    """
    tests = [_test(name, label_map) for name in only]
    ids = frozenset(source_ids)

    def is_wanted(image: AnnotatedImage) -> bool:
        if ids and image.source_id not in ids:
            return False
        return not tests or any(test(image) for test in tests)

    return is_wanted


def _test(name: str, label_map: LabelMap) -> Filter:
    if name in KINDS:
        kind = KINDS[name]
        return lambda image: kind(image, label_map)
    class_id = label_map.id_of(name)
    if class_id is None:
        known = [*KINDS, *label_map.items.values()]
        raise UserError(
            f"--only {name}: no class of the label map is called that",
            expected=f"{', '.join(KINDS)}, or a class",
            mend=nearest(name, known) + f"the label map holds {len(label_map.items)} classes",
        )
    return lambda image: bool((image.class_ids == class_id).any())


def _has_small(image: AnnotatedImage, label_map: LabelMap) -> bool:
    lengths = (image.boxes[:, 2:] - image.boxes[:, :2]) * (image.height, image.width)
    return bool((lengths.prod(axis=1) < _SMALL_AREA).any())


def _has_wrong(image: AnnotatedImage, label_map: LabelMap) -> bool:
    boxes = image.boxes
    inside = ((boxes >= -_ROUNDING) & (boxes <= 1 + _ROUNDING)).all(axis=1)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    known = np.isin(image.class_ids, list(label_map.items))
    return not bool((inside & has_area & known).all())


KINDS: dict[str, Callable[[AnnotatedImage, LabelMap], bool]] = {
    "crowd": lambda image, label_map: bool(image.is_crowd.any()),
    "empty": lambda image, label_map: not len(image.boxes),
    "small": _has_small,
    "wrong": _has_wrong,
}
"""Kinds of images that `--only` knows beside the classes."""


# --- `data show`: from the flags to the pages and pictures of records ---


_SHOWN_AS = {"train": "train", "eval": "val"}


def run_show(flags: Any, positional: list[str], command: str) -> int:
    """Does what the flags ask for, and gives the exit code."""
    from odapi_repro.datasets.label_map import read_label_map
    from odapi_repro.features.show.show_page import check_output, show_results
    from odapi_repro.features.show.show_pictures import Look
    from odapi_repro.features.show.show_report import ShowReport
    from odapi_repro.features.show.show_split import Showing, show_split
    from odapi_repro.page.live_line import LiveLine
    from odapi_repro.page.terminal_page import Terminal, print_page

    pipeline = _pipeline(flags, positional)
    folder = Path(flags.output_dir).expanduser()
    check_output(folder)
    shown = _source(flags, pipeline)
    label_map = read_label_map(shown.label_map_path)
    progress = LiveLine()
    progress.count_from_now()
    showing = Showing(
        pipeline=pipeline,
        label_map_path=shown.label_map_path,
        look=Look(label_map, flags.tile, flags.masks, flags.max_image_pixels),
        is_wanted=image_filter(flags.only, flags.source_ids, label_map),
        asked=_asked(flags),
        none_is_good=flags.only == ["wrong"] and not flags.source_ids,
        source_ids=tuple(flags.source_ids),
        images=max(flags.images, len(flags.source_ids)),
        draws=flags.draws,
        seed=flags.seed,
        boxes_limit=flags.boxes_limit,
        progress=progress,
    )
    try:
        splits = [
            show_split(_SHOWN_AS[split], inventory.files, showing)
            for split, inventory in shown.inventories.items()
        ]
    finally:
        progress.end()
    report = ShowReport(
        command=command,
        data=shown.name,
        label_map=shown.label_map_path.name,
        pipeline=pipeline.path if pipeline else "",
        model=_model(pipeline),
        resized=_resized(pipeline),
        only=_asked(flags),
        seed=flags.seed,
        splits=tuple(split.report for split in splits),
    )
    results = show_results(report, {one.report.split: one.drawings for one in splits}, folder)
    names = ", ".join(path.name for path in results.write(folder))
    print_page(results.page)
    print("\n".join(["", *Terminal.of(sys.stdout).wrapped(f"{folder}/: {names}")]))
    for split in splits:
        if split.failure is not None:
            raise split.failure
    return EXIT_DONE


def _source(flags: Any, pipeline: Pipeline | None) -> DataSource:
    """The records of the splits that --split or the globs name, or of training."""
    from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP
    from odapi_repro.datasets.source import MADE_ONCE, DataFlags, resolve_data
    from odapi_repro.ending import say

    data = DataFlags.of(flags)
    asked = [split for split, name in _SHOWN_AS.items() if flags.split in (name, "both")]
    named = "both" if len(data.splits) > 1 else "".join(_SHOWN_AS[one] for one in data.splits)

    def before_embedded(reason: str) -> None:
        image_filter(flags.only, flags.source_ids, SHAPES_LABEL_MAP)
        say(f"data: {MADE_ONCE}", file=sys.stderr)

    return resolve_data(
        data,
        pipeline,
        splits=asked or data.splits or ("train",),
        before_embedded=before_embedded,
        otherwise=f"--split {named}" if named else "",
        command="python -m odapi_repro.data show ",
    )


def _pipeline(flags: Any, positional: Sequence[str]) -> Pipeline | None:
    named = [*positional, *([flags.pipeline] if flags.pipeline else [])]
    if len(named) > 1:
        raise UserError(
            f"{len(named)} configs were named: {', '.join(named)}",
            expected="one pipeline.config, or none",
            mend="call the command once for each, with another --output_dir",
        )
    if not named:
        return None
    from odapi_repro.pipeline import load_pipeline

    return load_pipeline(named[0])


def _asked(flags: Any) -> str:
    """What the images have to be, in words; empty for any."""
    parts = [" or ".join(flags.only)] if flags.only else []
    if flags.source_ids:
        parts.append(f"source ids {', '.join(flags.source_ids)}")
    return ", ".join(parts)


def _model(pipeline: Pipeline | None) -> str:
    if pipeline is None:
        return ""
    extractor = getattr(pipeline.model, "feature_extractor", None)
    return f"{pipeline.meta_architecture} {getattr(extractor, 'type', '')}".strip()


def _resized(pipeline: Pipeline | None) -> str:
    if pipeline is None:
        return ""
    from odapi_repro.pipeline.anchors import read_resizer

    try:
        return read_resizer(pipeline).described
    except ConfigError as error:
        return f"not resized: {error.in_a_line}"
