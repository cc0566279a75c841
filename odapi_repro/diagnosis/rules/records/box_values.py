"""Boxes that are no shares of the image, or whose corners make no box."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.datasets.census.box_kinds import (
    ABSOLUTE,
    NOT_FINITE,
    OUTSIDE,
    SWAPPED,
    WELL,
    WITHOUT_AREA,
)
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share

# box_list_ops.to_absolute_coordinates asserts that no coordinate is above this.
_MOST_COORDINATE = 1.1
# Boxes overrun the border by rounding only.
_MOST_PERCENT = 101.0


class BoxesNotNormalized(RecordRule):
    """Boxes are in pixels or percent, or were divided twice; the OD API takes them for shares.

    Anti-pattern

        image/object/bbox/xmin: 217.0
        image/object/bbox/xmax: 402.5

    Best practice

        image/object/bbox/xmin: 0.339      # 217.0 / image/width
        image/object/bbox/xmax: 0.629

    Source

    dataset_tools/create_coco_tf_record.py divides by the image's sides. Nothing in an SSD's
    training checks it: the box lies hundreds of images away, no anchor overlaps it, and the loss
    of its forced match is huge. Faster R-CNN stops (core/box_list_ops.to_absolute_coordinates:
    `maximum box coordinate value is larger than 1.1`), and so does the evaluation's code.
    """

    code = "REC005"
    name = "records.boxes_not_normalized"
    causes = ("boxes_not_normalized",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with boxes in pixels, one with boxes of no size."""
        for split in subject.census.splits:
            yield from self._too_small(subject, split)
            absolute = subject.kinds[split.split].are(ABSOLUTE)
            count = int(absolute.sum())
            if not count:
                continue
            most = float(split.boxes.corners[absolute].max())
            longer = split.images.size[split.boxes.image[absolute]].max(axis=1)
            percent = most <= _MOST_PERCENT and float(np.median(longer)) > 2 * _MOST_PERCENT
            stops = subject.meta_architecture == "faster_rcnn" or 2 * count > len(absolute)
            yield self.told(
                subject,
                split,
                "boxes_not_normalized",
                Severity.FATAL if stops else Severity.CRITICAL,
                found=f"{count:,} of {len(absolute):,} boxes in {split.images_told(absolute)} "
                f"are in {'percent' if percent else 'pixels'}, up to {most:,.0f}",
                expected="shares of the image's sides, 0 to 1",
                why="Faster R-CNN stops at the first; an SSD trains on boxes that lie outside every"
                " image, and one of them can outweigh the loss of a batch.",
                mend="divide all of them by 100"
                if percent
                else "divide ymin and ymax by the image's height, xmin and xmax by its width",
                count=count,
                counted="boxes",
                examples=split.examples(absolute),
                loss_ap=80.0,
            )

    def _too_small(self, subject: RecordSubject, split: SplitCensus) -> Iterator[Finding]:
        well = subject.kinds[split.split].are(WELL)
        tiny = well & (split.box_sizes < 1).all(axis=1)
        count = int(tiny.sum())
        if not count or 2 * count < len(tiny):
            return
        yield self.told(
            subject,
            split,
            "boxes_not_normalized",
            Severity.CRITICAL,
            found=f"{count:,} of {len(tiny):,} boxes in {split.images_told(tiny)} are "
            f"smaller than a pixel, the median {_median_pixels(split, tiny):.2g} wide",
            expected="shares of the image's sides, 0 to 1, of objects that can be seen",
            why="Shares that are divided by the image's sides once more come to lie in its upper "
            "left corner, and nothing stops at them.",
            mend="divide once, by the sides of the image that is in the record",
            count=count,
            counted="boxes",
            examples=split.examples(tiny),
            loss_ap=80.0,
        )


def _median_pixels(split: SplitCensus, where: NDArray[np.bool_]) -> float:
    return float(np.median(split.box_sizes[where][:, 1]))


