"""What `data show` is to look at: the records of each split, and which of their images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from odapi_repro.command import nearest
from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.datasets.source import EMBEDDED, resolve_splits
from odapi_repro.errors import DataError, UserError
from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.binding import PLACEHOLDER

_SMALL_AREA = 32.0**2
_ROUNDING = 1e-3
_FLAGS = {"train": "--train_records", "val": "--eval_records"}

Filter = Callable[[AnnotatedImage], bool]


@dataclass(frozen=True)
class Shown:
    """The records to show.

    Attributes:
        name: what they are called.
        label_map_path: not yet read.
        patterns: globs by split, in the order train, val.
    """

    name: str
    label_map_path: Path
    patterns: dict[str, tuple[str, ...]]


def shown_records(
    pipeline: Pipeline | None,
    *,
    data: str,
    train_records: str,
    eval_records: str,
    label_map: str,
    split: str,
) -> Shown:
    """Gives the records that the flags name, or else those of the pipeline's own readers.

    `split` is `train`, `val`, `both` or empty: the split of the globs that are given, or train.

    Raises:
        UserError: nothing is named, or the split that is asked for is not.
        DataError: anything missing or ambiguous.
    """
    named = {"train": _globs(train_records), "val": _globs(eval_records)}
    named = {one: globs for one, globs in named.items() if globs}
    wanted = _wanted(split, named)
    if named:
        _check_named(wanted, named)
        path = _label_map(label_map, data, pipeline)
        return Shown(Path(named[wanted[0]][0]).parent.name or "records", path, _only(wanted, named))
    if data:
        found = resolve_splits(data, wanted, label_map or None)
        return Shown(found.name, found.label_map_path, dict(found.patterns))
    if pipeline is not None:
        return _of_pipeline(pipeline, wanted, label_map)
    raise UserError(
        "no records are named",
        expected="--data embedded, --data FOLDER, --train_records 'GLOB' --label_map FILE, or a "
        "--pipeline whose readers name them",
        mend="python -m odapi_repro.data show --data embedded",
    )


def _globs(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _wanted(split: str, named: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    if split == "both":
        return ("train", "val")
    return (split,) if split else tuple(named) or ("train",)


def _only(
    wanted: Sequence[str], patterns: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    return {one: patterns[one] for one in wanted}


def _check_named(wanted: Sequence[str], named: dict[str, tuple[str, ...]]) -> None:
    missing = [one for one in wanted if one not in named]
    if missing:
        given = " and ".join(_FLAGS[one] for one in named)
        raise UserError(
            f"{given} alone is given, and the {missing[0]} split is to be shown",
            expected=f"{_FLAGS[missing[0]]} for it",
            mend=f"add {_FLAGS[missing[0]]}, or --split {next(iter(named))}",
        )


def _label_map(label_map: str, data: str, pipeline: Pipeline | None) -> Path:
    if label_map:
        return Path(label_map).expanduser()
    if data and data != EMBEDDED:
        folder = Path(data).expanduser()
        found = sorted(folder.glob("*label_map*.pbtxt"))
        if len(found) == 1:
            return found[0]
    named = pipeline.proto.train_input_reader.label_map_path if pipeline is not None else ""
    if named and PLACEHOLDER not in named:
        return Path(named)
    raise DataError(
        "no label map is named",
        expected="the label map of the records",
        mend="--label_map FILE",
    )


def _of_pipeline(pipeline: Pipeline, wanted: Sequence[str], label_map: str) -> Shown:
    readers = {"train": [pipeline.proto.train_input_reader]}
    readers["val"] = list(pipeline.proto.eval_input_reader[:1])
    patterns = {}
    path = label_map
    for split in wanted:
        paths: list[str] = []
        for reader in readers[split]:
            paths += list(reader.tf_record_input_reader.input_path)
            path = path or reader.label_map_path
        if not paths or any(PLACEHOLDER in one for one in paths):
            found = f"its {split} reader names {paths[0]}" if paths else f"no {split} records"
            raise UserError(
                f"the config names no data: {found}",
                expected="record files",
                mend=f"name them: --data FOLDER, or {_FLAGS[split]} 'GLOB' --label_map FILE",
                where=pipeline.path,
            )
        patterns[split] = tuple(paths)
    return Shown(Path(pipeline.path).name, _label_map(path, "", pipeline), patterns)


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
