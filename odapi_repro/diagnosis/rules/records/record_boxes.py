"""Rules about the boxes in records."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.datasets.census.box_kinds import (
    ABSOLUTE,
    NOT_FINITE,
    OFF_MASK,
    OUTSIDE,
    RESIZED,
    SWAPPED,
    WELL,
    WITHOUT_AREA,
    ResizedBoxes,
)
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share
from odapi_repro.page.numbers import count_of

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


# box_list_ops.to_absolute_coordinates asserts that no coordinate is above this.


class BoxesAlreadyResized(RecordRule):
    """Boxes are in pixels of the resized image, divided by the sides of the original.

    Anti-pattern

        image = image.resize((512, 512))
        boxes = boxes * (512 / width, 512 / height)     # pixels of the resized image
        xmin = boxes[:, 0] / width                      # and the sides of the original

    Boxes lie elsewhere: nearer to the upper left corner in large images, where every one is valid,
    and beyond the border in small ones. An SSD's training does not warn, and AP stays near 0.

    Best practice

    Divide by the sides of the image that the boxes were made for. Write original images and shares:
    the pipeline's own resizer moves both together.

    Source

    inputs.transform_input_data: boxes are shares and follow the resizer by themselves. Told by the
    masks, box by box, where records have them; otherwise by a limit in pixels that no box passes
    whatever the size of its image, and at which boxes of three places or more end: objects that lie
    at the same place in every image count once. Where those images have one height or one width it
    may be a region that was looked at, and is a `warning` that asks.
    """

    code = "REC007"
    name = "records.boxes_already_resized"
    causes = ("boxes_already_resized",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split whose boxes belong to another size."""
        for split in subject.census.splits:
            kinds = subject.kinds[split.split]
            moved = kinds.are(RESIZED)
            if kinds.resized is not None and not kinds.resized.is_certain:
                yield self._asked(subject, split, kinds.resized)
            if kinds.resized is None or not moved.any():
                continue
            proof = (
                ", as their masks prove"
                if kinds.resized.by_masks
                else ": no box goes past it, and in "
                f"{count_of(kinds.resized.touching, 'image')} a box ends at its edge"
            )
            most = float(split.boxes.corners[moved].max())
            beyond = int((split.boxes.corners[moved] > _MOST_COORDINATE).any(axis=1).sum())
            stops = beyond > 0 and subject.meta_architecture == "faster_rcnn"
            yield self.told(
                subject,
                split,
                "boxes_already_resized",
                Severity.FATAL
                if stops
                else by_share(float(moved.mean()), warning=0.0, critical=0.01),
                found=f"{int(moved.sum()):,} of {len(moved):,} boxes in "
                f"{split.images_told(moved)} fit an image resized to "
                f"{kinds.resized.target}{proof}",
                expected="shares of the sides of the image that is in the record",
                why="They were divided by the original's sides: every box is a valid one and lies "
                "beside its object."
                if not beyond
                else "They were divided by the original's sides and lie beside their objects, "
                f"{beyond:,} of them beyond the image, up to {most:.3g} times its side"
                + ("; Faster R-CNN stops above 1.1." if stops else "."),
                mend="divide by the sides of the resized image, or write boxes of the original",
                count=int(moved.sum()),
                counted="boxes",
                examples=split.examples(moved),
                loss_ap=70.0 * float(moved.mean()),
            )

    def _asked(self, subject: RecordSubject, split: SplitCensus, resized: ResizedBoxes) -> Finding:
        return self.told(
            subject,
            split,
            "boxes_already_resized",
            Severity.WARNING,
            found="no box passes the border that its image would have if resized to "
            f"{resized.target}; boxes end there in {resized.touching:,} images, nearly all of "
            "one height or one width",
            expected="shares of the sides of the image that is in the record",
            why="Either objects lie in that part of the images only (a belt, a region that was "
            "labelled), or boxes of resized images were divided by the original's sides and lie "
            "beside their objects: boxes alone cannot tell.",
            mend="look at some of these images with `data show`; if boxes lie beside their "
            "objects, divide by the sides of the resized image",
            count=resized.touching,
            counted="images",
            loss_ap=5.0,
        )


