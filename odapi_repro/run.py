"""`python -m odapi_repro.run`: trains and evaluates the trials of a study, and leaves a table."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags

from odapi_repro.command import EXIT_DONE, EXIT_FAILED, run_command
from odapi_repro.datasets.source import EMBEDDED
from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Factor, factor_hint, factor_named
from odapi_repro.factors.axes import DESIGNS
from odapi_repro.factors.post_hoc import POST_HOC_FACTORS
from odapi_repro.features.ablate.plan import Plan, StudyData, StudyRequest, make_plan
from odapi_repro.features.ablate.study_plan_page import study_plan_page
from odapi_repro.features.ablate.study_record import StudyRecord
from odapi_repro.features.sanity.run_checks import run_sanity
from odapi_repro.features.sweep.run_sweep import is_post_hoc, run_post_hoc
from odapi_repro.foreign_text import command_line, shown
from odapi_repro.page.terminal_page import print_page
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.signals import held
from odapi_repro.trials.cost import CostEstimate
from odapi_repro.trials.executor import LocalExecutor, check_worker_environment
from odapi_repro.trials.hardware import check_disk_space, check_writable, count_gpus
from odapi_repro.trials.history import expected_cost
from odapi_repro.trials.progress import Progress
from odapi_repro.trials.store import FINISHED, TrialStore
from odapi_repro.trials.study_flags import (
    check_length,
    check_name,
    check_result_kind,
    conditions_of,
    define_study_flags,
    retries_failed,
    runtime_of,
    study_data_of,
    tell_unfinished,
    tell_unread,
    told_cost,
)
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_entries import missing_trials
from odapi_repro.trials.trial_loop import run_trials

__all__ = ["main"]

SUMMARY = "train and evaluate the trials of a study, and leave a table in results/"

FLAGS = flags.FlagValues()
_string = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_integer = functools.partial(flags.DEFINE_integer, flag_values=FLAGS)
_bool = functools.partial(flags.DEFINE_bool, flag_values=FLAGS)
_enum = functools.partial(flags.DEFINE_enum, flag_values=FLAGS)
_multi_string = functools.partial(flags.DEFINE_multi_string, flag_values=FLAGS)
_string(
    "pipeline",
    None,
    "pipeline.config to study (may be given without the flag, too); with factors that need no "
    "training, the checkpoint's own by default",
)
flags.DEFINE_alias("pipeline_config_path", "pipeline", flag_values=FLAGS)
define_study_flags(
    FLAGS,
    checkpoint="prefix of the checkpoint to start from (fills fine_tune_checkpoint); with factors "
    "that need no training, what to measure on, and with --sanity what to start from: a trial's or "
    "training folder, a ckpt-N prefix or an unpacked zoo archive; to measure on, several separated "
    "by commas, oldest first",
)
flags.DEFINE_list(
    "ablate",
    None,
    f"factors to vary: {', '.join(FACTORS)} (trained); or, measured on a finished --checkpoint, "
    f"{', '.join(POST_HOC_FACTORS)}",
    flag_values=FLAGS,
)
_multi_string(
    "levels",
    [],
    "levels of a factor: 2,8,32 with one factor, batch_size=2,8,32 (repeatable) with several; "
    "literal or relative to the reference (1/4)",
)
_multi_string(
    "at",
    [],
    "factor=level at which a factor stands while others are varied, e.g. batch_size=2 (repeatable)",
)
_enum(
    "design",
    DESIGNS[0],
    DESIGNS,
    "one factor at a time from the reference, or every combination",
)
_integer("seeds", 1, "replicates of every cell, seeds 1 to N", lower_bound=1)
_string("name", None, "name of the study; by default pipeline, factors and scale")
_enum("retry", None, ("failed",), "run failed trials again")
_bool("dry_run", False, "print the plan and stop")
_bool(
    "sanity",
    False,
    "tell wrong data from a wrong schedule: a trained --checkpoint at a very low rate, and ten "
    "images learned by heart at the schedule of the pipeline and --at; a verdict with its curves",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    arguments = sys.argv[1:] if argv is None else argv

    def run(positional: list[str]) -> int:
        command = command_line(["python", "-m", "odapi_repro.run", *arguments])
        return _run(positional, command)

    return run_command(run, FLAGS, arguments, name="run", summary=SUMMARY)


def _run(positional: list[str], command: str) -> int:
    if FLAGS.sanity:
        return run_sanity(FLAGS, _pipeline(positional), command, at=_at(FLAGS.at))
    factors = list(dict.fromkeys(FLAGS.ablate or ()))
    if is_post_hoc(factors, FLAGS.checkpoint):
        return run_post_hoc(
            FLAGS,
            positional,
            command,
            levels=_levels(FLAGS.levels, factors),
            gpus=count_gpus(),
            check_name=check_name,
        )
    pipeline = _pipeline(positional)
    trained = _named_factors()
    check = functools.partial(_check_before, pipeline, trained)
    data = study_data_of(FLAGS, pipeline, check=check)
    plan, study, earlier = _planned(pipeline, trained, data)
    request, folder = plan.request, Path(FLAGS.results_dir) / study
    store = TrialStore(Path(FLAGS.runs_dir))
    record = StudyRecord.of(plan)
    if earlier is not None:
        record = earlier.grown_by(record, study)
    todo = missing_trials(plan.trials, store, retry_failed=retries_failed(FLAGS))
    cost, unread = expected_cost(
        store,
        todo,
        device=request.device,
        scale=request.scale,
        family=pipeline.meta_architecture,
    )
    if not FLAGS.dry_run:
        check_length(FLAGS, todo, pipeline, data, request, cost, dry_run=False)
    tell_unread(unread)
    print_page(study_plan_page(plan, study=study, todo=todo, cost=told_cost(todo, cost, request)))
    if FLAGS.dry_run:
        check_length(FLAGS, todo, pipeline, data, request, cost, dry_run=True)
        return EXIT_DONE
    if todo:
        check_worker_environment()
        check_disk_space(store.runs_dir)
    record.write(folder)
    return _run_and_report(plan, record, store, todo, folder, command, cost.seconds)


def _run_and_report(
    plan: Plan,
    record: StudyRecord,
    store: TrialStore,
    todo: Sequence[Trial],
    folder: Path,
    command: str,
    expected_seconds: float | None,
) -> int:
    from odapi_repro.features.ablate.assemble_study import assemble_report
    from odapi_repro.features.ablate.study_page import study_results

    progress = Progress(
        len(plan.trials),
        len(plan.trials) - len(todo),
        expected_seconds=expected_seconds / len(todo) if expected_seconds and todo else None,
    )
    executor = LocalExecutor(store, runtime_of(FLAGS, scale=plan.request.scale))
    try:
        run_trials(todo, store, executor, progress)
    finally:
        # Whatever ends the study, the table says what is there.
        with held():
            report = assemble_report(record, plan, store, study=folder.name, command=command)
            results = study_results(report)
            results.write(folder)
    print()
    print_page(results.page)
    print(f"\n{shown(folder / 'README.md')}")
    states = [(trial.trial_id, store.state(trial.trial_id)) for trial in plan.trials]
    unfinished = [one for one in states if one[1].state not in FINISHED]
    tell_unfinished(store, unfinished)
    return EXIT_FAILED if unfinished else EXIT_DONE


def _pipeline(positional: list[str]) -> Pipeline:
    paths = [*positional, *([FLAGS.pipeline] if FLAGS.pipeline else [])]
    if len(paths) != 1:
        raise UserError(
            f"{len(paths)} pipelines were named" if paths else "no pipeline was named",
            expected="one pipeline.config",
            mend="--pipeline pipelines/effdet_d3.config",
        )
    return load_pipeline(paths[0])


def _planned(
    pipeline: Pipeline, factors: Sequence[Factor], data: StudyData
) -> tuple[Plan, str, StudyRecord | None]:
    """Gives the plan, the study's name, and what an earlier command has noted of it."""
    request = _request(pipeline, factors, data)
    study = FLAGS.name or _default_name(pipeline, request, data)
    check_name(study)
    folder = Path(FLAGS.results_dir) / study
    for parent in (Path(FLAGS.runs_dir), Path(FLAGS.results_dir)):
        check_writable(parent)
    check_result_kind(folder, "study.json")
    earlier = StudyRecord.read(folder)
    if earlier is not None:
        held = {name: axis["at"] for name, axis in earlier.axes.items()}
        request = dataclasses.replace(request, held_before=held)
    return make_plan(pipeline, data, request), study, earlier


