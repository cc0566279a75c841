"""RUN008: the training was started more than once."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.run_rule import RunRule, RunSubject


class RunRestarted(RunRule):
    """The training was started more than once in this folder.

    A restart goes on from the newest checkpoint: steps since then are trained again, the data
    begin in another order, and a config that was edited in between holds from there on.

    Anti-pattern

        train/events.out.tfevents.1700000000.host   # steps 100 to 40000
        train/events.out.tfevents.1700090000.host   # steps 38100 on, with another batch_size

    Best practice

    Use a new model_dir for a changed config. Where a run was only interrupted, a restart costs
    little.

    Source

    object_detection/model_lib_v2.py: train_loop restores the latest checkpoint of model_dir after
    fine_tune_checkpoint, and begins its input anew.
    """

    code = "RUN008"
    name = "run.restarted"
    causes = ("run_restarted",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for all restarts."""
        restarts = subject.history.restarts
        if not restarts:
            return
        yield self.finding(
            "run_restarted",
            Severity.INFO,
            fields=(),
            found=f"the training was started {restarts + 1} times in this folder",
            expected="one start, or restarts with an unchanged config",
            why=(
                "Each start trains again from the last checkpoint on, with the data in another "
                "order and the config as it was then."
            ),
            count=restarts,
        )
