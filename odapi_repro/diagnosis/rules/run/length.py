"""RUN004: fewer steps than planned, or steps that no checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.finished_run import steps_missing, steps_not_saved
from odapi_repro.diagnosis.rule import published
from odapi_repro.diagnosis.run_rule import RunRule, RunSubject

# Below these shares the loss is small beside what a rerun costs.
_TELLING_SHARE = 0.02
_MOST_SHARE = 0.5


class RunStoppedEarly(RunRule):
    """The run took fewer steps than its config says, or its last steps are in no checkpoint.

    With a decaying schedule the last steps, at low rates, bring the last points of AP. A run
    that was stopped looks finished: it has checkpoints and evaluations.

    Anti-pattern

        num_steps: 300000      # in the config, and the last report is of step 122000
        num_steps: 1500        # with --checkpoint_every_n 1000: ckpt of step 1000 is the last

    Best practice

    Start model_main_tf2 again with the same model_dir; it goes on from the last checkpoint. Make
    num_steps a multiple of --checkpoint_every_n.

    Source

    object_detection/model_lib_v2.py: train_loop saves only when checkpoint_every_n steps have
    passed since the last time, and not at its end.
    """

    code = "RUN004"
    name = "run.stopped_early"
    causes = ("run_stopped_early", "last_checkpoint_not_saved")

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields what is missing to num_steps, or else what was trained and not saved."""
        history, num_steps = subject.history, subject.num_steps
        reached = history.steps_reached or 0
        missing = steps_missing(history, num_steps) if num_steps else 0
        if num_steps and missing:
            share = missing / num_steps
            late = share < _TELLING_SHARE
            yield self.finding(
                "run_stopped_early",
                Severity.INFO
                if late
                else (Severity.CRITICAL if share > _MOST_SHARE else Severity.WARNING),
                fields=("train_config.num_steps",),
                found=f"step {reached:,} of {num_steps:,} was reached, {1 - share:.0%} of the run",
                expected="the whole run, unless it is still going on",
                why=(
                    "The schedule was cut off where its rate was still high, or training would "
                    "still have gained."
                ),
                # The published -1.4 is for the last 42 %; more costs more.
                loss_ap=3.5 * share,
                evidence=published("stopped_early"),
            )
        elif (lost := steps_not_saved(history)) > 0:
            last = history.last_checkpoint
            saved = f"is of step {last.step:,}" if last and last.step else "is not there"
            yield self.finding(
                "last_checkpoint_not_saved",
                Severity.WARNING if lost > _TELLING_SHARE * reached else Severity.INFO,
                fields=("train_config.num_steps",),
                found=f"step {reached:,} was reached and the last whole checkpoint {saved}",
                expected="num_steps a multiple of --checkpoint_every_n (1,000 by default)",
                why=f"The last {lost:,} steps, those at the lowest rates, are lost.",
                loss_ap=min(1.4, 3.5 * lost / max(reached, 1)),
            )
