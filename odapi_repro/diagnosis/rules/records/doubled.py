"""Objects that are there twice: the same class, and the same box to the last digit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.census import SplitCensus
from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share

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
