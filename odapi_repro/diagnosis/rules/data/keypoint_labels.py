"""Keypoint tasks against the label map that names their keypoints."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_format

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of

_PATH = "model.center_net.keypoint_label_map_path"
_TASK = "model.center_net.keypoint_estimation_task"
_MOST_BYTES = 5_000_000


class KeypointLabels(Rule):
    """A keypoint task names a class that the keypoint label map does not have, or other keypoints.

    Anti-pattern

        item { id: 1 name: 'person' }                  # no keypoints

        keypoint_estimation_task { keypoint_class_name: "person" }

    Only items that list keypoints count, and only their `name`, not their `display_name`.

    Best practice

        item {
          id: 1
          name: 'person'
          keypoints { id: 0 label: 'nose' }
          keypoints { id: 1 label: 'left_eye' }
        }

    Ids of keypoints run from 0 to num_keypoints - 1, each once. The item's own id is the class's,
    at most num_classes. keypoint_weights_for_center holds a weight for each of its keypoints.

    Source

    builders/model_builder._build_center_net_model and keypoint_proto_to_params: KeyError of the
    class name; ValueError, 'Some keypoint indices are used more than once', 'Multiple keypoint
    tasks map to the same class id'. get_valid_keypoint_mask_for_class takes the class's column of
    the one-hot classes. center_net_meta_arch._initialize_target_assigners: an assertion that
    keypoint_weights_for_center are as many as keypoints.
    utils/target_assigner_utils.get_valid_keypoint_mask_for_class gathers the ids of a task among
    num_keypoints; beyond them it stops on a CPU. eval_util.get_evaluators looks a metric's class
    up by display_name, passes over one that is not there, and takes its keypoints by key.
    """

    code = "DAT012"
    name = "data.keypoint_labels"
    causes = (
        "keypoint_class_not_in_label_map",
        "keypoint_count_mismatch",
        "keypoint_class_refused",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Reads the keypoint label map and the evaluation's, where they are on this disk."""
        yield from self._tasks(subject)
        yield from self._metrics(subject)

    def _tasks(self, subject: Subject) -> Iterator[Finding]:
        tasks = subject.pipeline.keypoint_tasks
        if not tasks:
            return
        path = str(subject.pipeline.proto.model.center_net.keypoint_label_map_path)
        if not path:
            yield self._class(
                _PATH,
                f"keypoint_estimation_task '{tasks[0].task_name}' without keypoint_label_map_path",
                "a label map whose items list keypoints",
                "Building the model stops: it opens the label map of the keypoints.",
            )
            return
        items = keypoint_items(path, subject.circumstances.look_at_disk)
        if items is None:
            return
        # model_builder: {item.name: item for item in label_map.item if item.keypoints}
        known = {str(item.name): item for item in items if item.keypoints}
        for index, task in enumerate(tasks):
            if task.keypoint_class_name not in known:
                yield self._unknown(index, str(task.keypoint_class_name), items, known, path)
        classes = [str(task.keypoint_class_name) for task in tasks]
        yield from self._class_ids(subject, classes, known)
        yield from self._ids(subject, list(dict.fromkeys(classes)), known)
        yield from self._weights(subject, classes, known)

    def _metrics(self, subject: Subject) -> Iterator[Finding]:
        proto = subject.pipeline.proto
        if not proto.eval_config.parameterized_metric:
            return
        path = str(proto.eval_input_reader[0].label_map_path) if proto.eval_input_reader else ""
        items = keypoint_items(path, subject.circumstances.look_at_disk)
        # A model of boxes has no keypoints to score.
        unseen = Severity.WARNING if subject.pipeline.keypoint_tasks else Severity.INFO
        for index, metric in enumerate(proto.eval_config.parameterized_metric):
            name = str(metric.coco_keypoint_metrics.class_label)
            if items is None or not metric.HasField("coco_keypoint_metrics"):
                continue
            # label_map_util names categories by display_name, where an item has one.
            item = next((one for one in items if name == (one.display_name or one.name)), None)
            if item is not None and item.keypoints:
                continue
            yield self.finding(
                "keypoint_class_not_in_label_map",
                unseen if item is None else Severity.FATAL,
                fields=(
                    f"eval_config.parameterized_metric[{index}].coco_keypoint_metrics.class_label",
                    "eval_input_reader[0].label_map_path",
                ),
                found=f"coco_keypoint_metrics of '{name}', and the evaluation's label map "
                + ("has no such class" if item is None else "lists no keypoints for it"),
                expected="a class whose item lists its keypoints",
                why="No keypoint AP is computed, without a word."
                if item is None
                else "The evaluation stops before its first image: KeyError: 'keypoints'.",
                loss_ap=0.5 if item is None else 30.0,  # judged: training is untouched
                where=path,
            )

    def _unknown(
        self, index: int, name: str, items: list[Any], known: dict[str, Any], path: str
    ) -> Finding:
        bare = any(item.name == name for item in items)
        shown = [str(item.name) for item in items if item.display_name == name]
        lacks = f"lists no keypoints for '{name}'" if bare else f"has no item named '{name}'"
        if not bare and shown:
            lacks += f", which is the display_name of '{shown[0]}'"
        named = ", ".join(f"'{one}'" for one in list(known)[:3])
        field = f"{_TASK}[{index}].keypoint_class_name"
        return self._class(
            field,
            f"the keypoint label map {lacks}",
            f"the name of an item with keypoints: {named}"
            if named
            else "keypoints { id label } in the item of that class",
            f"Building the model stops: KeyError: '{name}'.",
            # Another class is no mending where this one is there without keypoints.
            fix=[FieldFix(field, next(iter(known)))] if len(known) == 1 and not bare else [],
            where=path,
        )

    def _class_ids(
        self, subject: Subject, classes: list[str], known: dict[str, Any]
    ) -> Iterator[Finding]:
        ids = [int(known[name].id) if name in known else None for name in classes]
        num_classes = int(subject.pipeline.proto.model.center_net.num_classes)
        for index, (name, one) in enumerate(zip(classes, ids, strict=True)):
            if one is None:
                continue
            if one in ids[:index]:
                found = f"two keypoint tasks are of class id {one}"
                expected = "one keypoint task for each class"
                why = "Building the model stops: 'Multiple keypoint tasks map to the same class id'"
            elif one > num_classes:
                found = f"'{name}' has id {one} in the keypoint label map, and num_classes is "
                found += str(num_classes)
                expected = "the id that the class has in the records' label map, 1 to num_classes"
                why = "The loss stops at the first step: it looks for a class that the model lacks"
            else:
                continue
            yield self.finding(
                "keypoint_class_refused",
                Severity.FATAL,
                fields=(f"{_TASK}[{index}].keypoint_class_name", _PATH),
                found=found,
                expected=expected,
                why=f"{why}.",
                loss_ap=90.0,
            )

    def _weights(
        self, subject: Subject, classes: list[str], known: dict[str, Any]
    ) -> Iterator[Finding]:
        model = subject.pipeline.proto.model.center_net
        weights = len(model.object_center_params.keypoint_weights_for_center)
        # Beside boxes or several tasks MOD023 says that there must be none.
        alone = len(classes) == 1 and not model.HasField("object_detection_task")
        if not weights or not alone or classes[0] not in known:
            return
        keypoints = len(known[classes[0]].keypoints)
        if weights != keypoints:
            yield self._count(
                f"keypoint_weights_for_center has {weights} values, and '{classes[0]}' lists "
                f"{keypoints} keypoints",
                "one weight for each keypoint of the class",
                "Building the model stops: AssertionError.",
                ("model.center_net.object_center_params.keypoint_weights_for_center", _PATH),
            )

    def _ids(
        self, subject: Subject, classes: list[str], known: dict[str, Any]
    ) -> Iterator[Finding]:
        ids = [int(one.id) for name in classes if name in known for one in known[name].keypoints]
        twice = [one for one, times in Counter(ids).items() if times > 1]
        count = int(subject.pipeline.proto.train_input_reader.num_keypoints)
        if twice:
            yield self._count(
                f"keypoint id {twice[0]} is used {ids.count(twice[0])} times in the tasks' classes",
                "each id once; an item without an id has 0",
                "Building the model stops: 'Some keypoint indices are used more than once'.",
            )
        elif count and ids and max(ids) >= count:
            yield self._count(
                f"keypoint ids go up to {max(ids)} in the label map, and num_keypoints is {count}",
                f"ids from 0 to {count - 1}, or another num_keypoints",
                "The targets are gathered beyond the last keypoint: it stops on a CPU, and a GPU "
                "takes zeros.",
            )

    def _class(
        self,
        field: str,
        found: str,
        expected: str,
        why: str,
        fix: list[FieldFix] | None = None,
        where: str = "",
    ) -> Finding:
        return self.finding(
            "keypoint_class_not_in_label_map",
            Severity.FATAL,
            fields=(field,) if field == _PATH else (field, _PATH),
            found=found,
            expected=expected,
            why=why,
            loss_ap=95.0,
            fix=fix or (),
            where=where,
        )

    def _count(
        self,
        found: str,
        expected: str,
        why: str,
        fields: tuple[str, ...] = (_PATH, "train_input_reader.num_keypoints"),
    ) -> Finding:
        return self.finding(
            "keypoint_count_mismatch",
            Severity.FATAL,
            fields=fields,
            found=found,
            expected=expected,
            why=why,
            loss_ap=90.0,
        )


def keypoint_items(path: str, look: bool) -> list[Any] | None:
    """Gives the items as the OD API merges them; None where they are not here to be read."""
    if folder_of(path, look=look) is None or not os.path.isfile(path):
        return None
    if os.path.getsize(path) > _MOST_BYTES:
        return None
    # Imported here: few configs have keypoints.
    from object_detection.protos import string_int_label_map_pb2

    message = string_int_label_map_pb2.StringIntLabelMap()
    try:
        with open(path, encoding="utf-8") as file:
            text_format.Merge(file.read(), message)
    except (OSError, UnicodeDecodeError, text_format.ParseError):
        return None
    return list(message.item)
