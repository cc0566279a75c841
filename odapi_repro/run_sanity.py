"""`run --sanity`: is it the data or the schedule? Short trainings that tell, and a verdict."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from odapi_repro.command import EXIT_DONE, EXIT_FAILED, nearest
from odapi_repro.datasets.source import EMBEDDED
from odapi_repro.errors import UserError
from odapi_repro.factors import Level, factor_named
from odapi_repro.pipeline import Pipeline, parse_pipeline
from odapi_repro.study.groundwork import Groundwork, lay_groundwork
from odapi_repro.study.sanity.trainings import SanityTrainings, Training
from odapi_repro.study.study_data import StudyData
from odapi_repro.study_flags import (
    check_name,
    check_result_kind,
    conditions_of,
    runtime_of,
    study_data_of,
)

if TYPE_CHECKING:
    from odapi_repro.execution.sanity.runner import SanityJob

__all__ = ["run_sanity"]

SCHEDULE_FACTORS = ("batch_size", "learning_rate", "lr_scaling", "warmup", "sync_replicas")
"""What `--at` may set: the schedule under test."""

# Flags of a study, which would change nothing here.
_OF_STUDIES = (
    *("ablate", "levels", "design", "seeds"),
    *("checkpoint_every_n", "checkpoint_max_to_keep"),
)
_POINTS = 4
_BLOCK = {"full": 100, "proxy": 10, "smoke": 1}
# Step 0 and a checkpoint at each quarter, with room for steps that no quarter divides.
_KEPT = 10


def run_sanity(
    flags: Any, pipeline: Pipeline, command: str, *, at: Mapping[str, str], worker: Any = None
) -> int:
    """Runs the checks and gives the exit code of the command: 1 where something is wrong.

    Args:
        flags: of `odapi_repro.run`.
        pipeline: to be checked.
        command: what was typed.
        at: factor -> level as typed, of the schedule under test.
        worker: commands of the workers that train and evaluate, for tests.

    Raises:
        UserError: anything that the user has to mend.
    """
    _check_flags(flags)
    data = study_data_of(flags, pipeline)
    job, warnings = _job(flags, pipeline, data, at)
    study = flags.name or _default_name(pipeline, data, job)
    check_name(study)
    folder = Path(flags.results_dir) / study
    check_result_kind(folder, "sanity.json")
    return _Session(flags, job, study, folder, command, worker).run(warnings)


class _Session:
    """One call of the command, once its input is known to be right."""

    def __init__(
        self, flags: Any, job: SanityJob, study: str, folder: Path, command: str, worker: Any
    ) -> None:
        from odapi_repro.execution.store import TrialStore

        self._flags = flags
        self._job = job
        self._study = study
        self._folder = folder
        self._command = command
        self._worker = worker or SimpleNamespace(train=None, evaluate=None)
        self._store = TrialStore(Path(flags.runs_dir))
        self._record = self._recorder()

    def run(self, warnings: Sequence[str]) -> int:
        """Prints the plan, runs it, reports."""
        from odapi_repro.execution.hardware import check_disk_space, check_writable
        from odapi_repro.execution.study_runner import missing_trials
        from odapi_repro.reporting.progress import Progress
        from odapi_repro.reporting.sanity.text import plan_text

        expected = self._job.expected(self._store)
        trials = [one.trial for one in expected]
        retry = self._flags.retry == "failed"
        todo = missing_trials(trials, self._store, retry_failed=retry)
        cost = self._cost(expected, [trial.trial_id for trial in todo])
        plan = plan_text(
            self._job, expected, study=self._study, todo=len(todo), cost=cost, warnings=warnings
        )
        print(plan, flush=True)
        if self._flags.dry_run:
            return EXIT_DONE
        for parent in (self._store.runs_dir, self._folder.parent):
            check_writable(parent)
        self._record.check_same(self._folder)
        check_disk_space(self._store.runs_dir)
        if todo and self._worker.train is None:
            from odapi_repro.execution.executor import check_worker_environment

            check_worker_environment()
        each = cost.seconds / len(todo) if cost.seconds and todo else None
        progress = Progress(len(trials), len(trials) - len(todo), expected_seconds=each)
        return self._run_and_report(progress, retry)

    def _run_and_report(self, progress: Any, retry: bool) -> int:
        from odapi_repro.execution.evaluations import WORKER
        from odapi_repro.execution.sanity.runner import SanityRunner
        from odapi_repro.reporting.sanity.report import write_sanity_report
        from odapi_repro.reporting.sanity.text import print_sanity

        runner = SanityRunner(
            self._job,
            self._store,
            self._executor_for,
            progress,
            lambda text: print(f"evaluating {text}", file=sys.stderr, flush=True),
            retry_failed=retry,
            worker=self._worker.evaluate or WORKER,
        )
        try:
            runner.run()
        finally:
            # Whatever ends it, the report says what is there.
            record = dataclasses.replace(self._record, outcome=runner.outcome)
            write_sanity_report(record, self._folder)
        print()
        print_sanity(record)
        print(f"\n{self._folder / 'README.md'}")
        failed = runner.failed()
        for name, state in failed:
            print(
                f"trial {name} {state.state}: {state.message}\n"
                f"  log: {self._store.folder(name) / 'train.log'}\n"
                "  --retry failed runs it again",
                file=sys.stderr,
            )
        return EXIT_FAILED if failed or record.verdict.is_fault else EXIT_DONE

    def _executor_for(self, steps: int) -> Any:
        """Gives the executor of a check's training of so many steps; 0 for the reference's."""
        from odapi_repro.execution.executor import LocalExecutor

        scale = self._job.trainings.conditions.scale
        runtime = runtime_of(self._flags, scale=scale)
        if steps:
            runtime = dataclasses.replace(
                runtime,
                steps_per_iteration=min(_BLOCK[scale], max(1, steps // _POINTS)),
                checkpoint_every_n=max(1, steps // _POINTS),
                checkpoint_max_to_keep=_KEPT,
            )
        if self._worker.train is None:
            return LocalExecutor(self._store, runtime)
        return LocalExecutor(self._store, runtime, worker=self._worker.train)

    def _cost(self, expected: Sequence[Training], todo: Sequence[str]) -> Any:
        from odapi_repro.execution.study_runner import cost_history, model_text
        from odapi_repro.study.cost import estimate_cost

        trials = [one.trial for one in expected if one.trial.trial_id in todo]
        conditions = self._job.trainings.conditions
        return estimate_cost(
            trials,
            [model_text(trial.spec.pipeline_text) for trial in trials],
            cost_history(self._store, conditions.device),
            scale=conditions.scale,
            family=self._job.trainings.pipeline.meta_architecture,
        )

    def _recorder(self) -> Any:
        from odapi_repro.execution.sanity.record import SanityRecord
        from odapi_repro.study.sanity.outcome import Outcome

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
        )


def _job(
    flags: Any, pipeline: Pipeline, data: StudyData, at: Mapping[str, str]
) -> tuple[SanityJob, tuple[str, ...]]:
    """Gives what is to be run, and what the user should be warned of."""
    from odapi_repro.execution.sanity.few_images import few_images
    from odapi_repro.execution.sanity.runner import SanityJob

    conditions = conditions_of(flags, pipeline, data, with_checkpoint=False)
    if flags.checkpoint:
        conditions = dataclasses.replace(conditions, checkpoint=None)
    ground = lay_groundwork(pipeline, data, dataclasses.replace(conditions, num_steps=None))
    trainings = SanityTrainings(pipeline, conditions, _levels(at, ground))
    few = few_images(data)
    source, warnings = None, ()
    reference_data, no_hold = None, ""
    if flags.checkpoint:
        source, warnings = _source(flags.checkpoint, trainings, few)
    elif conditions.scale == "full":
        no_hold = "no --checkpoint was named: a trained detector of this architecture and classes"
    else:
        reference_data, no_hold = _reference_data(data)
    job = SanityJob(
        trainings=trainings,
        data=data,
        few=few,
        source=source,
        reference_data=reference_data,
        no_hold=no_hold,
        sample_1_of_n=conditions.sample_1_of_n_eval_examples or 1,
    )
    return job, warnings


def _source(given: str, trainings: SanityTrainings, few: StudyData) -> Any:
    """Gives the user's checkpoint, which can be this pipeline's at this scale."""
    from odapi_repro.evaluation.checkpoint import built_with, check_source, find_checkpoint

    source = find_checkpoint(given)
    if not source.prefix:
        raise UserError(
            "this is a SavedModel, which cannot be trained on",
            expected="a trial's folder, a training folder, a ckpt-N prefix or an unpacked zoo "
            "archive",
            mend="name the archive's folder checkpoint/",
            where=given,
        )
    scaled = parse_pipeline(
        trainings.overfit(few, None, safe=False).trial.pipeline_text, trainings.pipeline.path
    )
    warnings = check_source(source, scaled)
    return built_with(source, scaled), warnings


def _reference_data(data: StudyData) -> tuple[StudyData | None, str]:
    """Gives the embedded set, where a model trained on it knows the classes of these records.

    A reference trained on the records under test would hold on them whatever their labels are.
    """
    from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP

    if data.source.name == EMBEDDED:
        return data, ""
    if set(data.label_map.items.values()) != set(SHAPES_LABEL_MAP.items.values()):
        return None, (
            "the reference of this scale knows the embedded shapes and none of these classes; "
            "name a --checkpoint that a trial of this scale has trained on records you trust"
        )
    return embedded_data(), ""


def embedded_data() -> StudyData:
    """Gives the embedded set."""
    from odapi_repro.datasets.label_map import read_label_map
    from odapi_repro.datasets.records import manifest, resolve_patterns
    from odapi_repro.datasets.source import resolve_data_source

    source = resolve_data_source(EMBEDDED)
    return StudyData(
        source,
        read_label_map(source.label_map_path),
        manifest(resolve_patterns(source.train_patterns)),
        manifest(resolve_patterns(source.eval_patterns)),
    )


def _levels(at: Mapping[str, str], ground: Groundwork) -> Mapping[str, Level]:
    levels = {}
    for name, text in at.items():
        if name not in SCHEDULE_FACTORS:
            raise UserError(
                f"--at {name}: no part of the schedule under test",
                expected=f"one of {', '.join(SCHEDULE_FACTORS)}",
                mend=f"{nearest(name, SCHEDULE_FACTORS)}e.g. --at learning_rate=2x",
            )
        factor = factor_named(name)
        factor.check_applies(ground.setting)
        levels[name] = factor.parse_level(text, ground.setting)
    return levels


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
