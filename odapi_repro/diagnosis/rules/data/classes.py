"""num_classes against the label map."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import input_patterns, is_placeholder

_COCO_IDS = 90
_COCO = re.compile(r"coco|(?:train|val|test)[_-]?20(?:14|17)", re.IGNORECASE)


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
    background is not counted. Where the label map is not here, 90 is doubted when no path is called
    COCO's.

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
        """Compares with the highest id of the label map, or with names where none is here."""
        label_map = subject.files.label_map
        if not hasattr(subject.pipeline.model, "num_classes"):
            return
        given = subject.pipeline.num_classes
        field = f"model.{subject.pipeline.meta_architecture}.num_classes"
        if given < 1:
            yield self._none(subject, field, given)
            return
        if label_map is None:
            yield from self._by_names(subject, field, given)
            return
        if label_map.num_classes == given:
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
            severity = Severity.WARNING if given >= 2 * highest else Severity.INFO
            loss = _loss(given / max(highest, 1))
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

    def _by_names(self, subject: Subject, field: str, given: int) -> Iterator[Finding]:
        """Doubts COCO's number where records and label maps are named, and none after COCO."""
        reader, records = (
            subject.pipeline.proto.train_input_reader,
            input_patterns(subject.pipeline),
        )
        paths = [*records, str(reader.label_map_path)]
        others = input_patterns(subject.pipeline, evaluation=True)
        others += [str(one.label_map_path) for one in subject.pipeline.proto.eval_input_reader[:1]]
        named = bool(records) and not any(is_placeholder(path) for path in paths)
        if given != _COCO_IDS or not named or any(map(_COCO.search, paths + others)):
            return
        yield self.finding(
            "num_classes_mismatch",
            Severity.WARNING,
            fields=(field, "train_input_reader.label_map_path"),
            found=f"num_classes is {given}, as COCO has it, and no path of records or label maps "
            "is called COCO's",
            expected="the highest id of your label map",
            why="With fewer classes most outputs never have an example: they cost time, and add to "
            "the class loss without meaning anything.",
            loss_ap=_loss(10),
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


def _loss(surplus: float) -> float:
    """The AP that outputs without examples may cost, at so many times the classes there are.

    They only ever learn to say no. Judged, nobody published it: one for each doubling.
    """
    return min(6.0, math.log2(surplus)) if surplus >= 2 else 0.0
