"""RUN002: the loss never left its starting plateau."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.finished_run import best_and_last, divergence, loss_plateau
from odapi_repro.diagnosis.run_rule import RunRule, RunSubject

# An AP from here on is proof that something was learnt, whatever the logged losses look like.
_LEARNT_AP = 5.0
# What a detector of this kind of data reaches is unknown; a reference's typical AP ranks it.
_TYPICAL_AP = 30.0


class LossPlateau(RunRule):
    """The classification loss stayed on its starting plateau: the detector learnt nothing.

    A detector with a focal loss begins on a plateau where it knows how rare objects are and
    nothing else. Too small a learning rate, a checkpoint that was not restored, or labels that do
    not match the images keep it there. The total loss may fall all the same, by its regularisation.

    Anti-pattern

        step 100    classification_loss 1.13   total_loss 1.87
        step 20000  classification_loss 1.05   total_loss 1.21

    Best practice

    Draw the boxes on the images (`eval_side_by_side` in TensorBoard), check that
    fine_tune_checkpoint names a checkpoint of this backbone with the fitting
    fine_tune_checkpoint_type, and compare the peak learning rate with the reference's.

    Source

    The judgement compares medians of the first reports with those of all later windows; a fall of
    less than a quarter is no learning. Measured on trainings of the embedded shapes: the worst that
    learnt anything (AP 4.6) had fallen by three tenths.
    """

    code = "RUN002"
    name = "run.loss_plateau"
    causes = ("loss_plateau",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding where no loss was learnt away and no AP says otherwise."""
        plateau = loss_plateau(subject.history)
        if plateau is None or divergence(subject.history) is not None:
            return
        scored = best_and_last(subject.history)
        ap = scored.best.metrics["AP"] if scored else None
        if ap is not None and ap >= _LEARNT_AP:
            return
        restore = ""
        if subject.config is not None and subject.config.pipeline.meta_architecture:
            restore = subject.config.quantities.checkpoint_restore
        # With all its weights restored it may have been good from the start.
        severity = Severity.INFO if restore in ("full", "fine_tune") else Severity.WARNING
        if ap is not None:
            severity = Severity.CRITICAL
        told = "" if ap is None else f", and the best AP is {ap:.1f}"
        yield self.finding(
            "loss_plateau",
            severity,
            fields=("train_config.optimizer", "train_config.fine_tune_checkpoint"),
            found=(
                f"{plateau.loss} went from {plateau.start_level:.3g} to no lower than "
                f"{plateau.lowest_level:.3g} over steps {plateau.first_step:,} to "
                f"{plateau.last_step:,}{told}"
            ),
            expected="a loss that falls by well over a quarter from its first reports",
            why=(
                "A detector whose classification loss does not leave its start has not learnt to "
                "tell objects from background."
            ),
            loss_ap=_TYPICAL_AP,
        )