class BoxesOffMasks(RecordRule):
    """Boxes lie elsewhere than the masks of their objects.

    Anti-pattern

        # masks from one version of the annotations, boxes from another

    Best practice

        ymin, xmin = mask_rows.min() / height, mask_columns.min() / width

    A mask's own box is the object's box, but for the pixel that rounding takes.

    Source

    COCO's `bbox` is the box around its `segmentation` (cocodataset.org, format of the data). Told
    where an edge is off by more than 1.5 pixels and 5 % of the mask's side.
    """

    code = "REC009"
    name = "records.boxes_off_masks"
    causes = ("boxes_differ_from_masks",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with boxes beside their masks."""
        for split in subject.census.splits:
            kinds = subject.kinds[split.split]
            off = kinds.are(OFF_MASK)
            if not off.any():
                continue
            share = float(off.mean())
            how = ", ".join(f"{count:,} {word}" for word, count in kinds.off_mask.items())
            yield self.told(
                subject,
                split,
                "boxes_differ_from_masks",
                by_share(share, warning=0.01, critical=0.2),
                found=f"{int(off.sum()):,} of {len(off):,} boxes in {split.images_told(off)} "
                f"are not where their masks are: {how}",
                expected="the box around the mask, to 1.5 pixels or 5 % of its side",
                why="One of the two is wrong; boxes that are off teach positions that are off, and "
                "cost most of AP at high IoU.",
                mend="look at these images with `data show`; write the boxes from the masks, or "
                "compare both with the json (--annotations)",
                count=int(off.sum()),
                counted="boxes",
                examples=split.examples(off),
                loss_ap=40.0 * share,
            )


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


# Judgements: the share bounds what recall can be, and nobody published what it costs.
_MANY, _MOST = 0.01, 0.1


class BoxesDoubled(RecordRule):
    """Objects of an image are there more than once.

    Anti-pattern

        annotations = json_a["annotations"] + json_b["annotations"]    # and some are in both

    Best practice

    Each object once. Two objects of one class never have the same box to the last digit but by a
    slip of the annotators; a handful is `info`.

    Source

    In the evaluation a detection matches one object only (pycocotools.cocoeval, evaluateImg), and
    non-maximum suppression leaves one box in one place: the second object is missed, and recall
    stays below 1 by their share. In training both are matched to the same anchors, and each counts
    against max_number_of_boxes. Told by image, class and all four corners as float32.
    """

    code = "REC025"
    name = "records.boxes_doubled"
    causes = ("boxes_doubled",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with objects beyond the first of their class and box."""
        for split in subject.census.splits:
            surplus = _surplus(split, split.class_ids(subject.census.label_map))
            count = int(surplus.sum())
            if not count:
                continue
            share = count / len(surplus)
            training = split.split == "train"
            yield self.told(
                subject,
                split,
                "boxes_doubled",
                by_share(share, warning=_MANY, critical=2.0 if training else _MOST),
                found=f"{count:,} of {len(surplus):,} boxes in {split.images_told(surplus)} "
                "repeat one before them: the same class and the same corners",
                expected="each object once",
                why="The set has fewer objects than it seems, and copies count against "
                "max_number_of_boxes."
                if training
                else "A detection matches one object only: copies are always missed, and recall "
                f"cannot pass {1 - share:.3f}.",
                mend="write the records again without them; where two jsons were merged, leave out "
                "annotations of the same image, category and bbox",
                count=count,
                counted="boxes",
                examples=split.examples(surplus),
                loss_ap=(2.0 if training else 40.0) * share,
            )


def _surplus(split: SplitCensus, classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Gives which objects repeat an earlier one, bool [M]; NaN repeats nothing."""
    boxes = split.boxes
    columns = (*boxes.corners.T, classes, boxes.image)
    order = np.lexsort(columns)  # stable, so that the first of a kind stays the first
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for column in columns:
        same &= column[order][1:] == column[order][:-1]
    surplus = np.zeros(len(order), np.bool_)
    surplus[order[1:]] = same
    return surplus
