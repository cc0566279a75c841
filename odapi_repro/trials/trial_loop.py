"""The one loop: what a design wants is brought to its end, as many at a time as there are slots."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.files.trial_files import FINISHED, TrialState
from odapi_repro.trials.trial_store import TrialBusy

_POLL_SECONDS = 2.0

Stop = Literal["done", "failed", "budget"]


class Unit(Protocol):
    """What is run as a whole: a trial, or a cell of a sweep."""

    @property
    def trial_id(self) -> str:
        """What it is known by."""


UnitT = TypeVar("UnitT", bound=Unit)
OnEvent = Callable[[UnitT, dict[str, Any]], None]


class Design(Protocol[UnitT]):
    """Decides what is run, from what has come to its end.

    It must not matter in which order they end: a design that decides by outcomes waits for all
    that a decision rests on.
    """

    def wanted(self) -> Sequence[UnitT]:
        """Gives what is decided and has not come to its end, that which goes first at the head."""

    def note(self, unit: UnitT, state: TrialState) -> None:
        """Takes one that has come to its end."""


class States(Protocol):
    """Says where units stand."""

    def state(self, trial_id: str) -> TrialState:
        """Gives the state of one."""

    def is_free(self, trial_id: str) -> bool:
        """Whether nobody runs it now."""


class Executor(Protocol[UnitT]):
    """Runs units, `slots` at a time."""

    slots: int

    def start(self, unit: UnitT, on_event: OnEvent[UnitT]) -> None:
        """Takes a unit into a free slot."""

    def wait(self) -> tuple[UnitT, TrialState | None]:
        """Gives the next to end, with its state; None where another process turned out to run it.

        Raises:
            EnvironmentMissing: nothing can be run here.
        """


class OneSlot(Generic[UnitT]):
    """An executor of one unit at a time, which is run while it is waited for.

    Args:
        run: brings a unit to its end and gives its state; raises `TrialBusy` where another process
            runs it, `UserError` where it cannot be run, which its next may all the same.
    """

    slots = 1

    def __init__(self, run: Callable[[UnitT, OnEvent[UnitT]], TrialState]) -> None:
        self._run = run
        self._next: list[tuple[UnitT, OnEvent[UnitT]]] = []

    def start(self, unit: UnitT, on_event: OnEvent[UnitT]) -> None:
        """Takes a unit."""
        self._next.append((unit, on_event))

    def wait(self) -> tuple[UnitT, TrialState | None]:
        """Runs it."""
        unit, on_event = self._next.pop()
        try:
            return unit, self._run(unit, on_event)
        except TrialBusy:
            return unit, None
        except EnvironmentMissing:
            raise
        except UserError as error:
            return unit, TrialState("failed", str(error), kind="input")


class PlannedTrials(Generic[UnitT]):
    """The design that wants everything at once."""

    def __init__(self, units: Iterable[UnitT]) -> None:
        self._left = {unit.trial_id: unit for unit in units}

    def wanted(self) -> Sequence[UnitT]:
        """Gives what has not ended."""
        return list(self._left.values())

    def note(self, unit: UnitT, state: TrialState) -> None:
        """Takes one out."""
        del state
        self._left.pop(unit.trial_id, None)


def missing_trials(trials: Iterable[UnitT], states: States, *, retry_failed: bool) -> list[UnitT]:
    """Gives the trials that have to run: not finished, and not failed unless they are retried."""
    settled = FINISHED if retry_failed else FINISHED | {"failed"}
    return [trial for trial in trials if states.state(trial.trial_id).state not in settled]


class Course(Generic[UnitT]):
    """A design that is written as it happens.

    Args:
        steps: yields one unit after another, and is sent the state in which each has ended.
        states: where they stand; one that has finished before is not asked for.
    """

    def __init__(self, steps: Generator[UnitT, TrialState, None], states: States) -> None:
        self._steps, self._states = steps, states
        self._next: UnitT | None = None
        self._begun = False

    def wanted(self) -> Sequence[UnitT]:
        """Gives the unit that the course waits for, none at its end."""
        if not self._begun:
            self._begun = True
            self._next = next(self._steps, None)
        while self._next is not None:
            state = self._states.state(self._next.trial_id)
            if state.state not in FINISHED:
                return [self._next]
            self.note(self._next, state)
        return []

    def note(self, unit: UnitT, state: TrialState) -> None:
        """Goes on with the state in which a unit has ended."""
        del unit
        try:
            self._next = self._steps.send(state)
        except StopIteration:
            self._next = None


class TrialLoop(Generic[UnitT]):
    """Brings what a design wants to its end, by running it or by waiting for whoever runs it.

    Args:
        design: what is wanted.
        states: where it stands.
        executor: what runs it.
        on_event: hears the unit's events, and `trial_started`, `waiting`, `trial_ended` with its
            state and message.
        retry_failed: run what failed in an earlier call again.
        max_trials: how many are started at most.
        on_planned: hears how many are wanted, as far as is known, each time before one is chosen.
        sleep: waits for other processes.
    """

    def __init__(
        self,
        design: Design[UnitT],
        states: States,
        executor: Executor[UnitT],
        on_event: OnEvent[UnitT],
        *,
        retry_failed: bool = False,
        max_trials: int | None = None,
        on_planned: Callable[[int], None] = lambda wanted: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._design = design
        self._states = states
        self._executor = executor
        self._on_event = on_event
        self._retry_failed = retry_failed
        self._left = max_trials
        self._on_planned = on_planned
        self._sleep = sleep
        self._seen: set[str] = set()
        self._given_up: set[str] = set()
        self._going: set[str] = set()
        self._elsewhere: set[str] = set()
        # Taken by others since one of ours has ended, or since we have slept.
        self._taken: set[str] = set()

    def run(self) -> Stop:
        """Runs until nothing more is wanted, nothing is left that can be run, or `max_trials` ran.

        Returns:
            `done`; `failed` where some did not finish; `budget` where more is wanted.

        Raises:
            EnvironmentMissing: nothing can be run here.
        """
        told_waiting = False
        while True:
            todo = self._todo()
            self._on_planned(len(todo))
            if not todo:
                return "failed" if self._given_up else "done"
            if self._fill(todo):
                told_waiting = False
                continue
            if self._left == 0 and not self._going:
                return "budget"
            if self._going:
                told_waiting = not self._wait_for_one() and told_waiting
                continue
            if not told_waiting:
                self._on_event(todo[0], {"event": "waiting"})
                told_waiting = True
            self._taken.clear()
            self._sleep(_POLL_SECONDS)

    def _todo(self) -> list[UnitT]:
        """Gives what is wanted and not given up, with what is going."""
        while True:
            wanted = [one for one in self._design.wanted() if one.trial_id not in self._given_up]
            failed = [one for one in wanted if self._failed_before(one)]
            if not failed:
                return wanted
            for unit in failed:
                self._given_up.add(unit.trial_id)
                self._design.note(unit, self._states.state(unit.trial_id))

    def _failed_before(self, unit: UnitT) -> bool:
        if self._retry_failed or unit.trial_id in self._seen:
            return False
        self._seen.add(unit.trial_id)
        return self._states.state(unit.trial_id).state == "failed"

    def _fill(self, todo: Sequence[UnitT]) -> bool:
        """Starts what is free while there are slots; what others run comes last.

        Returns:
            Whether one was found that another process has brought to its end.
        """
        for unit in todo:
            name = unit.trial_id
            if name in self._going or name in self._taken:
                continue
            state = self._states.state(name)
            is_free = self._states.is_free(name)
            if is_free and state.state == "running":
                # Killed, or brought to its end elsewhere between the two looks.
                state = self._states.state(name)
                self._elsewhere.add(name)
            if state.state in FINISHED or (name in self._elsewhere and state.state == "failed"):
                self._ended(unit, state)
                return True
            if not is_free:
                self._elsewhere.add(name)
                continue
            if len(self._going) >= self._executor.slots or self._left == 0:
                continue
            self._on_event(unit, {"event": "trial_started"})
            self._going.add(name)
            self._left = None if self._left is None else self._left - 1
            self._executor.start(unit, self._on_event)
        return False

    def _wait_for_one(self) -> bool:
        """Takes the next to end; False for one that another process has taken before us."""
        unit, state = self._executor.wait()
        self._going.remove(unit.trial_id)
        if state is not None:
            self._taken.clear()
            self._ended(unit, state)
            return True
        self._elsewhere.add(unit.trial_id)
        self._taken.add(unit.trial_id)
        self._left = None if self._left is None else self._left + 1
        return False

    def _ended(self, unit: UnitT, state: TrialState) -> None:
        ended = {"event": "trial_ended", "state": state.state, "message": state.message}
        self._on_event(unit, ended)
        if state.state not in FINISHED:
            self._given_up.add(unit.trial_id)
        self._design.note(unit, state)
