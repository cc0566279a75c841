"""Boxes that belong to the image resized, or lie beside their masks."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.datasets.census.box_kinds import OFF_MASK, RESIZED, ResizedBoxes
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share
from odapi_repro.page.numbers import count_of

# box_list_ops.to_absolute_coordinates asserts that no coordinate is above this.
_MOST_COORDINATE = 1.1


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
