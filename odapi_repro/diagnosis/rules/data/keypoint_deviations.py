"""Standard deviations of keypoints' heatmaps: of no keypoint, or zero."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.data.keypoint_labels import keypoint_items
from odapi_repro.diagnosis.subject import Subject

_PATH = "model.center_net.keypoint_label_map_path"


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
                    why="It is passed over without a word, and a keypoint without its own "
                    "deviation has 1.",
                    loss_ap=0.2,
                    where=path,
                )
