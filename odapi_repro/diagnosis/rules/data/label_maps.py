"""Rules about label maps and the number of classes."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format

from odapi_repro.datasets.label_map import LabelMap, read_label_map
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.errors import DataError
from odapi_repro.page.numbers import count_of
from odapi_repro.pipeline.named_paths import folder_of, input_patterns, is_placeholder, unopenable

_TRAIN, _EVAL = "train_input_reader.label_map_path", "eval_input_reader[0].label_map_path"
_KEYPOINTS = "model.center_net.keypoint_label_map_path"
_STOPS = "The OD API stops when it reads the label map."
_MOST_BYTES = 5_000_000
_OTHER = re.compile(r"\.(?:csv|tsv|jsonl?|xml|ya?ml|names|(?:tf)?records?|xlsx?)$")


@dataclass(frozen=True)
class _Fault:
    severity: Severity
    found: str
    why: str


class LabelMaps(Rule):
    """A label map does not say what its author meant, or training and evaluation have two.

    Anti-pattern

        item {
          id: 1
          name: 'car'
          id: 2
          name: 'truck'
        }

    This parses: the OD API merges, and keeps one class, `truck` with id 2. Every `car` becomes
    background. Id 0, an empty file and a broken text stop it.

    Best practice

        item {
          id: 1
          name: 'car'
        }
        item {
          id: 2
          name: 'truck'
        }

    The same file in both readers.

    Source

    utils/label_map_util.load_labelmap (text_format.Merge; a csv or json is a TypeError, tried with
    TensorFlow 2.20) and _validate_label_map;
    data_decoders/tf_example_decoder._ClassTensorHandler, which looks class texts up in the map of
    its own reader; model_lib_v2.eager_eval_loop, which names classes by the evaluation's.
    """

    code = "DAT004"
    name = "data.label_map"
    causes = ("label_map_malformed", "label_maps_differ")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields findings for the label maps that are on this disk."""
        proto = subject.pipeline.proto
        paths = {_TRAIN: str(proto.train_input_reader.label_map_path)}
        for reader in proto.eval_input_reader[:1]:
            paths[_EVAL] = str(reader.label_map_path)
        if subject.pipeline.keypoint_tasks:
            paths[_KEYPOINTS] = str(proto.model.center_net.keypoint_label_map_path)
        maps: dict[str, LabelMap] = {}
        seen: set[str] = set()
        for field, path in paths.items():
            if path in seen:
                continue
            seen.add(path)
            if folder_of(path, look=subject.circumstances.look_at_disk) is None:
                if (other := _OTHER.search(path.lower())) and not (
                    is_placeholder(path) or unopenable(path)
                ):
                    yield self._of_another_kind(field, path, other.group())
                continue
            if not os.path.isfile(path) or os.path.getsize(path) > _MOST_BYTES:
                continue
            try:
                maps[field] = read_label_map(path)
            except DataError:
                yield from self._malformed(field, path)
        if _TRAIN in maps and _EVAL in maps:
            yield from self._differ(maps[_TRAIN], maps[_EVAL])

    def _of_another_kind(self, field: str, path: str, suffix: str) -> Finding:
        return self.finding(
            "label_map_malformed",
            Severity.FATAL,
            fields=(field,),
            found=f"{path} ends in {suffix}, which is no label map by its name",
            expected="a .pbtxt of items such as item { id: 1 name: 'car' }",
            why=f"{_STOPS[:-1]}, unless it holds such items all the same.",
            loss_ap=95.0,
        )

    def _malformed(self, field: str, path: str) -> Iterator[Finding]:
        for fault in _faults(path):
            if field == _KEYPOINTS and fault.why != _STOPS:
                continue  # no class is read from it
            yield self.finding(
                "label_map_malformed",
                fault.severity,
                fields=(field,),
                found=f"{path}: {fault.found}",
                expected="items such as item { id: 1 name: 'car' }, ids from 1",
                why=fault.why,
                loss_ap=95.0 if fault.severity == Severity.FATAL else 10.0,
                where=path,
            )

    def _differ(self, train: LabelMap, evaluation: LabelMap) -> Iterator[Finding]:
        other = [
            name
            for class_id, name in train.items.items()
            if evaluation.id_of(name) not in (None, class_id)
        ]
        names = set(train.items.values()), set(evaluation.items.values())
        lacking, added = sorted(names[0] - names[1]), sorted(names[1] - names[0])
        if other:
            severity, loss = Severity.FATAL, 80.0
            found = f"'{other[0]}' has id {train.id_of(other[0])} in training and "
            found += f"{evaluation.id_of(other[0])} in the evaluation"
            why = "Detections are scored as other classes than they were trained as."
        elif lacking or added:
            severity, loss = Severity.WARNING, 3.0
            parts = [f"lacks {', '.join(lacking[:3])}"] if lacking else []
            parts += [f"has {', '.join(added[:3])} on top"] if added else []
            found = f"the evaluation's label map {' and '.join(parts)}"
            why = "The metric averages over other classes than were trained."
        else:
            return
        yield self.finding(
            "label_maps_differ",
            severity,
            fields=(_EVAL, _TRAIN),
            found=found,
            expected="one label map for both readers",
            why=why,
            loss_ap=loss,
            count=len(other) or len(lacking) + len(added),
        )


