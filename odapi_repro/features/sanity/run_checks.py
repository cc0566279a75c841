"""`run --sanity`: is it the data or the schedule? Short trainings that tell, and a verdict."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odapi_repro.command import EXIT_DONE, EXIT_FAILED
from odapi_repro.ending import say
from odapi_repro.errors import UserError
from odapi_repro.features.sanity.trainings import Training
from odapi_repro.foreign_text import shown
from odapi_repro.pipeline import Pipeline
from odapi_repro.signals import held
from odapi_repro.trials.study_data import StudyData
from odapi_repro.trials.study_flags import (
    check_length,
    check_name,
    check_result_kind,
    retries_failed,
    runtime_of,
    tell_unfinished,
    tell_unread,
    told_cost,
)

if TYPE_CHECKING:
    from odapi_repro.features.sanity.sanity_job import SanityJob

__all__ = ["run_sanity"]

# Flags of a study, which would change nothing here.
_OF_STUDIES = (
    *("ablate", "levels", "design", "seeds"),
    *("checkpoint_every_n", "checkpoint_max_to_keep"),
)
_POINTS = 4
_BLOCK = {"full": 100, "proxy": 10, "smoke": 1}
# Step 0 and a checkpoint at each quarter, with room for steps that no quarter divides.
_KEPT = 10


def run_sanity(flags: Any, pipeline: Pipeline, command: str, *, at: Mapping[str, str]) -> int:
    """Runs the checks and gives the exit code of the command: 1 where something is wrong.

    Args:
        flags: of `odapi_repro.run`.
        pipeline: to be checked.
        command: what was typed.
        at: factor -> level as typed, of the schedule under test.

    Raises:
        UserError: anything that the user has to mend.
    """
    # SciPy and pandas take their time to import; --help and other studies do without.
    from odapi_repro.features.sanity.sanity_inputs import sanity_data, sanity_job

    _check_flags(flags)
    data, notes = sanity_data(flags, pipeline, at)
    job, warnings = sanity_job(flags, pipeline, data, at)
    job = dataclasses.replace(job, notes=notes)
    study = flags.name or _default_name(pipeline, data, job)
    check_name(study)
    folder = Path(flags.results_dir) / study
    check_result_kind(folder, "sanity.json")
    return _Session(flags, job, study, folder, command).run(warnings)


class _Session:
    """One call of the command, once its input is known to be right."""

    def __init__(self, flags: Any, job: SanityJob, study: str, folder: Path, command: str) -> None:
        from odapi_repro.trials.store import TrialStore

        self._flags = flags
        self._job = job
        self._study = study
        self._folder = folder
        self._command = command
        self._store = TrialStore(Path(flags.runs_dir))
        self._record = self._recorder()

    def run(self, warnings: Sequence[str]) -> int:
        """Prints the plan, runs it, reports."""
        from odapi_repro.features.sanity.sanity_text import plan_text
        from odapi_repro.trials.executor import check_worker_environment
        from odapi_repro.trials.hardware import check_disk_space, check_writable
        from odapi_repro.trials.progress import Progress
        from odapi_repro.trials.trial_entries import missing_trials

        expected = self._job.expected(self._store)
        trials = [one.trial for one in expected]
        retry = retries_failed(self._flags)
        todo = missing_trials(trials, self._store, retry_failed=retry)
        cost = self._cost(expected, [trial.trial_id for trial in todo])
        certain = [trial for trial in trials if trial in todo]
        trainings = self._job.trainings
        check = functools.partial(
            check_length,
            self._flags,
            certain,
            trainings.pipeline,
            self._job.data,
            trainings.conditions,
            cost,
        )
        if not self._flags.dry_run:
            check(dry_run=False)
        plan = plan_text(
            self._job,
            expected,
            study=self._study,
            todo=len(todo),
            cost=told_cost(certain, cost, trainings.conditions),
            warnings=warnings,
        )
        say(plan)
        if self._flags.dry_run:
            check(dry_run=True)
            return EXIT_DONE
        for parent in (self._store.runs_dir, self._folder.parent):
            check_writable(parent)
        self._record.check_same(self._folder)
        check_disk_space(self._store.runs_dir)
        if todo:
            check_worker_environment()
        each = cost.seconds / len(todo) if cost.seconds and todo else None
        total = len(trials)
        progress = Progress(total, total - len(todo), expected_seconds=each)
        return self._run_and_report(progress, lambda: progress.expect(total + 1, total), retry)

    def _run_and_report(self, progress: Any, on_more: Callable[[], None], retry: bool) -> int:
        from odapi_repro.features.sanity.sanity_runner import SanityRunner
        from odapi_repro.features.sanity.sanity_text import print_sanity
        from odapi_repro.features.sanity.write_sanity import write_sanity_report

        runner = SanityRunner(
            self._job,
            self._store,
            self._executor_for,
            progress,
            lambda text: print(shown(f"evaluating {text}"), file=sys.stderr, flush=True),
            on_more=on_more,
            retry_failed=retry,
        )
        try:
            runner.run()
        finally:
            # Whatever ends it, the report says what is there.
            record = dataclasses.replace(self._record, outcome=runner.outcome)
            with held():
                write_sanity_report(record, self._folder)
        print()
        print_sanity(record)
        print(f"\n{shown(self._folder / 'README.md')}")
        failed = runner.failed()
        tell_unfinished(self._store, failed)
        return EXIT_FAILED if failed or record.verdict.is_fault else EXIT_DONE

    def _executor_for(self, steps: int) -> Any:
        """Gives the executor of a check's training of so many steps; 0 for the reference's."""
        from odapi_repro.trials.executor import LocalExecutor

        scale = self._job.trainings.conditions.scale
        runtime = runtime_of(self._flags, scale=scale)
        if steps:
            runtime = dataclasses.replace(
                runtime,
                steps_per_iteration=min(_BLOCK[scale], max(1, steps // _POINTS)),
                checkpoint_every_n=max(1, steps // _POINTS),
                checkpoint_max_to_keep=_KEPT,
            )
        return LocalExecutor(self._store, runtime)

    def _cost(self, expected: Sequence[Training], todo: Sequence[str]) -> Any:
        from odapi_repro.trials.history import expected_cost

        trials = [one.trial for one in expected if one.trial.trial_id in todo]
        conditions = self._job.trainings.conditions
        cost, unread = expected_cost(
            self._store,
            trials,
            device=conditions.device,
            scale=conditions.scale,
            family=self._job.trainings.pipeline.meta_architecture,
        )
        tell_unread(unread)
        return cost

    def _recorder(self) -> Any:
        from odapi_repro.features.sanity.outcome import Outcome
        from odapi_repro.features.sanity.sanity_record import SanityRecord

        job = self._job
        trainings, conditions = job.trainings, job.trainings.conditions
        overfit = trainings.overfit(job.few, None, safe=False).trial
        source = job.source.digest if job.source else ""
        foundation = {
            "checks": overfit.trial_id,
            "scale": conditions.scale,
            "data": job.data.source.name,
            "training records": f"{job.data.train.num_examples} images, "
            f"{job.data.train.digest[:16]}",
            "evaluation records": f"{job.data.eval.num_examples} images, "
            f"{job.data.eval.digest[:16]}",
            "checkpoint": source or ("the scale's reference" if job.reference_data else "none"),
            "schedule": ", ".join(f"{n} = {level.label}" for n, level in trainings.at.items())
            or "the pipeline's own at this scale",
            "seed": str(trainings.seed),
            "device": conditions.device,
            "deterministic": str(conditions.deterministic).lower(),
            **vars(overfit.spec.stack),
        }
        return SanityRecord(
            study=self._study,
            pipeline=Path(trainings.pipeline.path).stem,
            command=self._command,
            seed=trainings.seed,
            foundation=foundation,
            outcome=Outcome(scale=conditions.scale),
            notes=job.notes,
        )


def _check_flags(flags: Any) -> None:
    given = [f"--{name}" for name in _OF_STUDIES if flags[name].present]
    if given:
        raise UserError(
            f"{', '.join(given)} with --sanity, which varies no factor",
            expected="flags of the pipeline, the data, the checkpoint and the scale",
            mend=f"leave {', '.join(given)} out, or --sanity",
        )


def _default_name(pipeline: Pipeline, data: StudyData, job: SanityJob) -> str:
    name = Path(data.source.name).name.split(".")[0]
    name = re.sub(r"-\d{5}-of-\d{5}$", "", name)
    at = [f"{factor}_{level.label}" for factor, level in job.trainings.at.items()]
    scale = job.trainings.conditions.scale
    text = "-".join([Path(pipeline.path).stem, "sanity", name, *at, scale])
    return re.sub(r"[^A-Za-z0-9._=+-]", "_", text)
