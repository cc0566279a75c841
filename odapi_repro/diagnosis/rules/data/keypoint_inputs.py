"""Rules about keypoints in a config: what is read, and what the model makes of it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_format

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of, input_patterns

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
                why="No keypoint AP is computed, and nothing says so."
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


class KeypointDeviations(Rule):
    """A keypoint's heatmap has no width, or a width is for a keypoint that the class lacks.

    Anti-pattern

        keypoint_label_to_std { key: "left_eye" value: 0.0 }
        keypoint_label_to_std { key: "lefteye" value: 0.89 }

    Best practice

    COCO's deviations, from 0.62 to 1.79, with keys as the labels in the keypoint label map; those
    left out have 1.

    Source

    builders/model_builder.keypoint_proto_to_params looks labels up and passes over others;
    core/target_assigner.CenterNetKeypointTargetAssigner.assign_keypoint_heatmap_targets divides by
    the square of each: with 0 the heatmap was NaN when run, with -1 it was that of 1.
    """

    code = "DAT015"
    name = "data.keypoint_deviations"
    causes = ("keypoint_deviation_zero", "keypoint_deviation_unused")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Holds the deviations of each task against the labels of its class."""
        model = subject.pipeline.proto.model.center_net
        tasks = [(n, one) for n, one in enumerate(subject.pipeline.keypoint_tasks)]
        tasks = [(n, one) for n, one in tasks if one.keypoint_label_to_std]
        path = str(model.keypoint_label_map_path)
        items = keypoint_items(path, subject.circumstances.look_at_disk) if tasks and path else None
        if items is None:
            return
        known = {str(item.name): item for item in items if item.keypoints}
        for index, task in tasks:
            item = known.get(str(task.keypoint_class_name))
            if item is None:
                continue
            labels = {str(one.label) for one in item.keypoints}
            field = f"model.center_net.keypoint_estimation_task[{index}].keypoint_label_to_std"
            given = dict(task.keypoint_label_to_std)
            zero = sorted(label for label in labels if given.get(label) == 0)
            if zero:
                yield self.finding(
                    "keypoint_deviation_zero",
                    Severity.FATAL,
                    fields=(field,),
                    found=f"keypoint_label_to_std of '{zero[0]}' is 0",
                    expected="a deviation above 0; 1 if left out",
                    why="The target's heatmap is NaN, and the loss with it.",
                    loss_ap=90.0,
                    where=path,
                )
            unused = sorted(set(given) - labels)
            if unused:
                named = ", ".join(f"'{one}'" for one in unused[:3])
                yield self.finding(
                    "keypoint_deviation_unused",
                    Severity.INFO,
                    fields=(field, _PATH),
                    found=f"keypoint_label_to_std of {named}, which the class "
                    f"'{task.keypoint_class_name}' does not list",
                    expected="the labels of the keypoint label map",
                    why="It is ignored silently. A keypoint without its own deviation has 1.",
                    loss_ap=0.2,
                    where=path,
                )


# Records of COCO's people may hold keypoints; 90 is the ids of COCO.
_COCO = re.compile(r"coco|20(14|17)|keypoint|kpts|pose", re.IGNORECASE)
_COCO_CLASSES = 90


