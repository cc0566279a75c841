"""The label map itself, and the model's number of classes."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject


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
                f"{split.images_told(above)} have ids above num_classes {given}, up to "
                f"{highest}",
                expected=f"num_classes: {highest}",
                why="They have no class in training, and count as class 1 in the evaluation.",
                loss_ap=70.0,
                fix=(FieldFix(field, highest),),
                count=int(above.sum()),
                counted="boxes",
                examples=split.examples(above),
            )
