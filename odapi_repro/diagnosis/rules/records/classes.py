"""Classes of the records against the label map and the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.annotations import UNKNOWN_CLASS
from odapi_repro.datasets.census import NO_LABEL, NO_NAME, SplitCensus
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

__all__ = ["ClassIds", "ClassNames", "ClassesBeyondModel", "LabelMapUnusable"]

_MOST_NAMED = 4


class LabelMapUnusable(RecordRule):
    """The label map cannot be used, or is not there.

    Anti-pattern

        item { id: 0 name: 'cat' }

    Best practice

        item { id: 1 name: 'cat' }

    Ids from 1, each once, each with the name that the records hold.

    Source

    utils/label_map_util._validate_label_map; see DAT004 for what parses and means something else.
    """

    code = "REC010"
    name = "records.label_map"
    causes = ("label_map_malformed",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding for a label map that is named and cannot be used."""
        error = subject.census.label_map_error
        if error is None:
            return
        yield self.finding(
            "label_map_malformed",
            Severity.FATAL,
            fields=("train_input_reader.label_map_path",) if subject.config else (),
            found=f"the label map cannot be used: {error.found}",
            expected=error.expected,
            why="The OD API stops, or reads other classes than were meant; names and ids of the "
            "records could not be checked against it.",
            loss_ap=95.0,
            where=error.where,
            mend=error.mend,
        )


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
                + f": {unfit:,} in {split.image_count(unknown):,} images have an id that no class "
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
            f"{split.image_count(unknown):,} images have ids that the label map does not have: "
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
            f"{split.image_count(differs):,} images have another label than their name: {told}",
            expected="the id that the label map gives the name",
            why="With this label map the names decide. A reader without one takes the labels, and "
            "one of the two is wrong.",
            mend="write label and text from the same table",
            count=int(differs.sum()),
            counted="boxes",
            examples=split.examples(differs),
            loss_ap=2.0,
        )


class ClassNames(RecordRule):
    """Class names of the records are not in the label map, and their boxes are dropped.

    Anti-pattern

        image/object/class/text: 'Traffic Light'
        item { id: 10 name: 'traffic light' }

    Best practice

        image/object/class/text: 'traffic light'
        item { id: 10 name: 'traffic light' }

    Letter by letter: case and spaces count.

    Source

    data_decoders/tf_example_decoder._ClassTensorHandler gives -1 for a name that the label map does
    not have, even where the record holds a label too; utils/ops.filter_unrecognized_classes drops
    such boxes, in training and in the evaluation, without a word.
    """

    code = "REC012"
    name = "records.class_names"
    causes = ("label_name_mismatch",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with names that the label map does not have."""
        label_map = subject.census.label_map
        if label_map is None:
            return
        for split in subject.census.splits:
            named = split.boxes.name != NO_NAME
            unknown = named & (split.class_ids(label_map) == UNKNOWN_CLASS)
            count = int(unknown.sum())
            if not count:
                continue
            positions = np.unique(split.boxes.name[unknown])
            names = [split.vocabulary[int(one)] for one in positions]
            pairs = {name: near for name in names if (near := _same_but_for_form(name, label_map))}
            told = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            alike = next(iter(pairs.items()), None)
            have = ", ".join(f"'{name}'" for name in list(label_map.items.values())[:3])
            yield self.told(
                subject,
                split,
                "label_name_mismatch",
                Severity.FATAL if count == len(unknown) else Severity.CRITICAL,
                found=f"{count:,} of {len(unknown):,} boxes in {split.image_count(unknown):,} "
                f"images have a name that the label map does not have: {told}{more}",
                expected=f"names of the label map: {have} ..."
                if alike is None
                else f"'{alike[1]}' as the label map has it, and not '{alike[0]}'",
                why="The OD API drops these boxes without a word, even where the record has a label"
                " too; their objects are background in training and missing in the metric.",
                mend="name the label map that the records were written with"
                if alike is None
                else "write the names of the label map, letter by letter",
                count=count,
                counted="boxes",
                examples=split.examples(unknown),
                loss_ap=90.0 * count / len(unknown),
                name="label_map_path",
            )


class ClassesBeyondModel(RecordRule):
    """Objects have ids above the model's num_classes.

    Anti-pattern

        model { ssd { num_classes: 5 } }       # and boxes of class 6 in the records

    Best practice

        model { ssd { num_classes: 6 } }

    Source

    inputs.transform_input_data: the one-hot class of an id above num_classes is all zeros; see
    DAT005 for num_classes against the label map alone.
    """

    code = "REC013"
    name = "records.num_classes"
    causes = ("num_classes_mismatch",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with objects that the model has no output for."""
        if subject.config is None or not hasattr(subject.config.pipeline.model, "num_classes"):
            return
        given = subject.config.pipeline.num_classes
        for split in subject.census.splits:
            ids = split.class_ids(subject.census.label_map)
            above = ids > given
            if not above.any():
                continue
            highest = int(ids.max())
            field = f"model.{subject.meta_architecture}.num_classes"
            yield self.finding(
                "num_classes_mismatch",
                Severity.FATAL,
                fields=(field, *subject.field_of(split, "label_map_path")),
                found=f"{int(above.sum()):,} of {len(above):,} boxes in "
                f"{split.image_count(above):,} images have ids above num_classes {given}, up to "
                f"{highest}",
                expected=f"num_classes: {highest}",
                why="They have no class in training, and count as class 1 in the evaluation.",
                loss_ap=70.0,
                fix=(FieldFix(field, highest),),
                count=int(above.sum()),
                counted="boxes",
                examples=split.examples(above),
            )


def _same_but_for_form(name: str, label_map: LabelMap) -> str:
    """Gives the name of the label map that differs by case, spaces and dashes alone."""
    wanted = _bare(name)
    names = [*label_map.items.values(), *label_map.display_names.values()]
    return next((one for one in names if _bare(one) == wanted), "")


def _bare(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name).casefold()