class KeypointsRead(Rule):
    """Readers load keypoints that the model does not use, or not those that it needs.

    Anti-pattern

        model { center_net { ... } }       # no keypoint_estimation_task
        train_input_reader {
          num_keypoints: 17
          tf_record_input_reader { input_path: "my_boxes.record" }
        }

    as in the config of the zoo's CenterNet MobileNetV2 for boxes. Of records that hold boxes and
    no keypoints, the input stops at the first: `indices[0] = 0 is not in [0, 0)`.

    Best practice

    Leave num_keypoints out of both readers of a model without keypoint_estimation_task. For a
    model with one, num_keypoints is how many keypoints the records hold for each object.

    Source

    data_decoders/tf_example_decoder.py: keypoints are reshaped to [-1, num_keypoints, 2];
    utils/ops.retain_groundtruth gathers as many of them as there are boxes, for any model.
    inputs.train_input hands keypoint_type_weight on as the proto's own list.
    center_net_meta_arch.CenterNetMetaArch.loss: 'Groundtruth tensor keypoints has not been
    provided'. builders/model_builder._build_center_net_model: DeepMAC has no keypoint tasks.
    """

    code = "DAT011"
    name = "data.keypoints"
    causes = (
        "keypoints_not_in_records",
        "keypoint_count_mismatch",
        "keypoint_type_weight_unsupported",
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Holds num_keypoints of the readers against the model's tasks."""
        proto = subject.pipeline.proto
        # A config without a model has other things to be told.
        if not subject.pipeline.meta_architecture:
            return
        readers = {"train_input_reader": proto.train_input_reader}
        if proto.eval_input_reader:
            readers["eval_input_reader[0]"] = proto.eval_input_reader[0]
        yield from self._type_weights(readers)
        if subject.pipeline.keypoint_tasks:
            lacking = [name for name, reader in readers.items() if not reader.num_keypoints]
            yield from self._lacking(subject, lacking)
            return
        loading = {name: one.num_keypoints for name, one in readers.items() if one.num_keypoints}
        if loading:
            yield self._unused(subject, loading)

    def _type_weights(self, readers: dict[str, Any]) -> Iterator[Finding]:
        for name, reader in readers.items():
            if reader.num_keypoints and reader.keypoint_type_weight:
                field = f"{name}.keypoint_type_weight"
                yield self.finding(
                    "keypoint_type_weight_unsupported",
                    Severity.FATAL,
                    fields=(field,),
                    found=f"{name} has keypoint_type_weight",
                    expected="no keypoint_type_weight: all keypoints weigh the same",
                    why="The input cannot be built under TensorFlow 2, which takes no repeated "
                    "field of a proto for a tensor: 'Tried to convert 'input' to a tensor and "
                    "failed'.",
                    loss_ap=90.0,
                    fix=[FieldFix(field, None)],
                )

    def _unused(self, subject: Subject, loading: dict[str, int]) -> Finding:
        fields = [f"{name}.num_keypoints" for name in loading]
        patterns = input_patterns(subject.pipeline)
        perhaps_coco = subject.pipeline.num_classes == _COCO_CLASSES or any(
            _COCO.search(one) for one in patterns
        )
        return self.finding(
            "keypoints_not_in_records",
            Severity.WARNING if perhaps_coco else Severity.CRITICAL,
            fields=fields,
            found="; ".join(f"{name} reads {count} keypoints" for name, count in loading.items())
            + ", and the model has no keypoint task",
            expected="no num_keypoints: nothing uses them",
            why="Of records with boxes and no keypoints the input stops at the first: 'indices[0] "
            "= 0 is not in [0, 0)'. `data check` says whether yours have them.",
            loss_ap=90.0,
            fix=[FieldFix(field, None) for field in fields],
        )

    def _lacking(self, subject: Subject, lacking: list[str]) -> Iterator[Finding]:
        task = subject.pipeline.keypoint_tasks[0].task_name
        theirs = subject.reference_pipeline.proto.train_input_reader.num_keypoints
        if not lacking:
            return
        fields = [f"{name}.num_keypoints" for name in lacking]
        verb = "reads" if len(lacking) == 1 else "read"
        in_training = lacking[0] == "train_input_reader"
        yield self.finding(
            "keypoint_count_mismatch",
            Severity.FATAL,
            fields=fields,
            found=f"{' and '.join(lacking)} {verb} no keypoints, and the model has the keypoint "
            f"task '{task}'",
            expected="num_keypoints: as many as the records hold for each object"
            + (f" (the reference: {theirs})" if theirs else ""),
            why="The loss stops with 'Groundtruth tensor keypoints has not been provided'"
            + ("." if in_training else ", at the evaluation's first image."),
            loss_ap=90.0,
        )