def _check_before(pipeline: Pipeline, factors: Sequence[Factor], data: StudyData) -> None:
    """Refuses what cannot be run on data that are not made yet."""
    plan, _, _ = _planned(pipeline, factors, data)
    if not FLAGS.dry_run and not TrialStore(Path(FLAGS.runs_dir)).trial_ids():
        unknown = CostEstimate(None, "no trial has run here yet")
        check_length(FLAGS, plan.trials, pipeline, data, plan.request, unknown, dry_run=False)


def _named_factors() -> tuple[Factor, ...]:
    if not FLAGS.ablate:
        raise UserError(
            "no factor was named",
            expected="--ablate with one or more factors",
            mend="--ablate batch_size",
        )
    return tuple(factor_named(name) for name in dict.fromkeys(FLAGS.ablate))


def _request(pipeline: Pipeline, factors: Sequence[Factor], data: StudyData) -> StudyRequest:
    return StudyRequest(
        factors=tuple(factors),
        levels=_levels(FLAGS.levels, [factor.name for factor in factors]),
        at=_at(FLAGS.at),
        design=FLAGS.design,
        seeds=tuple(range(1, FLAGS.seeds + 1)),
        **vars(conditions_of(FLAGS, pipeline, data)),
    )


def _levels(texts: Sequence[str], names: Sequence[str]) -> Mapping[str, list[str]]:
    levels: dict[str, list[str]] = {}
    for text in texts:
        name, separator, values = text.partition("=")
        if not separator:
            if len(names) != 1:
                raise UserError(
                    f"--levels {text} does not say which factor it is for",
                    expected=f"one of {', '.join(names)} before the levels",
                    mend=f"--levels {names[0]}={text}",
                )
            name, values = names[0], text
        if name not in names:
            raise UserError(
                f"--levels names '{name}', which is not among --ablate",
                expected=f"one of {', '.join(names)}",
                mend=factor_hint(name, names) or f"--levels {names[0]}={values}",
            )
        cleaned = [value.strip() for value in values.split(",") if value.strip()]
        if not cleaned:
            raise UserError(
                f"--levels {text} holds no level",
                expected="levels separated by commas",
                mend="e.g. --levels 2,8",
            )
        levels.setdefault(name, []).extend(cleaned)
    return levels


def _at(texts: Sequence[str]) -> Mapping[str, str]:
    at = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not value:
            raise UserError(
                f"--at {text} names no level", expected="factor=level", mend="--at batch_size=2"
            )
        at[factor_named(name).name] = value
    return at


def _default_name(pipeline: Pipeline, request: StudyRequest, data: StudyData) -> str:
    parts = [Path(pipeline.path).stem, "-".join(factor.name for factor in request.factors)]
    if data.source.name != EMBEDDED:
        name = Path(data.source.name).name.split(".")[0]
        parts.append(re.sub(r"-\d{5}-of-\d{5}$", "", name))
    return "-".join([*parts, request.scale])


if __name__ == "__main__":
    sys.exit(main())
