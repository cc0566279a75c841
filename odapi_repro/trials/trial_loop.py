"""Runs trials one after the other; one that another process runs is waited for, last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.trials.executor import OnEvent
from odapi_repro.trials.store import FINISHED, TrialBusy, TrialState, TrialStore
from odapi_repro.trials.trial import Trial

__all__ = ["Executor", "TrialLoop", "run_trials"]

_POLL_SECONDS = 2.0


class Executor(Protocol):
    """Runs one trial to its end."""

    def run(self, trial: Trial, on_event: OnEvent) -> TrialState:
        """Gives the state it ended in; raises `TrialBusy` where another process runs it."""


class TrialLoop:
    """Brings trials to their ends, by running them or by waiting for whoever runs them.

    Args:
        store: where trials are kept, which other processes may use at the same time.
        on_event: hears `trial_started`, `waiting`, what the trial says, and `trial_ended`.
        sleep: between two looks at trials that other processes run.
    """

    def __init__(
        self,
        store: TrialStore,
        on_event: OnEvent,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._on_event = on_event
        self._sleep = sleep
        self._elsewhere: set[str] = set()

    def next_ended(self, trials: Sequence[Trial], executor: Executor) -> tuple[Trial, TrialState]:
        """Gives the first of some trials to come to its end, with its state.

        The first that nobody runs is run here. Where other processes run all of them, the first
        that they end is given; one that they leave unfinished is run here after all.

        Args:
            trials: at least one, none of which has to be left as it is.
            executor: runs one.
        """
        waiting = False
        while True:
            for trial in trials:
                state = self._ended_elsewhere(trial) or self._run(trial, executor)
                if state is not None:
                    ended = {"event": "trial_ended", "state": state.state}
                    self._on_event(trial, {**ended, "message": state.message})
                    return trial, state
            if not waiting:
                self._on_event(trials[0], {"event": "waiting"})
                waiting = True
            self._sleep(_POLL_SECONDS)

    def _ended_elsewhere(self, trial: Trial) -> TrialState | None:
        """Gives the state of a trial that another process has brought to its end."""
        state = self._store.state(trial.trial_id)
        if state.state in FINISHED:
            return state
        was_elsewhere = trial.trial_id in self._elsewhere
        return state if was_elsewhere and state.state == "failed" else None

    def _run(self, trial: Trial, executor: Executor) -> TrialState | None:
        """Runs a trial; None where another process does."""
        if self._store.is_free(trial.trial_id):
            self._on_event(trial, {"event": "trial_started"})
            try:
                return executor.run(trial, self._on_event)
            except TrialBusy:
                pass
            except EnvironmentMissing:
                raise
            except UserError as error:
                # Its folder cannot be used; the next one's may.
                return TrialState("failed", str(error), kind="input")
        self._elsewhere.add(trial.trial_id)
        return None


def run_trials(
    trials: Sequence[Trial], store: TrialStore, executor: Executor, on_event: OnEvent
) -> None:
    """Runs trials in order; one that fails does not keep the next from running."""
    loop = TrialLoop(store, on_event)
    left = list(trials)
    while left:
        ended, _ = loop.next_ended(left, executor)
        left.remove(ended)
