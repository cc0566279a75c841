"""Rules about the keypoints in records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.datasets.census.record_columns import UNKNOWN_COUNT, images_told
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

Where = NDArray[np.bool_]


class KeypointsUnfit(RecordRule):
    """Records hold no keypoints for a reader that loads them, or another number for each object.

    Anti-pattern

        train_input_reader { num_keypoints: 17 }

        image/object/bbox/ymin: 0.1 0.4          # two boxes
        image/object/keypoint/x:                 # none, or 17 values for both

    Best practice

    boxes x num_keypoints values in keypoint/x and in keypoint/y; of an object without keypoints
    zeros, with visibility 0. `data convert --keypoint_annotations` writes them so. A model without
    keypoint_estimation_task needs no num_keypoints.

    Source

    data_decoders/tf_example_decoder.py: x and y are joined and reshaped to [-1, num_keypoints, 2];
    utils/ops.retain_groundtruth gathers the keypoints of as many objects as there are boxes, so
    that fewer stop it and of more the first are taken. Without boxes nothing is gathered.
    """

    code = "REC030"
    name = "records.keypoints"
    causes = ("keypoints_not_in_records", "keypoint_count_mismatch")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for each split whose reader loads keypoints, or that has no reader."""
        for split in subject.census.splits:
            reader = subject.reader(split)
            count = int(reader.num_keypoints) if reader is not None else 0
            if reader is None:
                yield from self._among_themselves(subject, split)
            elif count:
                yield from self._missing(subject, split, count)
                yield from self._other_number(subject, split, count)

    def _missing(self, subject: RecordSubject, split: SplitCensus, count: int) -> Iterator[Finding]:
        objects, values = split.images.num_boxes, split.images.keypoints
        missing = (objects > 0) & (values == 0)
        if not missing.any():
            return
        unused = subject.config is not None and not subject.config.pipeline.keypoint_tasks
        field = subject.field_of(split, "num_keypoints")
        yield self.told(
            subject,
            split,
            "keypoints_not_in_records",
            Severity.FATAL,
            found=f"{int(missing.sum()):,} of {images_told(int((objects > 0).sum()))} with objects "
            f"have no keypoints, and the reader takes {count} for each object",
            expected="no num_keypoints: the model has no keypoint task"
            if unused
            else f"{count} values in keypoint/x and keypoint/y for each object",
            why="The input stops at the first: 'indices[0] = 0 is not in [0, 0)'.",
            mend=""
            if unused
            else "write the records again with keypoints, zeros for an object "
            "without (data convert --keypoint_annotations)",
            fix=[FieldFix(field[0], None)] if unused else [],
            loss_ap=90.0,
            name="num_keypoints",
            **_counted(split, missing),
        )

    def _other_number(
        self, subject: RecordSubject, split: SplitCensus, count: int
    ) -> Iterator[Finding]:
        objects, values = split.images.num_boxes, split.images.keypoints
        there = (objects >= 0) & (values > 0)
        unjoined = (objects >= 0) & (values == UNKNOWN_COUNT)
        ragged = there & (values % count != 0)
        fewer = there & ~ragged & (values < objects * count)
        more = there & ~ragged & (objects > 0) & (values > objects * count)
        stops = unjoined | ragged | fewer
        told = (
            (stops, Severity.FATAL, 90.0, "Reading stops at the first."),
            (more, Severity.CRITICAL, 20.0, "Nothing stops: objects get keypoints of others."),
        )
        each = _each(split)
        fix = each is not None and each != count and not unjoined.any()
        for bad, severity, loss, why in told:
            if not bad.any():
                continue
            first = int(np.flatnonzero(bad)[0])
            shown = (
                "keypoint/x and keypoint/y are not as long as each other, or no floats"
                if unjoined[first]
                else f"{values[first]:,} in keypoint/x, and boxes: {objects[first]:,}"
            )
            yield self.told(
                subject,
                split,
                "keypoint_count_mismatch",
                severity,
                found=f"{images_told(int(bad.sum()))} {'has' if bad.sum() == 1 else 'have'} not "
                f"{count} keypoints for each box ({split.images.name(first)}: {shown})",
                expected=f"boxes x num_keypoints values, {count} for each box",
                why=why,
                mend=""
                if fix
                else "write these records again, with as many keypoints for each "
                "box as num_keypoints says",
                loss_ap=loss,
                fix=[FieldFix(subject.field_of(split, "num_keypoints")[0], each)] if fix else [],
                name="num_keypoints",
                **_counted(split, bad),
            )

    def _among_themselves(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        objects, values = split.images.num_boxes, split.images.keypoints
        there = (objects > 0) & (values != 0)
        if not there.any() or (_each(split) is not None and not ((objects > 0) & ~there).any()):
            return
        whole = there & (values > 0) & (values % np.maximum(objects, 1) == 0)
        numbers = values[whole] // objects[whole]
        usual = int(np.bincount(numbers).argmax()) if len(numbers) else 0
        bad = (objects > 0) & ((values != objects * usual) | (values <= 0))
        yield self.told(
            subject,
            split,
            "keypoint_count_mismatch",
            Severity.WARNING,
            found=f"{images_told(int(bad.sum()))} of {int((objects > 0).sum()):,} with objects "
            + (
                f"have not {usual} keypoints for each box, as others have"
                if usual
                else "have keypoints that do not go into their boxes"
            ),
            expected="as many keypoints for every box of every image",
            why="A reader with num_keypoints stops at the first that has others.",
            mend="write these records again; of an object without keypoints zeros",
            **_counted(split, bad),
        )


def _each(split: SplitCensus) -> int | None:
    """Gives the keypoints of each box, where all images with keypoints agree."""
    objects, values = split.images.num_boxes, split.images.keypoints
    there = (objects > 0) & (values != 0)
    if not there.any() or (values[there] % objects[there] != 0).any() or (values[there] < 0).any():
        return None
    numbers = np.unique(values[there] // objects[there])
    return int(numbers[0]) if len(numbers) == 1 else None


def _counted(split: SplitCensus, bad: Where) -> dict[str, Any]:
    return {
        "count": int(bad.sum()),
        "counted": "images",
        "examples": split.images.names(np.flatnonzero(bad)[:5]),
    }


# keypoint_ops.to_absolute_coordinates asserts that no coordinate is above this.
_MOST_COORDINATE = 1.01
# A share above this is no share: such keypoints are in pixels.
_MOST_SHARE = 2.0

_STOPS = "The loss stops at the first: 'maximum keypoint coordinate value is larger than 1.01'."


class KeypointValues(RecordRule):
    """Keypoints are in pixels or outside the image, or their visibility list does not fit them.

    Anti-pattern

        image/object/keypoint/x: 217.0 402.5
        image/object/keypoint/visibility: 2        # one for the object instead of each keypoint

    Best practice

        image/object/keypoint/x: 0.339 0.629       # 217.0 / image/width
        image/object/keypoint/visibility: 2 2

    Of a keypoint that is not labelled 0 in visibility, or NaN in x and y.

    Source

    core/target_assigner._preprocess_keypoints_and_weights calls
    keypoint_ops.to_absolute_coordinates, which asserts 1.01; keypoints that are not labelled are 0
    by then, and below 0 nothing stops. core/preprocessor: crops prune keypoints that are outside,
    each to NaN. tf_example_decoder._reshape_keypoint_visibilities takes a list of another length
    for none, with which all that is not NaN is visible.
    """

    code = "REC031"
    name = "records.keypoint_values"
    causes = ("keypoint_values_not_normalized", "keypoint_visibility_unread")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for each split, but where the reader or the model wants no keypoints."""
        for split in subject.census.splits:
            reader = subject.reader(split)
            if reader is not None and not (
                reader.num_keypoints
                and subject.config is not None
                and subject.config.pipeline.keypoint_tasks
            ):
                continue
            most = np.nan_to_num(split.images.keypoint_most.astype(np.float64), nan=0.0)
            beyond = most > _MOST_COORDINATE
            if beyond.any():
                yield self._beyond(subject, split, beyond, float(most.max()))
            yield from self._visibility(subject, split)

    def _beyond(
        self, subject: RecordSubject, split: SplitCensus, beyond: NDArray[np.bool_], most: float
    ) -> Finding:
        pixels = most > _MOST_SHARE
        cropped = subject.config is not None and split.split == "train" and _crops(subject)
        why = _STOPS
        if subject.config is None:
            why = f"A model of boxes takes no notice. {_STOPS.replace('The', 'Of keypoints the')}"
        elif cropped:
            why = (
                "The crop in the augmentation drops keypoints outside the image, and nothing "
                "learns from them; where an image is left as it is the loss stops at 1.01."
            )
        fatal = pixels and subject.config is not None and not cropped
        with_keypoints = int((~np.isnan(split.images.keypoint_most)).sum())
        return self.told(
            subject,
            split,
            "keypoint_values_not_normalized",
            Severity.FATAL
            if fatal
            else Severity.CRITICAL
            if pixels or (subject.config is not None and not cropped)
            else Severity.WARNING,
            found=f"{int(beyond.sum()):,} of {images_told(with_keypoints)} with keypoints "
            f"{'has' if beyond.sum() == 1 else 'have'} some above 1, up to {most:,.6g}",
            expected="shares of the image's sides, 0 to 1",
            why=why,
            mend="divide keypoint/y by the image's height, keypoint/x by its width"
            if pixels
            else "give keypoints outside the image 0 in visibility",
            count=int(beyond.sum()),
            counted="images",
            examples=split.images.names(np.flatnonzero(beyond)[:5]),
            loss_ap=80.0 if pixels else 5.0,
        )

    def _visibility(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        images = split.images
        given = (images.keypoints > 0) & (images.visibilities != 0)
        other = given & (images.visibilities != images.keypoints)
        if not other.any():
            return
        kind = other & (images.visibilities == UNKNOWN_COUNT)
        first = int(np.flatnonzero(kind if kind.any() else other)[0])
        shown = (
            "no integers"
            if kind.any()
            else f"{images.visibilities[first]:,} for {images.keypoints[first]:,} keypoints"
        )
        stops = bool(kind.any()) and subject.config is not None
        yield self.told(
            subject,
            split,
            "keypoint_visibility_unread",
            Severity.FATAL if stops else Severity.CRITICAL,
            found=f"{images_told(int(other.sum()))} {'has' if other.sum() == 1 else 'have'} not "
            f"one visibility for each keypoint ({images.name(first)}: {shown})",
            expected="as many integers in keypoint/visibility as values in keypoint/x",
            why="A reader with num_keypoints stops where they are no integers."
            if kind.any()
            else "The list is left unread: every keypoint that is not NaN counts as visible, those "
            "that were not labelled, too.",
            mend="write 0, 1 or 2 for each keypoint of each object, or leave the list out and "
            "write NaN for what is not labelled",
            count=int(other.sum()),
            counted="images",
            examples=images.names(np.flatnonzero(other)[:5]),
            loss_ap=90.0 if stops else 5.0,
        )


def _crops(subject: RecordSubject) -> bool:
    assert subject.config is not None
    options = subject.config.pipeline.proto.train_config.data_augmentation_options
    return any("crop" in (one.WhichOneof("preprocessing_step") or "") for one in options)
