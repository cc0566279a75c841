"""The trials of an explanation, as its design asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pandas as pd

from odapi_repro.analysis.attribution import Outcomes, outcomes_of
from odapi_repro.analysis.trials import order_columns
from odapi_repro.features.explain.design_choice import race_of
from odapi_repro.features.explain.designs import WantedCell, in_rounds
from odapi_repro.features.explain.explain_plan import ExplanationPlan
from odapi_repro.files.trial_files import FINISHED, TrialState
from odapi_repro.trials.store import TrialStore
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_rows import described, trial_row


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
                self._read(trial)

    def note(self, trial: Trial, state: TrialState) -> None:
        """Takes a trial that has come to its end."""
        del state
        self._read(trial)

    def _read(self, trial: Trial) -> None:
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

    @property
    def trial_ids(self) -> list[str]:
        """Those that have run."""
        return list(self._rows)

    def _next_cells(self) -> tuple[WantedCell, ...]:
        design, outcomes = self.plan.design, self.outcomes
        if self._race is None:
            return design.next_cells(outcomes)
        return self._race.next_replicates(design, outcomes)
