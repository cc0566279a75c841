"""Runs what a design asks for, one trial at a time, until it asks for nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, Protocol

import pandas as pd

from odapi_repro.analysis.attribution import Outcomes, outcomes_of
from odapi_repro.analysis.trials import order_columns
from odapi_repro.features.explain.design_choice import race_of
from odapi_repro.features.explain.designs import WantedCell, in_rounds
from odapi_repro.features.explain.explain_plan import ExplanationPlan
from odapi_repro.trials.executor import OnEvent
from odapi_repro.trials.store import FINISHED, TrialState, TrialStore
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_entries import described
from odapi_repro.trials.trial_loop import Executor, TrialLoop
from odapi_repro.trials.trial_rows import trial_row

__all__ = ["ExplanationTrials", "OnPlanned", "Stop", "run_explanation"]

Stop = Literal["done", "failed", "budget"]


class OnPlanned(Protocol):
    """Hears how many trials are needed as far as is known, each time that this changes."""

    def __call__(self, total: int, done: int) -> None:
        """Takes the number of trials, and how many of them have finished."""


@dataclass
class ExplanationTrials:
    """The trials of an explanation, as far as its design has asked for them.

    Args:
        plan: of the explanation.
        store: where trials are kept; those of other studies are found there.
    """

    plan: ExplanationPlan
    store: TrialStore

    def __post_init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}
        self._race = race_of(self.plan.explanation.design)

    @property
    def table(self) -> pd.DataFrame:
        """A row a trial that has run, in the columns of `analysis.trials`."""
        rows = pd.DataFrame(list(self._rows.values()))
        return order_columns(rows, self.plan.explanation.factors) if len(rows) else rows

    @property
    def outcomes(self) -> Outcomes:
        """What the finished ones came to."""
        explanation = self.plan.explanation
        same = dict(explanation.same)
        if not self._rows:
            return Outcomes(explanation.deviations, {}, same, {}, explanation.metric)
        return outcomes_of(self.table, explanation.deviations, metric=explanation.metric, same=same)

    def wanted(self) -> list[Trial]:
        """The trials that the design still waits for, after all that have finished are noted."""
        while True:
            trials = {
                trial.trial_id: trial
                for cell, seed in in_rounds(self._next_cells())
                for trial in [self.plan.trial(cell.combination, seed)]
            }
            found = [
                trial
                for name, trial in trials.items()
                if name not in self._rows and self.store.state(name).state in FINISHED
            ]
            if not found:
                return list(trials.values())
            for trial in found:
                self.note(trial)

    def note(self, trial: Trial) -> None:
        """Reads a trial's folder into the table."""
        explanation = self.plan.explanation
        self._rows[trial.trial_id] = trial_row(
            self.store,
            trial.trial_id,
            described(trial, train_records=str(explanation.foundation["train_records"])),
            cell=trial.cell,
            foundation=explanation.foundation,
            study=explanation.study,
            pipeline=PurePath(explanation.pipeline).stem,
        )

    def failed(self) -> list[tuple[str, TrialState]]:
        """The trials of the table that did not come to an end, with their states."""
        states = [(name, self.store.state(name)) for name in self._rows]
        return [(name, state) for name, state in states if state.state not in FINISHED]

    def _next_cells(self) -> tuple[WantedCell, ...]:
        design, outcomes = self.plan.design, self.outcomes
        if self._race is None:
            return design.next_cells(outcomes)
        return self._race.next_replicates(design, outcomes)


def run_explanation(
    trials: ExplanationTrials,
    executor: Executor,
    on_event: OnEvent,
    on_planned: OnPlanned,
    *,
    retry_failed: bool = False,
    max_trials: int | None = None,
) -> Stop:
    """Runs trials until the design is done, none is left that can be run, or the budget is spent.

    Nothing is kept but the trials themselves: whoever calls it again goes on where it stopped.

    Args:
        trials: of the explanation.
        executor: runs one trial.
        on_event: hears what a trial says.
        on_planned: see `OnPlanned`.
        retry_failed: whether trials that failed in an earlier call are run again.
        max_trials: to run in this call; None for all.
    """
    loop = TrialLoop(trials.store, on_event)
    given_up: set[str] = set()
    ran = 0
    while True:
        wanted = trials.wanted()
        todo = []
        for trial in wanted:
            failed = trials.store.state(trial.trial_id).state == "failed"
            if trial.trial_id in given_up or (failed and not retry_failed):
                given_up.add(trial.trial_id)
                trials.note(trial)
            else:
                todo.append(trial)
        finished = len(trials.table) - len(given_up) if len(trials.table) else 0
        on_planned(finished + len(wanted), finished)
        if not todo:
            return "failed" if given_up else "done"
        if max_trials is not None and ran >= max_trials:
            return "budget"
        trial, state = loop.next_ended(todo, executor)
        ran += 1
        trials.note(trial)
        if state.state not in FINISHED:
            given_up.add(trial.trial_id)
