"""Steps that no checkpoint is saved after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.schedule.comparison import (
    BLOCK,
    number,
    run_steps,
    steps_fix,
)
from odapi_repro.diagnosis.subject import Subject


class LastCheckpoint(Rule):
    """The run ends between two checkpoints, and what it trained last is lost.

    Anti-pattern

        num_steps: 1500        # checkpoints at 0 and 1,000: the last 500 steps are not saved

    Best practice

    Make num_steps a multiple of 1,000, or give `--checkpoint_every_n` a divisor of it that is a
    multiple of 100.

    Source

    model_lib_v2.train_loop saves where checkpoint_every_n steps have passed since the last
    checkpoint, looks once in 100 steps, and saves nothing at the end. eval_continuously ends by
    itself only at a checkpoint whose step is num_steps, else after --eval_timeout.
    """

    code: ClassVar[str] = "STP002"
    name: ClassVar[str] = "steps.last_checkpoint"
    causes: ClassVar[tuple[str, ...]] = ("last_checkpoint_not_saved",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Counts the steps after the last checkpoint."""
        steps = run_steps(subject)
        # The loop looks once a block whether the interval has passed.
        every = -(-subject.circumstances.checkpoint_every_n // BLOCK) * BLOCK
        lost = steps % every
        asked = subject.quantities.num_steps
        if not steps or (not lost and steps == asked):
            return
        saved = steps - lost
        share = lost / steps
        severity = Severity.WARNING if share >= 0.1 else Severity.INFO
        yield self.finding(
            "last_checkpoint_not_saved",
            Severity.CRITICAL if not saved else severity,
            fields=["train_config.num_steps"],
            found=self._found(steps, asked, every),
            expected=f"a multiple of {number(every)}, or --checkpoint_every_n with a divisor",
            why="What was trained since the last checkpoint is gone, and the evaluation, which "
            "waits for the checkpoint of the last step, waits until its timeout."
            if saved
            else "The only checkpoint holds the weights from before the first step: the whole "
            "training is lost.",
            # All of it where nothing is saved; judged by the share of the run otherwise.
            loss_ap=20.0 if not saved else 3.0 * share,
            fix=steps_fix("train_config.num_steps", max(every, -(-asked // every) * every)),
        )

    def _found(self, steps: int, asked: int, every: int) -> str:
        lost = steps % every
        made = f"{number(steps)} steps"
        if steps != asked:
            made += f" (num_steps {number(asked)}, in blocks of {BLOCK})"
        if lost == steps:
            return f"of {made}, none is saved: checkpoints come every {number(every)} steps"
        if not lost:
            return f"the run makes {made}, and no checkpoint has the number {number(asked)}"
        return (
            f"of {made}, the last {number(lost)} are not saved: checkpoints come every "
            f"{number(every)} steps"
        )
