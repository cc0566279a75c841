"""Boxes beyond those that the readers keep, counted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share


class BoxesBeyondMost(RecordRule):
    """Images have more boxes than their reader keeps.

    Anti-pattern

        max_number_of_boxes: 20        # and images with 63

    Best practice

        max_number_of_boxes: 100

    As many as the most crowded image has.

    Source

    inputs.pad_input_data_to_static_shapes cuts after InputReader.max_number_of_boxes (default 100)
    in the order of the record; DAT007 tells the field without the records.
    """

    code = "REC014"
    name = "records.max_boxes"
    causes = ("max_boxes_truncates_gt",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with boxes that its reader drops."""
        for split in subject.census.splits:
            reader = subject.reader(split)
            if reader is None:
                continue
            kept = int(reader.max_number_of_boxes)
            beyond = np.maximum(split.images.num_boxes - kept, 0)
            count = int(beyond.sum())
            if not count:
                continue
            most = int(split.images.num_boxes.max())
            share = count / len(split.boxes)
            training = split.split == "train"
            fields = subject.field_of(split, "max_number_of_boxes")
            yield self.told(
                subject,
                split,
                "max_boxes_truncates_gt",
                Severity.FATAL if kept <= 0 else by_share(share, warning=0.01, critical=0.2),
                found=f"{count:,} of {len(split.boxes):,} boxes are beyond the {kept} that are "
                f"kept, in {int((beyond > 0).sum()):,} images; the most crowded has {most:,}",
                expected=f"max_number_of_boxes: {most}",
                why="They are dropped without a word, and their objects are trained as background."
                if training
                else "They are no ground truth: finding them is a false alarm.",
                mend="",
                count=count,
                counted="boxes",
                examples=split.images.names(np.flatnonzero(beyond)[:5]),
                loss_ap=40.0 * share,
                name="max_number_of_boxes",
                fix=(FieldFix(fields[0], most),) if fields else (),
            )
