"""Records and label maps that are not where the config says."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.data.record_files import not_records
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of, is_placeholder, unopenable


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
