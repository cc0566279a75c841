"""Class ids of the records against the label map."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import UNKNOWN_CLASS
from odapi_repro.datasets.census import NO_LABEL, NO_NAME, SplitCensus
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

_MOST_NAMED = 4


class ClassIds(RecordRule):
    """Class ids are numbered from 0, are not in the label map, or are not those of their names.

    Anti-pattern

        image/object/class/label: 0 2 1      # label map: ids 1 to 3

    Id 0 is the background: its boxes get no class, and all other objects that of their neighbour.

    Best practice

        image/object/class/label: 1 3 2
        image/object/class/text: 'cat' 'dog' 'bird'

    Source

    inputs.transform_input_data: `tf.one_hot(id - 1, num_classes)` is all zeros for id 0 and for ids
    above num_classes. data_decoders/tf_example_decoder.py: where a record has class texts the label
    map decides by them, and labels are not looked at.
    """

    code = "REC011"
    name = "records.class_ids"
    causes = ("label_id_offset", "class_id_unknown", "label_id_disagrees")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for labels that decide, then for those that names overrule."""
        label_map = subject.census.label_map
        for split in subject.census.splits:
            labelled = split.boxes.label != NO_LABEL
            named = split.boxes.name != NO_NAME
            decided = labelled & ~named if label_map is not None else labelled
            yield from self._deciding(subject, split, label_map, decided)
            if label_map is not None:
                yield from self._overruled(subject, split, label_map, labelled & named)

    def _deciding(
        self,
        subject: RecordSubject,
        split: SplitCensus,
        label_map: LabelMap | None,
        decided: NDArray[np.bool_],
    ) -> Iterator[Finding]:
        labels = split.boxes.label
        known = np.array(sorted(label_map.items), np.int64) if label_map else None
        below = decided & (labels < 1)
        unknown = below if known is None else decided & ~np.isin(labels, known)
        if not unknown.any():
            return
        used = np.unique(labels[decided])
        highest = int(known[-1]) if known is not None else int(used[-1])
        from_zero = bool(used[0] == 0)
        one_above = known is not None and used[0] > 1 and used[-1] == highest + 1
        if from_zero or one_above:
            start = 0 if from_zero else int(used[0])
            unfit = int(unknown.sum())
            yield self.told(
                subject,
                split,
                "label_id_offset",
                Severity.FATAL,
                found=f"{int(decided.sum()):,} boxes are numbered {start} to {int(used[-1])}"
                + (
                    f", and the label map from {int(known[0])} to {highest}"
                    if known is not None
                    else ""
                )
                + f": {unfit:,} in {split.images_told(unknown)} have an id that no class "
                "has",
                expected="ids from 1, as the label map has them",
                why="Id 0 is the background: its boxes have no class, and every other object is "
                "trained as the class beside its own.",
                mend="write the records again with ids from 1",
                count=int(decided.sum()),
                counted="boxes",
                examples=split.examples(unknown),
                loss_ap=85.0,
            )
            return
        ids = ", ".join(map(str, np.unique(labels[unknown])[:_MOST_NAMED]))
        yield self.told(
            subject,
            split,
            "class_id_unknown",
            Severity.FATAL if 2 * unknown.sum() > decided.sum() else Severity.CRITICAL,
            found=f"{int(unknown.sum()):,} of {int(decided.sum()):,} boxes in "
            f"{split.images_told(unknown)} have ids that the label map does not have: "
            f"{ids}",
            expected="ids of the label map",
            why="Above num_classes a box has no class in training and counts as class 1 in the "
            "evaluation.",
            mend="use the label map that the records were written with",
            count=int(unknown.sum()),
            counted="boxes",
            examples=split.examples(unknown),
            loss_ap=40.0,
        )

    def _overruled(
        self,
        subject: RecordSubject,
        split: SplitCensus,
        label_map: LabelMap,
        both: NDArray[np.bool_],
    ) -> Iterator[Finding]:
        by_name = split.class_ids(label_map)
        differs = both & (by_name != UNKNOWN_CLASS) & (by_name != split.boxes.label)
        if not differs.any():
            return
        offsets = np.unique(split.boxes.label[differs] - by_name[differs])
        one = int(np.flatnonzero(differs)[0])
        told = (
            f"all lower by {-int(offsets[0])}"
            if len(offsets) == 1 and offsets[0] < 0
            else f"'{split.vocabulary[split.boxes.name[one]]}' has label "
            f"{int(split.boxes.label[one])}, and id {int(by_name[one])} in the label map"
        )
        yield self.told(
            subject,
            split,
            "label_id_disagrees",
            Severity.INFO if len(offsets) == 1 else Severity.WARNING,
            found=f"{int(differs.sum()):,} of {int(both.sum()):,} boxes in "
            f"{split.images_told(differs)} have another label than their name: {told}",
            expected="the id that the label map gives the name",
            why="With this label map the names decide. A reader without one takes the labels, and "
            "one of the two is wrong.",
            mend="write label and text from the same table",
            count=int(differs.sum()),
            counted="boxes",
            examples=split.examples(differs),
            loss_ap=2.0,
        )
