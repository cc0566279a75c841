"""Rules about the files that the input readers name."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Iterator
from typing import Any, ClassVar

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


class InputPatterns(Rule):
    """Records or a label map are not there, and training or evaluation stops, or reads less.

    Anti-pattern

        input_path: "~/data/train-?????-of-00256.tfrecord"

    The bundled converter writes 100 training shards, and configs/tf2 ask for 256. `~` is not
    expanded, and a blank at the end belongs to the name. Of several patterns only one has to match:
    what the others miss is left out silently.

    Best practice

        input_path: "/home/me/data/coco_train.record-?????-of-00100"

    Source

    builders/dataset_builder._read_dataset_internal (RuntimeError only where all patterns together
    match nothing) and build (ValueError without an input_path); builders/decoder_builder.build
    (ValueError without a tf_record_input_reader). tf.io.gfile.glob tried with TensorFlow 2.20: no
    `~`, no braces, `**` is `*`.
    A folder that is not on this machine says nothing, and neither does a bare file name.
    """

    code = "DAT001"
    name = "data.input_pattern"
    causes = ("input_pattern_matches_nothing", "train_input_not_configured")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields findings for the records of both readers, then for each label map."""
        proto = subject.pipeline.proto
        yield from self._unset(subject)
        readers = [("train_input_reader", proto.train_input_reader)]
        readers += [("eval_input_reader[0]", reader) for reader in proto.eval_input_reader[:1]]
        label_maps: dict[str, list[str]] = {}
        for name, reader in readers:
            yield from self._records(subject, name, reader)
            label_maps.setdefault(str(reader.label_map_path), []).append(f"{name}.label_map_path")
        if subject.pipeline.keypoint_tasks:
            path = str(proto.model.center_net.keypoint_label_map_path)
            label_maps.setdefault(path, []).append("model.center_net.keypoint_label_map_path")
        for path, fields in label_maps.items():
            yield from self._label_map(subject, fields, path)

    def _unset(self, subject: Subject) -> Iterator[Finding]:
        reader = subject.pipeline.proto.train_input_reader
        if subject.text.problems and not reader.ListFields():
            return  # it may stand where the text could not be parsed
        paths = [path for path in reader.tf_record_input_reader.input_path if path]
        field = "train_input_reader.tf_record_input_reader.input_path"
        if reader.WhichOneof("input_reader") != "tf_record_input_reader":
            found = "train_input_reader has no tf_record_input_reader"
            expected = "records as tf_record_input_reader { input_path: ... }"
        elif not paths:
            found, expected = "train_input_reader names no records", "at least one input_path"
        else:
            return
        yield self.finding(
            "train_input_not_configured",
            Severity.FATAL,
            fields=(field,),
            found=found,
            expected=expected,
            why="Training stops with a ValueError when it builds its input.",
            loss_ap=100.0,
        )

    def _records(self, subject: Subject, name: str, reader: Any) -> Iterator[Finding]:
        field = f"{name}.tf_record_input_reader.input_path"
        patterns = [str(one) for one in reader.tf_record_input_reader.input_path]
        look = subject.circumstances.look_at_disk
        what = "training" if name == "train_input_reader" else "the evaluation"
        other = {one for one in patterns if not_records(one, look=look)}
        mended = {
            index: told
            for index, one in enumerate(patterns)
            if one not in other and not is_placeholder(one) and (told := unopenable(one))
        }
        if mended:
            found, expected, _ = next(iter(mended.values()))
            yield self._finding(
                (field,),
                found,
                expected,
                f"Nothing matches, and {what} stops with a RuntimeError or reads less.",
                tuple(
                    FieldFix(f"{field}[{index}]", whole)
                    for index, (_, _, whole) in mended.items()
                    if whole
                ),
            )
        here = [
            one for one in patterns if one not in other and folder_of(one, look=look) is not None
        ]
        missing = [one for one in here if not glob.glob(one, include_hidden=True)]
        if not missing or mended:
            return
        # read_dataset reads each pattern by itself where they have weights, but for weights of 0.
        weights = dict(zip(patterns, reader.sample_from_datasets_weights, strict=False))
        every = len(missing) == len(patterns) or any(weights.get(one) for one in missing)
        named = missing[0] + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        if every:
            yield self._finding(
                (field,),
                f"nothing matches {named}, and the folder is here",
                _there_is(missing[0]),
                f"{what.capitalize()} stops with a RuntimeError when it builds its input.",
            )
        else:
            yield self.finding(
                "input_pattern_matches_nothing",
                Severity.WARNING,
                fields=(field,),
                found=f"{len(missing)} of {len(patterns)} patterns match nothing: {named}",
                expected=_there_is(missing[0]),
                why="The others match, so nothing stops, and these records are left out silently.",
                loss_ap=5.0,
                count=len(missing),
            )

    def _label_map(self, subject: Subject, fields: list[str], path: str) -> Iterator[Finding]:
        look = subject.circumstances.look_at_disk
        missing = folder_of(path, look=look) is not None and not os.path.isfile(path)
        told = unopenable(path)
        if path.endswith("/") or (missing and os.path.isdir(path)):
            told = (f"{path} is a folder", "the file of the label map", "")
        if is_placeholder(path) or not (told or missing):
            return
        none = f"there is no {path}, and the folder is here"
        found, expected, whole = told or (none, _there_is(path), "")
        yield self._finding(
            tuple(fields),
            found,
            expected,
            "The OD API stops when it opens the label map.",
            tuple(FieldFix(field, whole) for field in fields) if whole else (),
        )

    def _finding(
        self,
        fields: tuple[str, ...],
        found: str,
        expected: str,
        why: str,
        fix: tuple[FieldFix, ...] = (),
    ) -> Finding:
        return self.finding(
            "input_pattern_matches_nothing",
            Severity.FATAL,
            fields=fields,
            found=found,
            expected=expected,
            why=why,
            loss_ap=100.0,
            fix=fix,
        )


