"""The loss of the boxes is not the reference's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.model_parts import (
    Part,
    localization_loss,
    ratio,
    rounded,
)
from odapi_repro.diagnosis.subject import Subject

_WORDS = {
    "weighted_l2": "L2",
    "weighted_smooth_l1": "smooth L1",
    "weighted_iou": "IoU",
    "l1_localization_loss": "L1",
    "weighted_giou": "GIoU",
}
# ssd_meta_arch.SSDMetaArch.loss passes encodings; these two read them as corners.
_OF_BOXES = ("weighted_iou", "weighted_giou")


class LocalizationLossReplaced(Rule):
    """The boxes are trained with another loss than the reference's.

    IoU and GIoU losses compare boxes. The OD API's SSD hands its box losses the encodings (offsets
    and logarithms against an anchor), not decoded boxes, so an IoU of them means nothing.

    Anti-pattern

        loss { localization_loss { weighted_iou { } } }

    Best practice

    Keep smooth L1 in SSD, with the reference's delta, and L1 in CenterNet.

    Source

    meta_architectures/ssd_meta_arch.SSDMetaArch.loss (prediction_dict['box_encodings'] against
    batch_reg_targets), core/losses.WeightedIOULocalizationLoss ("decoded predicted boxes"),
    builders/losses_builder._build_localization_loss, which refuses a config without a loss.
    """

    code: ClassVar[str] = "MOD002"
    name: ClassVar[str] = "model.box_loss_replaced"
    causes: ClassVar[tuple[str, ...]] = ("loss_function_replaced",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the kinds of the losses, then smooth L1's delta."""
        loss = localization_loss(subject.pipeline)
        is_ssd = subject.pipeline.meta_architecture == "ssd"
        if is_ssd and not loss.kind:
            yield self.finding(
                "loss_function_replaced",
                Severity.FATAL,
                fields=[loss.path],
                found="the boxes have no loss",
                expected="a localization_loss",
                why="The OD API stops with 'Empty loss config'.",
            )
            return
        if not loss.kind or not subject.same_architecture:
            return
        reference = localization_loss(subject.reference_pipeline)
        if loss.kind != reference.kind:
            yield self._replaced(loss, reference, is_ssd)
        elif loss.kind == "weighted_smooth_l1":
            yield from self._delta(loss, reference)

    def _replaced(self, loss: Part, reference: Part, is_ssd: bool) -> Finding:
        severity, loss_ap = Severity.WARNING, 1.0  # judged: nothing published within SSD
        why = "Its gradients have another size, so the balance with the classes changes too."
        if is_ssd and loss.kind in _OF_BOXES:
            severity, loss_ap = Severity.CRITICAL, 20.0  # judged: no boxes learnt
            why = (
                "SSD passes box encodings to this loss, which takes them for corners: the "
                "overlap that it computes is of no box, and the boxes are not learnt."
            )
        elif {loss.kind, reference.kind} == {"weighted_smooth_l1", "l1_localization_loss"}:
            severity, loss_ap = Severity.INFO, 0.2  # judged: the two agree on large errors
        return self.finding(
            "loss_function_replaced",
            severity,
            fields=[loss.chosen_path],
            found=f"boxes are trained with {_WORDS.get(loss.kind, loss.kind)} loss",
            expected=_WORDS.get(reference.kind, reference.kind),
            why=why,
            loss_ap=loss_ap,
            fix=[
                FieldFix(loss.chosen_path, None),
                *(
                    [FieldFix(f"{loss.path}.{reference.kind}", "{}")]
                    if reference.kind != "weighted_smooth_l1"
                    else [
                        FieldFix(
                            f"{loss.path}.weighted_smooth_l1.delta",
                            rounded(reference.message.delta),
                        )
                    ]
                ),
            ],
        )

    def _delta(self, loss: Part, reference: Part) -> Iterator[Finding]:
        delta, expected = float(loss.message.delta), float(reference.message.delta)
        factor = ratio(delta, expected)
        if 0.999 < factor < 1.001 or delta == expected:
            return
        dead = not delta > 0
        yield self.finding(
            "loss_function_replaced",
            Severity.CRITICAL if dead else Severity.INFO,
            fields=[loss.at("delta")],
            found=f"smooth L1 with delta {delta:g}",
            expected=f"delta {expected:g}",
            why="A delta of 0 or less leaves no gradient: the boxes are not learnt."
            if dead
            else "Delta is the error at which the loss turns from quadratic to linear, and the "
            "slope beyond it: large errors pull in proportion to it.",
            loss_ap=20.0 if dead else 0.3,  # judged
            fix=[FieldFix(loss.at("delta"), rounded(expected))],
        )
