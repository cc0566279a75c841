"""SSD's box coder is not the reference's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.model_parts import Part, choice, rounded
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import Pipeline, descend

_PATH = "model.ssd.box_coder"
_SCALES = ("y_scale", "x_scale", "height_scale", "width_scale")


class BoxCoderDiffers(Rule):
    """Boxes are encoded with other scales than the reference's.

    The coder multiplies the offsets that the network learns, by 10, 10, 5, 5 or by 1. Scales of 1
    make the quadratic part of the box loss 100 times (centre) and 25 times (size) smaller, and a
    checkpoint's boxes are decoded wrongly under other scales than its own.

    Anti-pattern

    A zoo EfficientDet restored with checkpoint type `full` under configs/tf2's 10, 10, 5, 5: the
    published archives' own configs have 1, 1, 1, 1.

    Best practice

    Fine-tuning with type `detection` drops the box head, so either coder can be learnt. With
    `full`, and for every evaluation, keep the coder that the checkpoint was trained with.

    Source

    box_coders/faster_rcnn_box_coder (encode multiplies, decode divides; scales must be positive).
    Copies of the EfficientDet archives' configs in seven public repositories, all with 1, 1, 1, 1;
    docs/references.md names them. No archive itself was opened.
    """

    code: ClassVar[str] = "MOD007"
    name: ClassVar[str] = "model.box_coder"
    causes: ClassVar[tuple[str, ...]] = ("box_coder_differs", "box_coder_refused")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks for what is refused, then for a difference, then for a whole checkpoint."""
        if subject.pipeline.meta_architecture != "ssd":
            return
        coder = _coder(subject.pipeline)
        scales = _scales(coder)
        if not coder.kind or (scales is not None and not min(scales) > 0):
            yield self._refused(subject, coder, scales)
            return
        if not subject.same_architecture:
            return
        reference = _coder(subject.reference_pipeline)
        expected = _scales(reference)
        restore = subject.quantities.checkpoint_restore
        if coder.kind != reference.kind or scales is None or expected is None:
            if coder.kind != reference.kind:
                yield self._differs(subject, coder, reference, restore)
        elif not all(map(math.isclose, scales, expected)):
            yield self._differs(subject, coder, reference, restore)
        elif restore == "full" and _is_odapi_efficientdet(subject) and not _is_unit(scales):
            yield self._whole_checkpoint(coder, scales)

    def _refused(self, subject: Subject, coder: Part, scales: tuple[float, ...] | None) -> Finding:
        return self.finding(
            "box_coder_refused",
            Severity.FATAL,
            fields=[coder.chosen_path],
            found=f"box coder scales {_listed(scales)}" if scales else "no box coder",
            expected=_described(_coder(subject.reference_pipeline)),
            why="The OD API stops: it needs a box coder, and its scales must be positive.",
        )

    def _differs(self, subject: Subject, coder: Part, reference: Part, restore: str) -> Finding:
        scales, expected = _scales(coder), _scales(reference)
        archive = scales is not None and _is_unit(scales) and _is_odapi_efficientdet(subject)
        severity, loss_ap = Severity.WARNING, 1.0  # judged: nothing published
        if archive and restore in ("detection", "full"):
            severity, loss_ap = Severity.INFO, 0.0
            why = "The published archive's own config has these scales. " + (
                "Restored whole, its boxes are decoded rightly with them."
                if restore == "full"
                else "The box head starts anew, so either coder can be learnt; with 1, 1, 1, 1 "
                "the quadratic part of the box loss is 100 times (centre) and 25 times (size) "
                "smaller."
            )
        elif restore == "full":
            severity, loss_ap = Severity.CRITICAL, 20.0  # judged: every box is of a wrong size
            why = "The restored box head was trained for the other scales: it decodes wrong boxes."
        elif scales is None or expected is None:
            why = "The box head learns other numbers, and the box loss has another size."
        else:
            centre, size = (scales[0] / expected[0]) ** 2, (scales[2] / expected[2]) ** 2
            why = (
                f"The quadratic part of the box loss is {centre:.3g} times (centre) and {size:.3g} "
                "times (size) the reference's, with the classes weighing as before."
            )
        return self.finding(
            "box_coder_differs",
            severity,
            fields=[coder.at(name) for name in _SCALES] if scales else [coder.chosen_path],
            found=_described(coder),
            expected=_described(reference),
            why=why,
            loss_ap=loss_ap,
            fix=[]
            if severity is Severity.INFO or expected is None
            else [
                FieldFix(reference.at(name), value)
                for name, value in zip(_SCALES, expected, strict=True)
            ],
        )

    def _whole_checkpoint(self, coder: Part, scales: tuple[float, ...]) -> Finding:
        return self.finding(
            "box_coder_differs",
            Severity.WARNING,
            fields=[
                *(coder.at(name) for name in _SCALES),
                "train_config.fine_tune_checkpoint_type",
            ],
            found=f"a whole checkpoint is restored under {_described(coder)}",
            expected="1, 1, 1, 1, if it is the zoo's: so the published archives' own configs say",
            why=f"The zoo checkpoint's offsets would be divided by {scales[0]:g} and "
            f"{scales[2]:g}: the boxes start out wrong and have to be learnt again.",
            loss_ap=2.0,  # judged: the head can learn it back while the rate is high
            fix=[FieldFix(coder.at(name), 1.0) for name in _SCALES],
        )


def _coder(pipeline: Pipeline) -> Part:
    if pipeline.meta_architecture != "ssd":
        return Part("", None, _PATH)
    return choice(descend(pipeline.model, "box_coder"), "box_coder_oneof", _PATH)


def _scales(coder: Part) -> tuple[float, ...] | None:
    """The four scales; None for a coder that has none of this kind."""
    message: Any = coder.message
    if coder.kind not in ("faster_rcnn_box_coder", "keypoint_box_coder"):
        return None
    return tuple(rounded(getattr(message, name)) for name in _SCALES)


def _is_unit(scales: tuple[float, ...]) -> bool:
    return all(math.isclose(scale, 1.0) for scale in scales)


def _is_odapi_efficientdet(subject: Subject) -> bool:
    reference = subject.reference
    return reference.family == "efficientdet" and reference.recipe == "odapi"


def _listed(scales: tuple[float, ...] | None) -> str:
    return ", ".join(f"{scale:g}" for scale in scales or ())


def _described(coder: Part) -> str:
    scales = _scales(coder)
    if scales is None:
        return coder.kind or "a box coder"
    kind = "" if coder.kind == "faster_rcnn_box_coder" else f"{coder.kind}, "
    return f"{kind}box coder scales {_listed(scales)}"
