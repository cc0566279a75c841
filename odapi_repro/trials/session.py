"""One call of a command that fills a folder in results/: what all such commands do alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO, TypeVar

from odapi_repro.ending import EXIT_DONE, EXIT_FAILED, say
from odapi_repro.files.trial_files import FINISHED
from odapi_repro.foreign_text import shown, shown_lines
from odapi_repro.page.blocks import Page
from odapi_repro.page.results_folder import README, Results
from odapi_repro.page.terminal_page import Terminal, print_page, terminal_page
from odapi_repro.pipeline import Pipeline
from odapi_repro.signals import held
from odapi_repro.trials.environment import check_disk_space, check_writable, cpu_count
from odapi_repro.trials.executors.local_executor import (
    LocalExecutor,
    Runtime,
    check_worker_environment,
)
from odapi_repro.trials.groundwork import StudyData, TrialConditions
from odapi_repro.trials.record_file import RecordFile
from odapi_repro.trials.study_flags import check_length, runtime_of
from odapi_repro.trials.study_progress import Progress
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_cost import CostEstimate, expected_cost, rough_on_cpu
from odapi_repro.trials.trial_loop import Design, OneSlot, Stop, TrialLoop, missing_trials
from odapi_repro.trials.trial_store import TrialStore

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Session:
    """From a plan to the results of a study.

    Attributes:
        flags: of the command, parsed.
        file: the record by which the folder is known.
        study: the folder's name.
        stream: where the plan goes; stdout where it is None.
    """

    flags: Any
    file: RecordFile[Any]
    study: str
    stream: TextIO | None = None

    @cached_property
    def store(self) -> TrialStore:
        """All trials of `--runs_dir`."""
        return TrialStore(Path(self.flags.runs_dir))

    @property
    def folder(self) -> Path:
        """The folder of results."""
        return Path(self.flags.results_dir) / self.study

    def check_folders(self) -> None:
        """Refuses folders that cannot be written to, or hold something else.

        Raises:
            UserError: says which, and what is in the way.
        """
        for folder in (self.store.runs_dir, self.folder):
            check_writable(folder)
        self.file.check_kind(self.folder)

    def is_to_run(self, plan: Page) -> bool:
        """Prints a plan; False for a dry run, which ends with it."""
        stream = self.stream or sys.stdout
        say(terminal_page(plan, Terminal.of(stream)).removesuffix("\n"), file=stream)
        return not self.flags.dry_run

    def check_start(
        self, foundation: Mapping[str, Any] | None, *, trains: bool, runs: bool
    ) -> None:
        """Looks whether the study can go on in its folder, and has room and software to do so.

        Args:
            foundation: what its trials share; None where that has been looked at.
            trains: there is something to train.
            runs: there is something to run at all.

        Raises:
            UserError: it cannot.
        """
        self.check_folders()
        if foundation is not None:
            self.file.check_same(self.folder, foundation)
        if trains:
            check_worker_environment()
        if runs:
            check_disk_space(self.store.runs_dir)

    def run(
        self, run: Callable[[], _T], results: Callable[[], Results | None]
    ) -> tuple[_T, Results | None]:
        """Runs a study and writes its results as they stand then, whatever ends it.

        Args:
            run: runs what is left, `TrialLoop.run`.
            results: gives the results; None where there are none.

        Returns:
            What `run` gave, and the results that were written.
        """
        made: Results | None = None
        try:
            end = run()
        finally:
            with held():
                made = results()
                if made is not None:
                    made.write(self.folder)
        return end, made

    def show(self, results: Results) -> None:
        """Prints results, and where they are."""
        print()
        print_page(results.page)
        print(f"\n{shown(self.folder / README)}")

    def ended(self, trial_ids: Iterable[str]) -> int:
        """Says on stderr which trials did not finish, why, where their logs are and what to do.

        Returns:
            The exit code: 1 where there are such.
        """
        states = ((trial_id, self.store.state(trial_id)) for trial_id in trial_ids)
        unfinished = [one for one in states if one[1].state not in FINISHED]
        for trial_id, state in unfinished:
            log = self.store.folder(trial_id) / "train.log"
            told = f"trial {trial_id} {state.state}"
            told += f": {shown_lines(state.message)}" if state.message else ""
            told += f"\n  log: {shown(log)}" if log.exists() else ""
            print(told, file=sys.stderr)
            if state.state == "failed":
                print(
                    "  --retry failed runs it again: from its last checkpoint, unless it is "
                    "deterministic or --fresh_start is given",
                    file=sys.stderr,
                )
        return EXIT_FAILED if unfinished else EXIT_DONE


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingSession(Session):
    """A session that trains.

    Attributes:
        pipeline, data, conditions: what its trials are made of.
    """

    pipeline: Pipeline
    data: StudyData
    conditions: TrialConditions

    @property
    def retries_failed(self) -> bool:
        """Whether trials that failed in an earlier call are run again."""
        return self.flags.retry == "failed" or bool(self.flags.fresh_start)

    def missing(self, trials: Iterable[Trial]) -> list[Trial]:
        """Gives the trials that have to run: not finished, nor failed unless they are retried."""
        return missing_trials(trials, self.store, retry_failed=self.retries_failed)

    def cost(self, trials: Sequence[Trial]) -> CostEstimate:
        """Gives the expected time of trials; says on stderr what could not be read for it."""
        cost, unread = expected_cost(
            self.store,
            trials,
            device=self.conditions.device,
            scale=self.conditions.scale,
            family=self.pipeline.meta_architecture,
        )
        if unread:
            more = f", and {len(unread) - 1} more files" if len(unread) > 1 else ""
            note = "note: left out of the expected time, as it does not read:"
            print(f"{note} {shown(unread[0])}{more}", file=sys.stderr)
        return cost

    def told(self, trials: Sequence[Trial], cost: CostEstimate) -> CostEstimate:
        """Gives the time that a plan tells: that which is judged, where none has run here."""
        full = self.conditions.scale == "full"
        if cost.seconds is None and full and self.conditions.device == "cpu":
            return rough_on_cpu(trials, cores=cpu_count())
        return cost

    def is_agreed(
        self, trials: Sequence[Trial], cost: CostEstimate, plan: Callable[[], Page]
    ) -> bool:
        """Prints a plan, as `is_to_run`, unless its trials take weeks or years.

        Raises:
            UserError: they do, and no flag insists; a dry run is warned.
        """
        if not self.flags.dry_run:
            self.check_length(trials, cost)
        runs = self.is_to_run(plan())
        if not runs:
            self.check_length(trials, cost)
        return runs

    def check_length(self, trials: Sequence[Trial], cost: CostEstimate) -> None:
        """Refuses trials that take weeks or years; a dry run is warned.

        Raises:
            UserError: names the flag that insists.
        """
        dry_run = self.flags.dry_run
        made_of = (self.pipeline, self.data, self.conditions)
        check_length(self.flags, trials, *made_of, cost, dry_run=dry_run)

    def loop(
        self,
        design: Design[Trial],
        progress: Progress,
        *,
        runtime_for: Callable[[Trial, Runtime], Runtime] = lambda trial, runtime: runtime,
        max_trials: int | None = None,
        on_planned: Callable[[int], None] | None = None,
    ) -> Callable[[], Stop]:
        """Gives what runs the trials of a design."""
        runtime = runtime_of(self.flags, scale=self.conditions.scale)
        executor = LocalExecutor(self.store, runtime, runtime_for=runtime_for)
        loop = TrialLoop(
            design,
            self.store,
            OneSlot(executor.run),
            progress,
            retry_failed=self.retries_failed,
            max_trials=max_trials,
            on_planned=on_planned or progress.expect,
        )
        return loop.run


def seconds_each(cost: CostEstimate, trials: Sequence[Trial]) -> float | None:
    """Gives what one of these trials takes on average; None where it is not known."""
    return cost.seconds / len(trials) if cost.seconds and trials else None
