"""RUN001: the loss became NaN or infinite, or exploded."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.finished_run import RunHistory, divergence
from odapi_repro.diagnosis.rule import published
from odapi_repro.diagnosis.run_rule import RunRule, RunSubject

# What a detector with NaN weights has: nothing. Ranks it before all that costs a part.
_ALL_AP = 100.0


class RunDiverged(RunRule):
    """The training diverged: its loss became NaN or infinite, or blew up and stayed up.

    The OD API neither stops nor says so. `train_loop` goes on for all of num_steps with weights
    that are NaN, saves them, and evaluation reports an AP of 0.

    Anti-pattern

        I1101 12:00:00 model_lib_v2.py: Step 1300 per-step time 0.412s
        {'Loss/classification_loss': nan, 'Loss/total_loss': nan, 'learning_rate': 0.0423}

    Best practice

    Look at the learning rate of the last finite report. Where it is above what the batch allows by
    the linear rule (LR001), lower it. Otherwise lengthen the warm-up, clip the gradients, and check
    the boxes. Start again from before the step: checkpoints from there on are of no use.

    Source

    object_detection/model_lib_v2.py: train_loop has no check of the loss. Only the last step of
    each report (100 steps) is logged, so the first bad step lies between two reports.
    """

    code = "RUN001"
    name = "run.diverged"
    causes = ("run_diverged",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for a loss that went bad."""
        history = subject.history
        found = divergence(history)
        if found is None:
            return
        not_finite = found.kind == "not_finite"
        losses = " and ".join(found.losses[:3]) or "the loss"
        since = f"in the report of step {found.step:,}"
        if found.last_good_step is not None:
            since += f", the one of step {found.last_good_step:,} was still good"
        what = "is NaN or infinite" if not_finite else "is more than three times its lowest level"
        yield self.finding(
            "run_diverged",
            Severity.FATAL if not_finite else Severity.CRITICAL,
            fields=("train_config.optimizer",),
            found=f"{losses} {what} {since}{_rate_text(history, found.step)}",
            expected="a finite loss that falls, to the end",
            why=(
                "After one such step the weights are NaN and stay so. The OD API goes on without a "
                "word, and every checkpoint from there on is worthless."
                if not_finite
                else "What was learnt before is gone; the checkpoints from before the rise may be "
                "better than the last."
            ),
            loss_ap=_ALL_AP,
            evidence=published("lr_8x_nan"),
        )


def _rate_text(history: RunHistory, step: int) -> str:
    before = [rate for at, rate in history.learning_rates if at <= step]
    return f"; the learning rate was {before[-1]:.3g}" if before else ""
