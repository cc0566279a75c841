"""Boxes that the pipeline's own augmentation leaves."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

# EfficientDet-D3's own augmentation leaves 935 of 1,002 boxes of 100 embedded images, drawn three
# times each; one that throws away more than half trains mostly on what is left over.
_MANY_LOST, _MOST_LOST = 0.5, 0.8
_RECORDS = ("train_input_reader.tf_record_input_reader.input_path",)


class BoxesLostInAugmentation(RecordRule):
    """The pipeline's augmentation throws most boxes away, or stops at some records.

    Anti-pattern

        data_augmentation_options {
          random_crop_image {
            min_object_covered: 0.0
            min_area: 0.05
            overlap_thresh: 0.9
          }
        }

    Best practice

        data_augmentation_options {
          random_crop_image {
            min_object_covered: 1.0
            overlap_thresh: 0.3
          }
        }

    Source

    Counted, by running the OD API's own input functions on some records: inputs.transform_data_fn
    with core/preprocessor.py. What is lost by intent is no loss: a crop shows other objects each
    time; a box that never survives is never learnt.
    """

    code = "REC024"
    name = "records.boxes_lost_in_augmentation"
    causes = ("boxes_lost_in_augmentation", "input_functions_stop")

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for records that stop the input, and for boxes that are lost."""
        augmented = subject.augmented
        if augmented is None:
            return
        fields = ("train_config.data_augmentation_options",)
        draws = augmented.records * augmented.draws
        if augmented.refused.count:
            yield self.finding(
                "input_functions_stop",
                Severity.FATAL,
                # What is known to be wrong is in the records, whatever the augmentation.
                fields=_RECORDS if augmented.refused_mend else fields,
                found=f"the OD API's input functions stop at {augmented.refused.count:,} of "
                f"{draws:,} draws: {augmented.refused.detail}",
                expected="an input that goes through all records",
                why="Training stops when such a record comes round.",
                loss_ap=90.0,
                count=augmented.refused.count,
                counted="draws",
                examples=augmented.refused.examples,
                mend=augmented.refused_mend or "mend these records, or leave them out",
            )
        lost = 1 - augmented.share_left
        if lost < _MANY_LOST:
            return
        yield self.finding(
            "boxes_lost_in_augmentation",
            Severity.CRITICAL if lost >= _MOST_LOST else Severity.WARNING,
            fields=fields,
            found=f"{augmented.boxes_before - augmented.boxes_after:,} of "
            f"{augmented.boxes_before:,} boxes ({100 * lost:.0f} %) are lost in augmentation, in "
            f"{draws:,} draws of {augmented.records:,} images; {augmented.emptied.count:,} draws "
            "are left without any",
            expected="more than half of the boxes left",
            why="The model is trained on what is left over: large objects near the middle of their "
            "images.",
            loss_ap=10.0 * lost,
            count=augmented.boxes_before - augmented.boxes_after,
            counted="boxes",
            examples=augmented.emptied.examples,
            mend="crop less; look at what is left with `data show`",
        )
