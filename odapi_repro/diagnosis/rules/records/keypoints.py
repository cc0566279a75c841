"""Keypoints that are missing, or not as many as the reader takes for each object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.datasets.census.columns import UNKNOWN_COUNT, images_told
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
