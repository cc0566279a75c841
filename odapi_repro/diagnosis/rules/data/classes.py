"""num_classes against the label map."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject

__all__ = ["NumClassesMismatch"]


class NumClassesMismatch(Rule):
    """num_classes is not the highest id of the label map.

    Anti-pattern

        model { ssd { num_classes: 90 } }      # label map: ids 1 to 5

        model { ssd { num_classes: 1 } }       # label map: ids 1 and 2

    The first trains 85 outputs that never have an example. The second drops classes: an id above
    num_classes becomes a box without a class in training, and class 1 in the evaluation.

    Best practice

        model { ssd { num_classes: 5 } }       # label map: ids 1 to 5

    The highest id counts, not the number of names: COCO has 80 names and ids up to 90. The
    background is not counted.

    0, which an unset num_classes is, trains nothing: EfficientDet and CenterNet stop at a layer
    without filters, the others have an output for the background alone.

    Source

    inputs.transform_input_data: tf.one_hot(id - 1, num_classes) is all zeros above num_classes;
    model_lib_v2.prepare_eval_dict takes argmax + 1 of it, which is 1.
    """

    code = "DAT005"
    name = "data.num_classes"
    causes = ("num_classes_mismatch",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the label map is here and its highest id is another number."""
        label_map = subject.files.label_map
        if not hasattr(subject.pipeline.model, "num_classes"):
            return
        given = subject.pipeline.num_classes
        field = f"model.{subject.pipeline.meta_architecture}.num_classes"
        if given < 1:
            yield self._none(subject, field, given)
            return
        if label_map is None or label_map.num_classes == given:
            return
        highest = label_map.num_classes
        names = len(label_map.items)
        if highest > given:
            above = [f"{name} ({i})" for i, name in sorted(label_map.items.items()) if i > given]
            severity, loss = Severity.FATAL, 70.0
            why = (
                f"{', '.join(above[:3])}{' ...' if len(above) > 3 else ''} cannot be learnt: their "
                "boxes have no class in training, and count as class 1 in the evaluation."
            )
        else:
            # The surplus outputs only ever learn to say no; judged, nobody published it.
            severity = Severity.WARNING if given >= 2 * highest else Severity.INFO
            loss = 2.0 if given >= 2 * highest else 0.0
            why = (
                f"{given - highest} outputs never have an example: they cost time, and add to the "
                "class loss without meaning anything."
            )
        yield self.finding(
            "num_classes_mismatch",
            severity,
            fields=(field, "train_input_reader.label_map_path"),
            found=f"num_classes is {given}, and the label map has {names} names with ids up to "
            f"{highest}",
            expected=f"num_classes: {highest}",
            why=why,
            loss_ap=loss,
            fix=(FieldFix(field, highest),),
        )

    def _none(self, subject: Subject, field: str, given: int) -> Finding:
        label_map = subject.files.label_map
        background = given == 0 and _adds_background(subject)
        return self.finding(
            "num_classes_mismatch",
            Severity.FATAL,
            fields=(field,),
            found=f"num_classes is {given}",
            expected=f"num_classes: {label_map.num_classes}"
            if label_map is not None
            else "the highest id of the label map",
            why="The model has an output for the background and none for a class: it detects "
            "nothing."
            if background
            else "The OD API stops while it builds the model: a layer without filters.",
            loss_ap=90.0,
            fix=(FieldFix(field, label_map.num_classes),) if label_map is not None else (),
        )


def _adds_background(subject: Subject) -> bool:
    if subject.pipeline.meta_architecture == "ssd":
        return bool(subject.pipeline.proto.model.ssd.add_background_class)
    return subject.pipeline.meta_architecture == "faster_rcnn"
