"""`run --sanity`: from the flags to the verdict."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odapi_repro.ending import EXIT_DONE, EXIT_FAILED
from odapi_repro.errors import UserError
from odapi_repro.page.blocks import Page
from odapi_repro.page.results_folder import Results
from odapi_repro.pipeline import Pipeline
from odapi_repro.trials.executors.local_executor import Runtime
from odapi_repro.trials.groundwork import StudyData
from odapi_repro.trials.session import TrainingSession, seconds_each
from odapi_repro.trials.study_flags import check_name
from odapi_repro.trials.study_progress import Progress
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_loop import Course

if TYPE_CHECKING:
    from odapi_repro.features.sanity.sanity_record import SanityJob


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
        flags: of the command, parsed.
        pipeline: under test.
        command: what was typed, for the report.
        at: factor name -> level text, the schedule under test.

    Raises:
        UserError: the input is wrong; says what is.
    """
    # SciPy and pandas take their time to import; --help and other studies do without.
    from odapi_repro.features.sanity.sanity_checks import SanityChecks
    from odapi_repro.features.sanity.sanity_inputs import sanity_data, sanity_job
    from odapi_repro.features.sanity.sanity_page import sanity_plan_page, sanity_results
    from odapi_repro.features.sanity.sanity_record import SANITY_FILE

    _check_flags(flags)
    data, notes = sanity_data(flags, pipeline, at)
    job, warnings = sanity_job(flags, pipeline, data, at)
    job = dataclasses.replace(job, notes=notes)
    study = flags.name or _default_name(pipeline, data, job)
    check_name(study)
    trainings = job.trainings
    conditions = trainings.conditions
    session = TrainingSession(
        flags, SANITY_FILE, study, pipeline=trainings.pipeline, data=job.data, conditions=conditions
    )
    SANITY_FILE.check_kind(session.folder)
    expected = job.expected(session.store)
    todo = session.missing(one.trial for one in expected)
    cost = session.cost(todo)

    def page() -> Page:
        told = session.told(todo, cost)
        return sanity_plan_page(
            job, expected, study=study, todo=len(todo), cost=told, warnings=warnings
        )

    if not session.is_agreed(todo, cost, page):
        return EXIT_DONE
    record = job.record(study, command)
    session.check_start(record.foundation, trains=bool(todo), runs=True)
    total = len(expected)
    each = seconds_each(cost, todo)
    progress = Progress(total, total - len(todo), expected_seconds=each)
    checks = SanityChecks(job, session.store, progress.stage, on_more=lambda: progress.expect(1))

    def results() -> Results:
        return sanity_results(dataclasses.replace(record, outcome=checks.outcome))

    loop = session.loop(
        Course(checks.steps(), session.store),
        progress,
        runtime_for=_runtime_for(conditions.scale),
        on_planned=lambda wanted: None,
    )
    _, made = session.run(loop, results)
    assert made is not None
    session.show(made)
    failed = session.ended(checks.trial_ids)
    verdict = dataclasses.replace(record, outcome=checks.outcome).verdict
    return EXIT_FAILED if failed or verdict.is_fault else EXIT_DONE


def _runtime_for(scale: str) -> Any:
    """Gives how a check's training runs: with a curve; the reference's as any other."""

    def runtime_for(trial: Trial, runtime: Runtime) -> Runtime:
        if trial.cell["check"] == "reference":
            return runtime
        quarter = max(1, trial.num_steps // _POINTS)
        return dataclasses.replace(
            runtime,
            steps_per_iteration=min(_BLOCK[scale], quarter),
            checkpoint_every_n=quarter,
            checkpoint_max_to_keep=_KEPT,
        )

    return runtime_for


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
    at = [f"{factor}_{level.label}" for factor, level in job.trainings.at.items()]
    scale = job.trainings.conditions.scale
    text = "-".join([Path(pipeline.path).stem, "sanity", name, *at, scale])
    return re.sub(r"[^A-Za-z0-9._=+-]", "_", text)
