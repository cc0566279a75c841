"""What there is much and little of: classes, crowds, empty images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share
from odapi_repro.diagnosis.rules.records.class_shares import classes_apart

# train2017 has 262,465 people and 198 hair driers, 1,300 to 1, and its references are trained so.
_RATIO = 1000.0
_FEW_OBJECTS = 10
# Of train2017's 118,287 images 1,021 have no object (0.9 %); 10,052 of its 860,001 objects are
# crowds.
_MANY_EMPTY, _MOSTLY_EMPTY = 0.3, 0.8
_MANY_CROWDS = 0.05
_MOST_NAMED = 5


class ClassBalance(RecordRule):
    """Classes of the label map have no objects, hardly any, or far more than others.

    Anti-pattern

        # 40,000 objects of class car, 6 of class ambulance

    AP is the mean over classes: one that cannot be learnt from six objects costs as much as any.

    Best practice

    More images of the rare classes; a data set of them alone, mixed in by
    `sample_from_datasets_weights`; or fewer classes.

    Source

    COCO's train2017 spans 1,300 to 1 between its most and least frequent class, and its references
    are trained on it as it is: only more than 1,000 to 1 is told, and fewer than 10 objects.
    Classes without objects in the evaluation have no AP and are left out of the mean (pycocotools:
    -1).
    """

    code = "REC017"
    name = "records.class_balance"
    causes = ("class_imbalance", "classes_without_objects")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for absent classes and for an imbalance beyond COCO's."""
        label_map = subject.census.label_map
        if label_map is None:
            return
        told = [one.class_id for one in classes_apart(subject.census)]  # by REC028
        for split in subject.census.splits:
            ids = split.class_ids(label_map)
            known = np.array(sorted(label_map.items), np.int64)
            counts = np.array([(ids == one).sum() for one in known])
            named = {int(one): label_map.items[int(one)] for one in known}
            if len(ids) and counts.sum() == len(
                ids
            ):  # else names or ids are wrong, which other rules tell
                absent = known[(counts == 0) & ~np.isin(known, told)].tolist()
                yield from self._absent(subject, split, absent, named)
            if split.split == "train":
                yield from self._uneven(subject, split, known, counts, named)

    def _absent(
        self, subject: RecordSubject, split: SplitCensus, absent: list[int], named: dict[int, str]
    ) -> Iterator[Finding]:
        if not absent:
            return
        training = split.split == "train"
        told = ", ".join(f"{named[one]} ({one})" for one in absent[:_MOST_NAMED])
        yield self.told(
            subject,
            split,
            "classes_without_objects",
            Severity.WARNING if training else Severity.INFO,
            found=f"{len(absent)} of {len(named)} classes have no object: {told}"
            + (" ..." if len(absent) > _MOST_NAMED else ""),
            expected="objects of every class of the label map",
            why="They cannot be learnt, and each counts as AP 0 where the evaluation has them."
            if training
            else "They have no AP, and the mean is that of the others.",
            mend="add images of them, or leave them out of the label map",
            count=len(absent),
            counted="classes",
            loss_ap=2.0,
            name="label_map_path",
        )

    def _uneven(
        self,
        subject: RecordSubject,
        split: SplitCensus,
        known: NDArray[np.int64],
        counts: NDArray[np.int64],
        named: dict[int, str],
    ) -> Iterator[Finding]:
        present = counts > 0
        if not present.any():
            return
        known, counts = known[present], counts[present]
        rare = counts < np.maximum(_FEW_OBJECTS, counts.max() / _RATIO)
        if not rare.any():
            return
        order = np.argsort(counts[rare], kind="stable")
        told = ", ".join(
            f"{named[int(known[rare][i])]} {int(counts[rare][i]):,}" for i in order[:_MOST_NAMED]
        )
        most = int(counts.argmax())
        yield self.told(
            subject,
            split,
            "class_imbalance",
            Severity.INFO,
            found=f"{int(rare.sum())} of {len(named)} classes are rare: {told}; "
            f"{named[int(known[most])]} has {int(counts[most]):,} objects",
            expected=f"at least {_FEW_OBJECTS} objects a class, and no more than "
            f"{_RATIO:,.0f} to 1 between classes",
            why="AP is the mean over classes: one that cannot be learnt costs as much as any.",
            mend="add images of the rare classes",
            count=int(rare.sum()),
            counted="classes",
        )


class EmptyImages(RecordRule):
    """Many images have no object.

    Anti-pattern

        # frames of a camera that sees nothing for most of the day: 94 % of the images are empty

    Or annotations that were lost on the way: images keep their names and lose their boxes.

    Best practice

    Some empty images teach what is background. Where most are, steps are spent on nothing:
    leave out some of them, or compare with the annotations (--annotations).

    Source

    0.9 % of COCO's train2017 has no object. The thresholds, 30 % and 80 %, are a judgement.
    """

    code = "REC019"
    name = "records.images_without_boxes"
    causes = ("images_without_boxes",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split of which a large share is empty."""
        for split in subject.census.splits:
            empty = split.images.num_boxes[split.images.num_boxes >= 0] == 0
            if not len(empty) or empty.mean() < _MANY_EMPTY:
                continue
            share = float(empty.mean())
            whole = bool(empty.all())
            yield self.told(
                subject,
                split,
                "images_without_boxes",
                Severity.FATAL if whole else by_share(share, warning=_MOSTLY_EMPTY),
                found=f"{int(empty.sum()):,} of {len(empty):,} images ({100 * share:.0f} %) have no"
                " box",
                expected="boxes in most images, or a reason for empty ones",
                why="There is nothing to learn from, and nothing to score."
                if whole
                else "A step on an empty image teaches background alone; so many of them often mean"
                " that annotations were lost.",
                mend="compare with the annotations: --annotations FILE.json",
                count=int(empty.sum()),
                counted="images",
                examples=split.images.names(np.flatnonzero(split.images.num_boxes == 0)[:5]),
                loss_ap=100.0 if whole else 2.0,
            )


class CrowdShare(RecordRule):
    """Many boxes are crowd regions, which are trained as single objects.

    Anti-pattern

        image/object/is_crowd: 1 1 1 1 1 0     # a tool that marks whatever overlaps as crowd

    Best practice

        image/object/is_crowd: 0 0 0 0 0 0

    A crowd region is one box around many objects that nobody drew one by one.

    Source

    The OD API trains crowd regions as ordinary objects, and its metric leaves them out
    (meta_architectures/ssd_meta_arch.py does not look at groundtruth_is_crowd). 1.2 % of COCO's
    objects are crowds, and leaving them out was seen to make no difference: DAT010.
    """

    code = "REC020"
    name = "records.crowd_share"
    causes = ("crowd_trained_as_positive",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with more than a few crowd regions."""
        for split in subject.census.splits:
            crowd = split.boxes.crowd
            if not len(crowd) or crowd.mean() < _MANY_CROWDS:
                continue
            share = float(crowd.mean())
            training = split.split == "train"
            yield self.told(
                subject,
                split,
                "crowd_trained_as_positive",
                by_share(share, warning=0.2, critical=0.8),
                found=f"{int(crowd.sum()):,} of {len(crowd):,} boxes ({100 * share:.0f} %) are "
                "crowd regions",
                expected="a few in a hundred: COCO has 1.2 %",
                why="Each is trained as one large object."
                if training
                else "The metric ignores them: it scores the other boxes alone.",
                mend="check what wrote is_crowd; leave the regions out of the training records",
                count=int(crowd.sum()),
                counted="boxes",
                examples=split.examples(crowd),
                loss_ap=5.0 * share,
            )
