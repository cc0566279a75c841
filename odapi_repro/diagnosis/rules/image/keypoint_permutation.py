"""Flips and turns that do not rename all keypoints."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.image.augmentation_steps import Step, steps
from odapi_repro.diagnosis.subject import Subject

_FIELDS = {
    "random_horizontal_flip": "keypoint_flip_permutation",
    "random_vertical_flip": "keypoint_flip_permutation",
    "random_rotation90": "keypoint_rot_permutation",
}


class KeypointPermutation(Rule):
    """A flip's permutation of keypoints is missing, or is of another number than the reader's.

    The flip of a person makes the left eye the right one: the permutation says which keypoint
    becomes which.

    Anti-pattern

        train_input_reader { num_keypoints: 5 }
        random_horizontal_flip { }                # or the 17 of COCO's people

    Best practice

        random_horizontal_flip {
          keypoint_flip_permutation: [0, 2, 1, 4, 3]
        }

    As many as num_keypoints, each of 0 to num_keypoints - 1 once. random_rotation90 may do
    without; a flip may not.

    Source

    core/preprocessor.random_horizontal_flip and random_vertical_flip (ValueError without one),
    random_rotation90; core/keypoint_ops.flip_horizontal, flip_vertical and rot90, which gather the
    permutation: what comes out has its length, so that images that are flipped and images that
    are not do not fit into one batch.
    """

    code = "MOD018"
    name = "model.keypoint_permutation"
    causes = ("keypoint_count_mismatch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at every flip and turn of a pipeline that reads keypoints."""
        count = int(subject.pipeline.proto.train_input_reader.num_keypoints)
        if not count:
            return
        for step in steps(subject.pipeline):
            field = _FIELDS.get(step.kind)
            if field is not None:
                given = [int(one) for one in getattr(step.message, field)]
                task = bool(subject.pipeline.keypoint_tasks)
                yield from self._step(step, field, given, count, _batch(subject), has_task=task)

    def _step(
        self, step: Step, field: str, given: list[int], count: int, batch: int, *, has_task: bool
    ) -> Iterator[Finding]:
        beyond = [one for one in given if not 0 <= one < count]
        if not given:
            if step.kind == "random_rotation90":
                return
            found, severity = f"{step.kind} without {field}, with {count} keypoints", Severity.FATAL
            why = "The input stops: 'keypoints_flip_permutation is not provided'."
        elif len(given) != count:
            found = f"{field} has {len(given)} values, and num_keypoints is {count}"
            stops = batch > 1 and 0 < step.message.probability < 1
            severity = Severity.FATAL if stops or beyond else Severity.CRITICAL
            why = (
                f"An image has {len(given)} keypoints an object where it is applied, else {count}: "
            )
            why += (
                "they do not fit into one batch, and training stops."
                if stops
                else "the model takes one for another, or stops."
            )
        elif beyond:
            found = f"{field} has {beyond[0]}, and {count} keypoints are 0 to {count - 1}"
            severity = Severity.FATAL
            why = f"The input stops where it is applied: '{beyond[0]} is not in [0, {count})'."
        elif len(set(given)) < count:
            twice = next(one for one in given if given.count(one) > 1)
            found, severity = f"{field} has {twice} more than once", Severity.WARNING
            why = "Where it is applied two keypoints are in one place, and another is lost."
        else:
            return
        yield self.finding(
            "keypoint_count_mismatch",
            severity,
            fields=(step.at(field), "train_input_reader.num_keypoints"),
            found=found,
            expected=f"each of 0 to {count - 1} once"
            + ("" if has_task else ", or no num_keypoints: the model has no keypoint task"),
            why=why,
            loss_ap={Severity.FATAL: 90.0, Severity.CRITICAL: 20.0}.get(severity, 2.0),
        )


def _batch(subject: Subject) -> int:
    """Images of one replica that are batched together."""
    replicas = subject.circumstances.num_replicas or 1
    return int(subject.pipeline.proto.train_config.batch_size) // replicas
