"""`run --ablate` with factors that are trained: from the flags to the results of a study."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from odapi_repro.datasets.source import EMBEDDED
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import UserError
from odapi_repro.factors import TrainedFactor, factor_named
from odapi_repro.features.ablate.study_plan import Plan, StudyRequest, make_plan, study_plan_page
from odapi_repro.features.ablate.study_record import STUDY_FILE, StudyRecord
from odapi_repro.page.results_folder import Results
from odapi_repro.pipeline import Pipeline
from odapi_repro.trials.groundwork import StudyData
from odapi_repro.trials.session import TrainingSession, seconds_each
from odapi_repro.trials.study_flags import (
    check_name,
    conditions_of,
    levels_held,
    levels_named,
    study_data_of,
)
from odapi_repro.trials.study_progress import Progress
from odapi_repro.trials.trial_cost import CostEstimate
from odapi_repro.trials.trial_loop import PlannedTrials


def run_study(flags: Any, pipeline: Pipeline, command: str) -> int:
    """Runs the trials of a study and gives the exit code of the command.

    Args:
        flags: of the command, parsed.
        pipeline: to study.
        command: what was typed, for the report.

    Raises:
        UserError: the input is wrong; says what is.
    """
    factors = _named_factors(flags)
    data = study_data_of(flags, pipeline, check=lambda one: _check(flags, pipeline, factors, one))
    plan, session, earlier = _planned(flags, pipeline, factors, data)
    record = StudyRecord.of(plan)
    if earlier is not None:
        record = earlier.grown_by(record, session.study)
    todo = session.missing(plan.trials)
    cost = session.cost(todo)

    def page() -> Any:
        return study_plan_page(plan, study=session.study, todo=todo, cost=session.told(todo, cost))

    if not session.is_agreed(todo, cost, page):
        return EXIT_DONE
    session.check_start(None, trains=bool(todo), runs=bool(todo))
    STUDY_FILE.write(session.folder, vars(record))
    progress = Progress(
        len(plan.trials),
        len(plan.trials) - len(todo),
        expected_seconds=seconds_each(cost, todo),
    )

    def results() -> Results:
        from odapi_repro.features.ablate.study_page import study_results
        from odapi_repro.features.ablate.study_report import assemble_report

        study = session.study
        return study_results(
            assemble_report(record, plan, session.store, study=study, command=command)
        )

    _, made = session.run(session.loop(PlannedTrials(todo), progress), results)
    assert made is not None
    session.show(made)
    return session.ended(trial.trial_id for trial in plan.trials)


def _planned(
    flags: Any, pipeline: Pipeline, factors: Sequence[TrainedFactor], data: StudyData
) -> tuple[Plan, TrainingSession, StudyRecord | None]:
    """Gives the plan, the session, and what an earlier command has noted of the study."""
    request = _request(flags, pipeline, factors, data)
    study = flags.name or _default_name(pipeline, request, data)
    check_name(study)
    session = TrainingSession(
        flags, STUDY_FILE, study, pipeline=pipeline, data=data, conditions=request
    )
    session.check_folders()
    earlier = StudyRecord.read(session.folder)
    if earlier is not None:
        held = {name: axis["at"] for name, axis in earlier.axes.items()}
        request = dataclasses.replace(request, held_before=held)
    return make_plan(pipeline, data, request), session, earlier


def _check(
    flags: Any, pipeline: Pipeline, factors: Sequence[TrainedFactor], data: StudyData
) -> None:
    """Refuses what cannot be run on data that are not made yet."""
    plan, session, _ = _planned(flags, pipeline, factors, data)
    if not flags.dry_run and not session.store.trial_ids():
        session.check_length(plan.trials, CostEstimate(None, "no trial has run here yet"))


def _named_factors(flags: Any) -> tuple[TrainedFactor, ...]:
    if not flags.ablate:
        raise UserError(
            "no factor was named",
            expected="--ablate with one or more factors",
            mend="--ablate batch_size",
        )
    return tuple(factor_named(name) for name in dict.fromkeys(flags.ablate))


def _request(
    flags: Any, pipeline: Pipeline, factors: Sequence[TrainedFactor], data: StudyData
) -> StudyRequest:
    return StudyRequest(
        factors=tuple(factors),
        levels=levels_named(flags.levels, [factor.name for factor in factors]),
        at=levels_held(flags.at),
        design=flags.design,
        seeds=tuple(range(1, flags.seeds + 1)),
        **vars(conditions_of(flags, pipeline, data)),
    )


def _default_name(pipeline: Pipeline, request: StudyRequest, data: StudyData) -> str:
    parts = [Path(pipeline.path).stem, "-".join(factor.name for factor in request.factors)]
    if data.source.name != EMBEDDED:
        parts.append(Path(data.source.name).name.split(".")[0])
    return "-".join([*parts, request.scale])
