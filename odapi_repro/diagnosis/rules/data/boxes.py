"""Ground-truth boxes that the reader drops."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

# The proto's default, and what configs/tf2 keep on COCO.
_DEFAULT = 100
# COCO has 860,000 boxes on 118,000 images, 7 an image: 5 leave out most of them, 20 those of
# crowded images. A judgement: nobody published the price.
_FEW, _VERY_FEW = 20, 5


class MaxBoxesTruncates(Rule):
    """A reader keeps fewer ground-truth boxes an image than there may be.

    Anti-pattern

        train_input_reader {
          max_number_of_boxes: 10
        }

    Boxes beyond the tenth are dropped without a word, and the objects in them are trained as
    background. In the eval reader they are missing from the ground truth.

    Best practice

        train_input_reader {
          max_number_of_boxes: 100
        }

    At least as many as the most crowded image has; memory for masks grows with it, for boxes
    hardly. `train_config.max_number_of_boxes` has no effect.

    Source

    inputs.pad_input_data_to_static_shapes, with InputReader.max_number_of_boxes (default 100).
    """

    code = "DAT007"
    name = "data.max_boxes"
    causes = ("max_boxes_truncates_gt",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for each reader that keeps fewer boxes than the reference and 100."""
        proto, reference = subject.pipeline.proto, subject.reference_pipeline.proto
        readers = [
            ("train_input_reader", proto.train_input_reader, reference.train_input_reader),
        ]
        if proto.eval_input_reader and reference.eval_input_reader:
            theirs = reference.eval_input_reader[0]
            readers.append(("eval_input_reader[0]", proto.eval_input_reader[0], theirs))
        for name, reader, other in readers:
            kept = int(reader.max_number_of_boxes)
            usual = min(int(other.max_number_of_boxes), _DEFAULT)
            if kept >= usual:
                continue
            field = f"{name}.max_number_of_boxes"
            trained = name == "train_input_reader"
            if kept <= 0:
                severity, loss = Severity.FATAL, 100.0
            elif kept < _VERY_FEW:
                severity, loss = Severity.CRITICAL, 20.0
            else:
                severity = Severity.WARNING if kept <= _FEW else Severity.INFO
                loss = 4.0 if kept <= _FEW else 0.5
            yield self.finding(
                "max_boxes_truncates_gt",
                severity,
                fields=(field,),
                found=f"{name} keeps {max(kept, 0)} boxes of an image",
                expected=f"{usual}, or as many as the most crowded image has",
                why=(
                    "Boxes beyond these are dropped silently, and their objects are trained as "
                    "background."
                    if trained
                    else "Boxes beyond these are no ground truth: finding them is a false alarm."
                ),
                loss_ap=loss,
                fix=(FieldFix(field, usual),),
            )