def _faults(path: str) -> Iterator[_Fault]:
    from object_detection.protos import string_int_label_map_pb2

    message = string_int_label_map_pb2.StringIntLabelMap()
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        text_format.Merge(text, message)
    except OSError as error:
        yield _Fault(Severity.FATAL, f"it cannot be read: {error.strerror}", _STOPS)
        return
    except UnicodeDecodeError as error:
        yield _Fault(Severity.FATAL, f"no text: byte {error.start} is not UTF-8", _STOPS)
        return
    except text_format.ParseError as error:
        place = f"line {error.GetLine()}: " if error.GetLine() else ""
        said = str(error).split(" : ", 1)[-1][:160]
        yield _Fault(Severity.FATAL, f"it does not parse, {place}{said}", _STOPS)
        return
    yield from _faults_of_items(message)
    try:
        text_format.Parse(text, string_int_label_map_pb2.StringIntLabelMap())
    except text_format.ParseError as error:
        line = f", first in line {error.GetLine()}" if error.GetLine() else ""
        yield _Fault(
            Severity.FATAL,
            f"an item has several ids or names{line}; 1 class is left"
            if len(message.item) == 1
            else f"an item has several ids or names{line}; {len(message.item)} classes are left",
            "Only the last id and name of an item count: the objects of the others become "
            "background, in training and in the metric.",
        )


def _faults_of_items(message: Any) -> Iterator[_Fault]:
    if not message.item:
        yield _Fault(Severity.FATAL, "it has no items", _STOPS)
    below = [
        item
        for item in message.item
        if item.id < 0 or (item.id == 0 and "background" not in (item.name, item.display_name))
    ]
    if below:
        found = f"item '{below[0].name}' has id {below[0].id}, which is the background's"
        yield _Fault(Severity.FATAL, found, _STOPS)
    ids = Counter(item.id for item in message.item)
    twice = [class_id for class_id, times in ids.items() if times > 1]
    if twice:
        names = [item.name for item in message.item if item.id == twice[0]]
        yield _Fault(
            Severity.WARNING,
            f"id {twice[0]} is given to {', '.join(names[:3])}",
            "They are trained and scored as one class, under the first name.",
        )
    unnamed = [item.id for item in message.item if not (item.name or item.display_name)]
    if unnamed:
        yield _Fault(
            Severity.CRITICAL,
            f"{count_of(len(unnamed), 'item')} without a name, first id {unnamed[0]}",
            "Records name their classes, and what no item names becomes background.",
        )


_COCO_IDS = 90
_COCO = re.compile(r"coco|(?:train|val|test)[_-]?20(?:14|17)", re.IGNORECASE)


