"""RUN006: the logged learning rates are not those of the config."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.finished_run import applied_lr_mismatch
from odapi_repro.diagnosis.run_rule import RunRule, RunSubject

# What it costs is unknown; that every other finding may be about another training ranks it.
_DOUBT_AP = 15.0


class AppliedLearningRateDiffers(RunRule):
    """The run was not trained with the learning rates that this config gives.

    The config was edited after the training began, or it is not the one that was trained. Then all
    that is said about it here is said about another training.

    Anti-pattern

        learning_rate_base: 0.01   # in the config; train/events say 0.08 at step 2500

    Best practice

    Keep the config in model_dir and do not edit it there; copy it for the next run. Name the one
    that was trained with --pipeline.

    Source

    object_detection/model_lib_v2.py: train_loop logs `learning_rate` after each report; the rate
    logged at a step is the schedule's at that step. Differences of over 1 % are told.
    """

    code = "RUN006"
    name = "run.applied_lr_differs"
    causes = ("applied_lr_differs",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for the report that differs most."""
        if subject.config is None:
            return
        schedule = subject.config.schedule
        found = applied_lr_mismatch(subject.history, schedule.at)
        if found is None:
            return
        yield self.finding(
            "applied_lr_differs",
            Severity.WARNING,
            fields=("train_config.optimizer",),
            found=(
                f"the learning rate at step {found.step:,} was {found.logged:.4g}; "
                f"{found.reports_off:,} of {found.reports:,} reports differ from the config"
            ),
            expected=f"{found.expected:.4g} at that step, by this config",
            why=(
                "The config was edited after the training began, or is another one: what is found "
                "in it may not hold for this run."
            ),
            loss_ap=_DOUBT_AP,
        )
