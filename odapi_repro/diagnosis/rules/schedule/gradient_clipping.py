"""Clipping of gradients: taken away, added, or at another norm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule, published
from odapi_repro.diagnosis.rules.schedule.comparison import compare_peaks, number
from odapi_repro.diagnosis.subject import Subject

_FIELD = "train_config.gradient_clipping_by_norm"


class GradientClipping(Rule):
    """Gradients are clipped otherwise than in the reference.

    Anti-pattern

        train_config { batch_size: 1 }     # gradient_clipping_by_norm: 10.0 was left out

    Best practice

    Keep the reference's norm on its number of replicas: each replica clips the gradients of its
    loss divided by the number of replicas, and then they are summed. So 10 on eight GPUs allows
    eight times as much as 10 on one.

    Source

    model_lib_v2.eager_train_step (tf.clip_by_global_norm before apply_gradients). Without it,
    about 3 mAP less on VOC with one image a step (mmdetection issue 2370); no usable number on
    COCO.
    """

    code: ClassVar[str] = "OPT004"
    name: ClassVar[str] = "optimizer.gradient_clipping"
    causes: ClassVar[tuple[str, ...]] = ("gradient_clipping_removed", "gradient_clipping_changed")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Compares the norms; a NaN or a negative one clips nothing."""
        own = subject.quantities.gradient_clip_norm
        reference = subject.reference_quantities.gradient_clip_norm
        own = own if own is not None and own > 0 else None
        if own == reference:
            return
        if reference is not None and own is None:
            yield self._removed(subject, reference)
        elif own is not None:
            yield self._changed(own, reference)

    def _removed(self, subject: Subject, reference: float) -> Finding:
        peaks = compare_peaks(subject)
        high = peaks is not None and peaks.ratio > 2
        return self.finding(
            "gradient_clipping_removed",
            Severity.WARNING,
            fields=[_FIELD],
            found="gradients are not clipped",
            expected=f"clipped to a global norm of {number(reference)}",
            why="One batch with a large loss can throw the weights far off; "
            + (
                "at a learning rate this high that is how runs of this family end in NaN."
                if high
                else "small batches have such losses more often."
            ),
            # Published: 3 on VOC at one image a step; judged: a third of it at a moderate rate.
            loss_ap=3.0 if high else 1.0,
            evidence=published("clip_off"),
            fix=[FieldFix(_FIELD, reference)],
        )

    def _changed(self, own: float, reference: float | None) -> Finding:
        # Judged: norms of a detector's gradients are around 1 to 10; below 0.1 every step is cut.
        tight = own < 0.1
        return self.finding(
            "gradient_clipping_changed",
            Severity.WARNING if tight else Severity.INFO,
            fields=[_FIELD],
            found=f"gradients are clipped to a global norm of {number(own)}",
            expected="no clipping" if reference is None else f"a norm of {number(reference)}",
            why="Nearly every step is cut to that length, which is a far lower learning rate."
            if tight
            else "It acts in the steps with large losses, and lets a higher rate pass without "
            "diverging.",
            loss_ap=3.0 if tight else 0.1,  # judged
            evidence=published("clip_off"),
            fix=[FieldFix(_FIELD, reference)] if tight else [],
        )