class NumClassesMismatch(Rule):
    """num_classes is not the highest id of the label map.

    Anti-pattern

        model { ssd { num_classes: 90 } }      # label map: ids 1 to 5

        model { ssd { num_classes: 1 } }       # label map: ids 1 and 2

    The first trains 85 outputs that never have an example. The second drops classes: an id above
    num_classes becomes a box without a class in training, and class 1 in the evaluation.

    Best practice

        model { ssd { num_classes: 5 } }       # label map: ids 1 to 5

    The highest id counts, not the number of names: COCO has 80 names and ids up to 90. The
    background is not counted. Where the label map is not here, 90 is doubted when no path is called
    COCO's.

    0, which an unset num_classes is, trains nothing: EfficientDet and CenterNet stop at a layer
    without filters, the others have an output for the background alone.

    Source

    inputs.transform_input_data: tf.one_hot(id - 1, num_classes) is all zeros above num_classes;
    model_lib_v2.prepare_eval_dict takes argmax + 1 of it, which is 1.
    """

    code = "DAT005"
    name = "data.num_classes"
    causes = ("num_classes_mismatch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares with the highest id of the label map, or with names where none is here."""
        label_map = subject.files.label_map
        if not hasattr(subject.pipeline.model, "num_classes"):
            return
        given = subject.pipeline.num_classes
        field = f"model.{subject.pipeline.meta_architecture}.num_classes"
        if given < 1:
            yield self._none(subject, field, given)
            return
        if label_map is None:
            yield from self._by_names(subject, field, given)
            return
        if label_map.num_classes == given:
            return
        highest = label_map.num_classes
        names = len(label_map.items)
        if highest > given:
            above = [f"{name} ({i})" for i, name in sorted(label_map.items.items()) if i > given]
            severity, loss = Severity.FATAL, 70.0
            why = (
                f"{', '.join(above[:3])}{' ...' if len(above) > 3 else ''} cannot be learned: "
                "their "
                "boxes have no class in training, and count as class 1 in the evaluation."
            )
        else:
            severity = Severity.WARNING if given >= 2 * highest else Severity.INFO
            loss = _loss(given / max(highest, 1))
            why = (
                f"{given - highest} outputs never have an example: they cost time, and add to the "
                "class loss without meaning anything."
            )
        yield self.finding(
            "num_classes_mismatch",
            severity,
            fields=(field, "train_input_reader.label_map_path"),
            found=f"num_classes is {given}, and the label map has {names} names with ids up to "
            f"{highest}",
            expected=f"num_classes: {highest}",
            why=why,
            loss_ap=loss,
            fix=(FieldFix(field, highest),),
        )

    def _by_names(self, subject: Subject, field: str, given: int) -> Iterator[Finding]:
        """Doubts COCO's number where records and label maps are named, and none after COCO."""
        reader, records = (
            subject.pipeline.proto.train_input_reader,
            input_patterns(subject.pipeline),
        )
        paths = [*records, str(reader.label_map_path)]
        others = input_patterns(subject.pipeline, evaluation=True)
        others += [str(one.label_map_path) for one in subject.pipeline.proto.eval_input_reader[:1]]
        named = bool(records) and not any(is_placeholder(path) for path in paths)
        if given != _COCO_IDS or not named or any(map(_COCO.search, paths + others)):
            return
        yield self.finding(
            "num_classes_mismatch",
            Severity.WARNING,
            fields=(field, "train_input_reader.label_map_path"),
            found=f"num_classes is {given}, as COCO has it, and no path of records or label maps "
            "is called COCO's",
            expected="the highest id of your label map",
            why="With fewer classes most outputs never have an example: they cost time, and add to "
            "the class loss without meaning anything.",
            loss_ap=_loss(10),
        )

    def _none(self, subject: Subject, field: str, given: int) -> Finding:
        label_map = subject.files.label_map
        background = given == 0 and _adds_background(subject)
        return self.finding(
            "num_classes_mismatch",
            Severity.FATAL,
            fields=(field,),
            found=f"num_classes is {given}",
            expected=f"num_classes: {label_map.num_classes}"
            if label_map is not None
            else "the highest id of the label map",
            why="The model has an output for the background and none for a class: it detects "
            "nothing."
            if background
            else "The OD API stops while it builds the model: a layer without filters.",
            loss_ap=90.0,
            fix=(FieldFix(field, label_map.num_classes),) if label_map is not None else (),
        )


def _adds_background(subject: Subject) -> bool:
    if subject.pipeline.meta_architecture == "ssd":
        return bool(subject.pipeline.proto.model.ssd.add_background_class)
    return subject.pipeline.meta_architecture == "faster_rcnn"


def _loss(surplus: float) -> float:
    """The AP that outputs without examples may cost, at so many times the classes there are.

    They only ever learn to say no. Judged, nobody published it: one for each doubling.
    """
    return min(6.0, math.log2(surplus)) if surplus >= 2 else 0.0
