"""From what a user names to the data that are evaluated on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.datasets.label_map import read_label_map
from odapi_repro.datasets.limits import IMAGE_PIXELS, JSON_BYTES
from odapi_repro.datasets.records import resolve_patterns
from odapi_repro.datasets.source import resolve_eval_source
from odapi_repro.errors import UserError
from odapi_repro.evaluation.eval_data import EvalData, data_of_json, data_of_records
from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.binding import PLACEHOLDER


@dataclass(frozen=True)
class DataChoice:
    """What the flags say; none of the first three stands for the config's own records.

    Attributes:
        data: `embedded` or a folder of records.
        eval_records: globs, comma-separated, with `label_map`.
        ground_truth: COCO instances file.
        label_map: of `eval_records` or of a folder.
        images: folder of the images of `ground_truth`.
        sample_1_of_n: every n-th image; None for the config's own.
        max_bytes: how many a gzipped ground truth may unpack to.
        max_pixels: how many an image or a mask may have.
    """

    data: str = ""
    eval_records: str = ""
    ground_truth: str = ""
    label_map: str = ""
    images: str = ""
    sample_1_of_n: int | None = None
    max_bytes: int = JSON_BYTES
    max_pixels: int = IMAGE_PIXELS

    def check(self, *, needs_images: bool) -> None:
        """Refuses flags that contradict each other, before anything is read.

        Raises:
            UserError: they do.
        """
        names = ("data", "eval_records", "ground_truth")
        given = [f"--{name}" for name in names if getattr(self, name)]
        if len(given) > 1:
            raise UserError(
                f"{' and '.join(given)} name {len(given)} data sets",
                expected="one of --data, --eval_records and --ground_truth",
                mend=f"leave {given[-1]} out",
            )
        if self.images and not self.ground_truth:
            raise UserError(
                "--images without --ground_truth",
                expected="the COCO instances file of these images",
                mend="add --ground_truth instances.json",
            )
        if self.ground_truth and needs_images and not self.images:
            raise UserError(
                "--ground_truth without --images, and a checkpoint to run",
                expected="the folder of the images that the ground truth names",
                mend="add --images FOLDER",
            )
        if self.eval_records and not self.label_map:
            raise UserError(
                "--eval_records without --label_map",
                expected="both: records, and the label map they were made with",
                mend="add --label_map FILE",
            )
        if self.label_map and not (self.eval_records or self.data):
            raise UserError(
                "--label_map without --eval_records",
                expected="both: records, and the label map they were made with",
                mend="add --eval_records 'GLOB'",
            )


def choose_data(
    choice: DataChoice, own: Pipeline | None, *, with_masks: bool, where: str
) -> EvalData:
    """Reads the data that were chosen.

    Args:
        choice: checked before.
        own: the config of what is evaluated, whose records are taken where no data are named.
        with_masks: read masks from records (a COCO file has them or not).
        where: what is evaluated, for the messages.

    Raises:
        UserError, DataError: nothing is named and the config names nothing either, or what is
            named does not read.
    """
    one_of = choice.sample_1_of_n
    if choice.ground_truth:
        return data_of_json(
            choice.ground_truth,
            choice.images or None,
            sample_1_of_n=one_of or 1,
            max_bytes=choice.max_bytes,
            max_pixels=choice.max_pixels,
        )
    if choice.data:
        source = resolve_eval_source(choice.data, choice.label_map or None)
        name, patterns, label_map = source.name, source.eval_patterns, source.label_map_path
    elif choice.eval_records:
        patterns = tuple(text.strip() for text in choice.eval_records.split(",") if text.strip())
        name, label_map = _name_of(patterns), Path(choice.label_map)
    else:
        reader = _own_reader(own, where)
        patterns = tuple(reader.tf_record_input_reader.input_path)
        name, label_map = _name_of(patterns), Path(reader.label_map_path)
        one_of = one_of or reader.sample_1_of_n_examples
    return data_of_records(
        name,
        resolve_patterns(patterns),
        read_label_map(label_map),
        with_masks=with_masks,
        sample_1_of_n=one_of or 1,
        max_pixels=choice.max_pixels,
    )


def _own_reader(pipeline: Pipeline | None, where: str) -> Any:
    """The first eval_input_reader, which is the one that the OD API evaluates."""
    for reader in list(pipeline.proto.eval_input_reader[:1]) if pipeline is not None else []:
        paths = [reader.label_map_path, *reader.tf_record_input_reader.input_path]
        if len(paths) > 1 and not any(PLACEHOLDER in path or not path for path in paths):
            return reader
    lack = "no config lies with it" if pipeline is None else "its config names no eval records"
    raise UserError(
        f"no data to evaluate on were named, and {lack}",
        expected="--ground_truth instances.json (with --images for a checkpoint), --eval_records "
        "'GLOB' --label_map FILE, or --data",
        mend="name the data",
        where=where,
    )


def _name_of(patterns: Sequence[str]) -> str:
    """The first file's name without its shard, after its folder's."""
    first = Path(patterns[0]) if patterns else Path("records")
    stem = re.sub(r"(-[\d?*]+-of-[\d?*]+)?(\.tf_?records?|\.records?)?$", "", first.name)
    return f"{first.parent.name}/{stem}" if first.parent.name else stem