def _there_is(path: str) -> str:
    """Names files of the folder that begin like the one that is missing, or any."""
    try:
        names = sorted(entry.name for entry in os.scandir(os.path.dirname(path)) if entry.is_file())
    except OSError:
        return "files that are there"
    start = os.path.basename(path)[:3]
    alike = [name for name in names if start and name.startswith(start)] or names
    if not alike:
        return "files; the folder holds none"
    more = f" and {len(alike) - 2} more" if len(alike) > 2 else ""
    return f"files that are there: {', '.join(alike[:2])}{more}"


# field: (what tf.data makes of 0, whether only with shuffle). Each was run on TF 2.15 and 2.20.
_REFUSES_0 = {
    "num_readers": ("`cycle_length` must be > 0", False),
    "read_block_length": ("`block_length` must be > 0", False),
    "num_parallel_batches": ("num_parallel_calls must be greater than zero", False),
    "shuffle_buffer_size": ("buffer_size must be greater than zero", True),
    "filenames_shuffle_buffer_size": ("buffer_size must be greater than zero", True),
}


class InputReaderRefused(Rule):
    """The input pipeline cannot be built from the numbers of its reader.

    0 reads like "off" or "as you like" and is neither: tf.data stops. To read without shuffling
    there is `shuffle: false`; to read with one file at a time, 1.

    Anti-pattern

        train_input_reader { num_readers: 0 }
        train_input_reader { shuffle_buffer_size: 0 }

    Best practice

    Leave these fields out: 64 readers (never more than files), blocks of 32, 8 parallel batches and
    a buffer of 2048 are the defaults. `num_prefetch_batches: -1` lets tf.data choose.

    Source

    builders/dataset_builder._read_dataset_internal (parallel_interleave, shuffle), read_dataset
    (weights: their number is compared with that of the paths, their sum divided by) and build
    (map, prefetch). Not refused: 0 in sample_1_of_n_examples (all are read), num_prefetch_batches
    and num_parallel_map_calls.
    """

    code: ClassVar[str] = "DAT013"
    name: ClassVar[str] = "data.input_reader_refused"
    causes: ClassVar[tuple[str, ...]] = ("input_reader_refused",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the training reader and at the one that is evaluated."""
        proto = subject.pipeline.proto
        yield from self._reader(proto.train_input_reader, "train_input_reader", "Training")
        if proto.eval_input_reader:
            reader = proto.eval_input_reader[0]
            yield from self._reader(reader, "eval_input_reader[0]", "The evaluation")

    def _reader(self, reader: Any, path: str, who: str) -> Iterator[Finding]:
        for field, refusal, expected, fix in _refusals(reader):
            yield self.finding(
                "input_reader_refused",
                Severity.FATAL,
                fields=[f"{path}.{field}"],
                found=f"{field} is {_shown(getattr(reader, field))}",
                expected=expected,
                why=f"{who} stops before its first batch: {refusal}.",
                loss_ap=90.0,
                fix=[FieldFix(f"{path}.{field}", fix)],
            )


def _refusals(reader: Any) -> Iterator[tuple[str, str, str, object]]:
    """Yields field, tf.data's words, what is expected, and the value that mends it."""
    for field, (refusal, only_shuffled) in _REFUSES_0.items():
        if getattr(reader, field) == 0 and (reader.shuffle or not only_shuffled):
            default = int(reader.DESCRIPTOR.fields_by_name[field].default_value)
            yield field, f"'{refusal}'", f"1 or more; {default} if left out", default
    if reader.num_prefetch_batches < -1:
        refusal = "'buffer_size must be >= 0 or set buffer_size to be -1 for auto-tuning'"
        yield "num_prefetch_batches", refusal, "0 or more, or -1", 2
    weights = list(reader.sample_from_datasets_weights)
    paths = len(reader.tf_record_input_reader.input_path)
    if not weights:
        return
    field = "sample_from_datasets_weights"
    if len(weights) != paths:
        refusal = f"TypeError, as there are {len(weights)} weights for {paths} input paths"
        yield field, refusal, "one weight for each input_path", None
    elif not all(map(math.isfinite, weights)):
        yield field, "ValueError, as a weight is no number", "numbers above 0", None
    elif not sum(weights):
        yield field, "ZeroDivisionError, as the weights add up to 0", "a sum above 0", None
    elif max(weights) < 0:
        yield field, "no record is drawn from any path", "numbers above 0", None
    elif min(math.ceil(reader.num_readers * one / sum(weights)) for one in weights) < 0:
        yield field, "'`cycle_length` must be > 0', of the readers' share", "numbers above 0", None


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"[{', '.join(f'{one:g}' for one in value)}]"
