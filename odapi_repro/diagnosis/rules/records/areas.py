"""Recorded areas that the boxes cannot have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from odapi_repro.datasets.census.box_kinds import WELL
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

# An outline lies within its box, but for the pixel that rounding takes on each side.
_ROUNDING = 1.0
_SHARE = 0.02


class AreasDiffer(RecordRule):
    """Recorded areas are larger than their boxes, or shares instead of pixels.

    Anti-pattern

        image/object/area: 0.031       # of an object of 120 x 80 pixels

    Best practice

        image/object/area: 7312.0

    The object's pixels in the image that is in the record; 0 or left out means that of the box.

    Source

    metrics/coco_tools.ExportSingleImageGroundtruthToCoco takes a recorded area above 0; COCO's
    evaluation puts an object among the small, medium or large by it.
    """

    code = "REC021"
    name = "records.areas"
    causes = ("areas_differ_from_boxes",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with areas that cannot be."""
        for split in subject.census.splits:
            boxes = split.boxes
            heights, widths = split.box_sizes.T
            with np.errstate(invalid="ignore"):
                most = (heights + _ROUNDING) * (widths + _ROUNDING) * (1 + _SHARE)
                well = subject.kinds[split.split].are(WELL) & (boxes.area > 0)
                too_large = well & (boxes.area > most)
                # Nothing with a box of 10 x 10 pixels and more has an area below 1 pixel.
                too_small = well & (boxes.area <= 1) & (heights * widths >= 100)
            wrong = too_large | too_small
            if not wrong.any():
                continue
            parts = []
            if too_large.any():
                parts.append(f"{int(too_large.sum()):,} above that of the box")
            if too_small.any():
                parts.append(f"{int(too_small.sum()):,} of at most 1 pixel")
            yield self.told(
                subject,
                split,
                "areas_differ_from_boxes",
                Severity.WARNING if split.split == "eval" else Severity.INFO,
                found=f"{int(wrong.sum()):,} of {int(well.sum()):,} areas in "
                f"{split.images_told(wrong)} cannot be: {', '.join(parts)}",
                expected="pixels of the object in this image, at most those of its box",
                why="The metrics by size (APs, APm, APl) put these objects among the wrong ones; "
                "AP itself and training are untouched.",
                mend="write the area of the image that is in the record, or leave it out",
                count=int(wrong.sum()),
                counted="boxes",
                examples=split.examples(wrong),
                loss_ap=1.0,
            )