class BoxCorners(RecordRule):
    """Corners are in the wrong order, no numbers, without area, or outside the image.

    Anti-pattern

        image/object/bbox/xmin: 0.629
        image/object/bbox/xmax: 0.339

    Best practice

        image/object/bbox/xmin: 0.339
        image/object/bbox/xmax: 0.629

    COCO's `bbox` is x, y, width, height, and not two corners. Clip boxes that overrun the border by
    rounding; leave out what has no area.

    Source

    inputs.assert_or_prune_invalid_boxes: an assertion that ymax >= ymin and xmax >= xmin stops
    training; boxes of no height pass it, and box_coders/faster_rcnn_box_coder.py takes the
    logarithm of 1e-8 of them. utils/ops.filter_groundtruth_with_nan_box_coordinates drops NaN.
    """

    code = "REC006"
    name = "records.box_corners"
    causes = (
        "boxes_corners_swapped",
        "boxes_not_finite",
        "boxes_without_area",
        "boxes_outside",
    )

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for each way in which corners of a split make no good box."""
        for split in subject.census.splits:
            kinds = subject.kinds[split.split]
            yield from self._swapped(subject, split, kinds.are(SWAPPED))
            yield from self._not_finite(subject, split, kinds.are(NOT_FINITE))
            yield from self._flat(subject, split, kinds.are(WITHOUT_AREA))
            yield from self._outside(subject, split, kinds.are(OUTSIDE))

    def _swapped(
        self, subject: RecordSubject, split: SplitCensus, swapped: NDArray[np.bool_]
    ) -> Iterator[Finding]:
        if not swapped.any():
            return
        corners = split.boxes.corners[swapped]
        rows = int((corners[:, 2] < corners[:, 0]).sum())
        columns = int((corners[:, 3] < corners[:, 1]).sum())
        told = [f"{rows:,} with ymin above ymax"] if rows else []
        told += [f"{columns:,} with xmin above xmax"] if columns else []
        yield self.told(
            subject,
            split,
            "boxes_corners_swapped",
            Severity.FATAL,
            found=f"{int(swapped.sum()):,} of {len(swapped):,} boxes in "
            f"{split.images_told(swapped)} have their corners in the wrong order: "
            + ", ".join(told),
            expected="ymin <= ymax and xmin <= xmax",
            why="An assertion in the input stops training at the first of them; on a TPU they are "
            "dropped instead.",
            mend="write xmin and xmax (ymin and ymax) in their order; COCO's bbox is x, y, width, "
            "height",
            count=int(swapped.sum()),
            counted="boxes",
            examples=split.examples(swapped),
            loss_ap=90.0,
        )

    def _not_finite(
        self, subject: RecordSubject, split: SplitCensus, bad: NDArray[np.bool_]
    ) -> Iterator[Finding]:
        if not bad.any():
            return
        infinite = bool(np.isinf(split.boxes.corners[bad]).any())
        yield self.told(
            subject,
            split,
            "boxes_not_finite",
            Severity.FATAL if infinite else Severity.WARNING,
            found=f"{int(bad.sum()):,} of {len(bad):,} boxes have a corner that is NaN or infinite",
            expected="numbers from 0 to 1",
            why="An infinite corner makes the loss NaN."
            if infinite
            else "Boxes with NaN are dropped, and their objects are trained as background.",
            mend="find what divides by 0 where the records are written",
            count=int(bad.sum()),
            counted="boxes",
            examples=split.examples(bad),
            loss_ap=60.0 if infinite else 3.0,
        )

    def _flat(
        self, subject: RecordSubject, split: SplitCensus, flat: NDArray[np.bool_]
    ) -> Iterator[Finding]:
        if not flat.any():
            return
        yield self.told(
            subject,
            split,
            "boxes_without_area",
            Severity.WARNING,
            found=f"{int(flat.sum()):,} of {len(flat):,} boxes in {split.images_told(flat)} "
            "have no height or no width",
            expected="boxes with an area",
            why="They are not dropped: the box coder takes the logarithm of their side, and the "
            "target of the anchor that is forced on them is tens of times larger than others.",
            mend="leave them out when the records are written",
            count=int(flat.sum()),
            counted="boxes",
            examples=split.examples(flat),
            loss_ap=3.0,
        )

    def _outside(
        self, subject: RecordSubject, split: SplitCensus, outside: NDArray[np.bool_]
    ) -> Iterator[Finding]:
        if not outside.any():
            return
        corners = split.boxes.corners[outside]
        beyond = float(corners.max())
        far = int((corners > _MOST_COORDINATE).any(axis=1).sum())
        stops = far > 0 and subject.meta_architecture == "faster_rcnn"
        severity = by_share(float(outside.mean()), warning=0.01, critical=0.2)
        why = "The part outside has no pixels: the target is a box that cannot be seen."
        if stops:
            severity = Severity.FATAL
            why = "Faster R-CNN stops where a coordinate is above 1.1."
        yield self.told(
            subject,
            split,
            "boxes_outside",
            severity,
            found=f"{int(outside.sum()):,} of {len(outside):,} boxes in "
            f"{split.images_told(outside)} reach more than 1.5 pixels outside, from "
            f"{float(corners.min()):.3g} to {beyond:.3g}"
            + (f"; {far:,} beyond 1.1" if far else ""),
            expected="boxes inside the image, 0 to 1",
            why=why,
            mend="clip boxes when the records are written, and look at these images with "
            "`data show`: their size may be another than annotated",
            count=int(outside.sum()),
            counted="boxes",
            examples=split.examples(outside),
            loss_ap=5.0,
        )
