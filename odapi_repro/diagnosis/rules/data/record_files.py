"""Paths of records that name another kind of thing."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from typing import Any

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of, is_placeholder, unopenable

_OTHER = re.compile(
    r"\.(?:csv|tsv|jsonl?|xml|ya?ml|txt|pbtxt|config|names|jpe?g|png|bmp|gif|tiff?|parquet|xlsx?"
    r"|npz|npy|pkl|h5|hdf5|mp4|avi|mov|mkv|webp|pb|l?mdb|db|sqlite3?|feather|arrow|lst|html?"
    r"|gz|tgz|tar|zip|7z|rar|bz2)$"
)
_RECORD = re.compile(r"(?:\.(?:tf)?records?|-of-\d+)[^/\\]*$")
_BETWEEN = re.compile(r"\s*[,;|\n]\s*|\s+")


class RecordFiles(Rule):
    """An input_path names something that is no TFRecord file.

    Anti-pattern

        tf_record_input_reader { input_path: "annotations/train_labels.csv" }
        tf_record_input_reader { input_path: "a.record, b.record" }

    The annotations that records are made from, a folder, an archive or an address of the web. Two
    paths in one string are one name, which no file has.

    Best practice

        tf_record_input_reader {
          input_path: "annotations/train-?????-of-00010"
          input_path: "more/train.record"
        }

    `odapi_repro.data convert` makes records of COCO's json.

    Source

    builders/dataset_builder.py: tf.gfile.Glob, which splits nothing, and tf.data.TFRecordDataset
    without a compression. Tried with TensorFlow 2.20: a csv and a gz are DataLossError, a folder is
    FailedPreconditionError, http:// UnimplementedError. model_lib_v2.eager_eval_loop.
    """

    code = "DAT016"
    name = "data.record_files"
    causes = ("input_not_a_record",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for the training reader, and one for the first eval reader."""
        proto = subject.pipeline.proto
        look = subject.circumstances.look_at_disk
        readers: list[tuple[str, Any]] = [("train_input_reader", proto.train_input_reader)]
        readers += [("eval_input_reader[0]", reader) for reader in proto.eval_input_reader[:1]]
        for name, reader in readers:
            patterns = [str(one) for one in reader.tf_record_input_reader.input_path]
            told = [not_records(one, look=look) for one in patterns]
            wrong = [index for index, found in enumerate(told) if found]
            if not wrong:
                continue
            found, expected = told[wrong[0]] or ("", "")
            field = f"{name}.tf_record_input_reader.input_path"
            yield self.finding(
                "input_not_a_record",
                Severity.FATAL,
                fields=(f"{field}[{wrong[0]}]",),
                found=found,
                expected=expected,
                why=(
                    "Training stops when it looks for records or reads the first."
                    if name == "train_input_reader"
                    else "The evaluation finds no records there, or reads no image of them."
                ),
                loss_ap=100.0,
                count=len(wrong),
                fix=() if reader.sample_from_datasets_weights else _apart(field, patterns),
            )


def not_records(pattern: str, *, look: bool) -> tuple[str, str] | None:
    """Gives what a pattern names instead of records, and what is expected; None where it may not.

    Blanks and quotes around a path and `~` are DAT001's: what they name may be records.
    """
    if is_placeholder(pattern):
        return None
    if "://" in pattern and (told := unopenable(pattern)):
        return told[:2]
    here = folder_of(pattern, look=look) is not None
    matches = glob.glob(pattern, include_hidden=True) if here else []
    folders = [one for one in matches if os.path.isdir(one)]
    files = "a pattern that matches record files"
    if pattern.endswith(("/", "\\")) or pattern in (".", "..") or folders:
        said = "matches folders" if folders and folders[0] != pattern else "is a folder"
        return f"{pattern} {said}", files
    if len(paths := _paths_in(pattern)) > 1 and not matches:
        return f"{pattern!r} is {len(paths)} paths in one string", "an input_path for each"
    if other := _OTHER.search(pattern.strip(" ,;'\"").lower()):
        return f"{pattern} ends in {other.group()}, which is no TFRecord file", "records (TFRecord)"
    return None


def _paths_in(pattern: str) -> list[str]:
    """The paths that one string holds, where at least two look like records'."""
    parts = [part.strip("'\"[]() ") for part in _BETWEEN.split(pattern)]
    parts = [part for part in parts if part]
    if len({part.startswith("/") for part in parts}) > 1:
        return []  # more likely blanks in a folder's name
    return parts if sum(bool(_RECORD.search(part)) for part in parts) > 1 else []


def _apart(field: str, patterns: list[str]) -> tuple[FieldFix, ...]:
    apart: list[str] = []
    for pattern in patterns:
        paths = _paths_in(pattern)
        sound = all(_RECORD.search(path) for path in paths)
        apart += paths if paths and sound else [pattern]
    return (FieldFix(field, apart),) if apart != patterns else ()
