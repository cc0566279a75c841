"""`python -m odapi_repro.explain`: shares the gap to a reference among a config's deviations."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from odapi_repro.analysis.trials import BOX_METRICS, MASK_METRICS
from odapi_repro.command import EXIT_DONE, EXIT_FAILED, run_command
from odapi_repro.datasets.source import EMBEDDED
from odapi_repro.ending import say
from odapi_repro.errors import UserError
from odapi_repro.features.explain.compared_configs import Reference, named_reference, user_pipeline
from odapi_repro.features.explain.design_choice import AUTO, EXPLAINING_DESIGNS
from odapi_repro.features.explain.designs import check_budget
from odapi_repro.features.explain.explain_plan import (
    ExplainRequest,
    ExplanationPlan,
    plan_explanation,
)
from odapi_repro.features.explain.explain_price import (
    ExplanationPrice,
    price_explanation,
    replicate_spread,
)
from odapi_repro.features.explain.explain_runner import ExplanationTrials, run_explanation
from odapi_repro.features.explain.explanation import Explanation
from odapi_repro.features.explain.plan_page import plan_page
from odapi_repro.files import digest_of
from odapi_repro.foreign_text import command_line, shown
from odapi_repro.page.terminal_page import Terminal, print_page, terminal_page
from odapi_repro.pipeline import Pipeline
from odapi_repro.signals import held
from odapi_repro.trials.cost import CostEstimate
from odapi_repro.trials.executor import LocalExecutor, check_worker_environment
from odapi_repro.trials.hardware import check_disk_space, check_writable
from odapi_repro.trials.progress import Progress
from odapi_repro.trials.store import TrialStore
from odapi_repro.trials.study_data import StudyData
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
    told_cost,
)
from odapi_repro.trials.trial_entries import check_same_foundation

__all__ = ["main"]

SUMMARY = "share the gap between a config and its reference among the deviations, with intervals"

_WITH_FROM = ("from", "format")

FLAGS = flags.FlagValues()
_string = functools.partial(flags.DEFINE_string, flag_values=FLAGS)
_integer = functools.partial(flags.DEFINE_integer, flag_values=FLAGS, lower_bound=1)
_float = functools.partial(flags.DEFINE_float, flag_values=FLAGS)
_bool = functools.partial(flags.DEFINE_bool, flag_values=FLAGS)
_enum = functools.partial(flags.DEFINE_enum, flag_values=FLAGS)
_string("pipeline", None, "your pipeline.config (may be given without the flag, too)")
flags.DEFINE_alias("pipeline_config_path", "pipeline", flag_values=FLAGS)
_string(
    "reference",
    None,
    "what it is compared with: a catalogue entry or a pipeline.config; by default the nearest "
    "entry",
)
_enum(
    "design",
    AUTO,
    EXPLAINING_DESIGNS,
    "which combinations of deviations are trained; auto: Shapley values for up to 4 deviations, "
    "else one at a time from both ends",
)
_integer("seeds", 2, "replicates of every cell; a path or a bisection decides by a third of them")
_integer("first_seed", 1, "the first of the seeds")
flags.DEFINE_multi_string(
    "group",
    [],
    "factors that move together as one deviation, joined by + (repeatable); `none`: each alone; by "
    "default a warm-up that only follows the schedule moves with it",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "hold", [], "factors that stay at the reference's level in all trials", flag_values=FLAGS
)
_enum("metric", "AP", (*BOX_METRICS, *MASK_METRICS), "what is shared out")
_float("margin", 0.5, "points within which an effect is called equivalent to none")
_integer("orders", 8, "pairs of orders of sampled_shapley")
_integer("resolution", 4, "of a fractional factorial, at least", upper_bound=5)
_bool("race", False, "add replicates where an effect is not decided yet")
_string("budget", None, "most to spend, e.g. 12h, 90min or 40trials; it bounds the race, too")
_float("cost_per_hour", None, "what an hour costs, for the plan")
_float("sd", None, "standard deviation between replicates in points, for the plan")
_float("user_ap", None, "the number that you got, in points: for the parts of the gap")
_float("checkpoint_ap", None, "what the published checkpoint scored in your evaluation, in points")
_integer("user_steps", None, "--num_train_steps of your training, where it was given")
_integer("user_replicas", None, "replicas that shared your batch")
_string("name", None, "name of the study; by default config, reference, design and scale")
_bool("plan", False, "print the plan with its price, and stop")
flags.DEFINE_alias("dry_run", "plan", flag_values=FLAGS)
_string("from", None, "a study's folder in results/: report it again, training nothing")
_enum("format", "text", ("text", "json"), "how the result is printed")
_enum("retry", None, ("failed",), "run failed trials again")
define_study_flags(
    FLAGS,
    checkpoint="prefix of the checkpoint that all trials start from (fills fine_tune_checkpoint)",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    arguments = sys.argv[1:] if argv is None else argv

    def run(positional: list[str]) -> int:
        return _run(positional, command_line(["python", "-m", "odapi_repro.explain", *arguments]))

    return run_command(run, FLAGS, arguments, name="explain", summary=SUMMARY)


def _run(positional: list[str], command: str) -> int:
    _check_numbers()
    if FLAGS["from"].value:
        _check_alone(positional)
        return _report_again(Path(FLAGS["from"].value))
    plan = _plan(positional, command)
    folder = Path(FLAGS.results_dir) / plan.explanation.study
    store = TrialStore(Path(FLAGS.runs_dir))
    plan, trials, price = _within_budget(plan, store)
    spread = replicate_spread(plan, store)
    sd = math.nan if FLAGS.sd is None else FLAGS.sd
    told = sys.stderr if FLAGS.format == "json" else sys.stdout
    if not FLAGS.plan:
        _check_length(plan, trials, price)
    page = plan_page(plan, _told_price(plan, trials, price), spread, sd=sd)
    say(terminal_page(page, Terminal.of(told)), file=told)
    if FLAGS.plan:
        _check_length(plan, trials, price)
        return EXIT_DONE
    for parent in (Path(FLAGS.runs_dir), folder.parent):
        check_writable(parent)
    check_result_kind(folder, "explanation.json")
    _check_same_study(plan, folder)
    if price.left_max:
        check_worker_environment()
        check_disk_space(store.runs_dir)
    return _train(plan, trials, price, folder)


def _check_length(
    plan: ExplanationPlan, trials: ExplanationTrials, price: ExplanationPrice
) -> None:
    """Judges the trials that are certain to run next: all, where the design is fixed."""
    certain = trials.wanted()
    each = price.seconds_each
    cost = CostEstimate(None if each is None else each * len(certain), price.source)
    ground = plan.ground
    check_length(
        FLAGS,
        certain,
        ground.pipeline,
        ground.data,
        ground.conditions,
        cost,
        dry_run=FLAGS.plan,
    )


def _told_price(
    plan: ExplanationPlan, trials: ExplanationTrials, price: ExplanationPrice
) -> ExplanationPrice:
    """Gives the price with the time that `_check_length` judges, where none has run here."""
    certain = trials.wanted()
    if price.seconds_each is not None or not certain:
        return price
    rough = told_cost(certain, CostEstimate(None, price.source), plan.ground.conditions)
    if rough.seconds is None:
        return price
    each = rough.seconds / len(certain)
    return dataclasses.replace(
        price,
        seconds_each=each,
        seconds_min=each * price.left_min,
        seconds_max=each * price.left_max,
        source=rough.source,
    )


def _check_numbers() -> None:
    for name in ("user_ap", "checkpoint_ap"):
        value = FLAGS[name].value
        if value is not None and not 0 <= value <= 100:
            raise UserError(
                f"--{name} {value:g}", expected="points, 0 to 100", mend=f"--{name} 45.4"
            )
        if value is not None and 0 < value < 1:
            print(
                f"--{name} {value:g} is taken as {value:g} points of 100; an AP of {value:g} out "
                f"of 1 is --{name} {100 * value:g}",
                file=sys.stderr,
            )
    if FLAGS.budget is not None:
        _budget(FLAGS.budget)
    if FLAGS.sd is not None and not FLAGS.sd > 0:
        raise UserError(f"--sd {FLAGS.sd:g}", expected="points above 0", mend="--sd 1.5")


def _check_alone(positional: list[str]) -> None:
    """Refuses what `--from` would not heed: a report follows from the study's files alone."""
    given = [f"--{name}" for name in FLAGS if FLAGS[name].present and name not in _WITH_FROM]
    if given or positional:
        raise UserError(
            f"--from with {', '.join([*positional, *given])}",
            expected="--from alone, or with --format: the report follows from the study's files",
            mend="give the study's own command (it stands in its README.md) to change the study",
        )


def _plan(positional: list[str], command: str) -> ExplanationPlan:
    user = user_pipeline([*positional, *([FLAGS.pipeline] if FLAGS.pipeline else [])])
    reference = named_reference(FLAGS.reference, user)
    if reference.why:
        print(shown(f"reference: {reference.name}, {reference.why}"), file=sys.stderr)
    if FLAGS.margin <= 0 or not math.isfinite(FLAGS.margin):
        raise UserError(f"--margin {FLAGS.margin}", expected="points above 0", mend="--margin 0.5")
    if FLAGS.scale == "full" and FLAGS.data == EMBEDDED and not FLAGS.train_records:
        raise UserError(
            "--scale full on the embedded shapes",
            expected="the records that the config is about: at full scale AP stands beside the "
            "reported one",
            mend="name them with --data or --train_records, or leave --scale out",
        )
    _check_metric(reference)
    planned = functools.partial(_planned, user, reference, command)
    return planned(study_data_of(FLAGS, reference.pipeline, check=planned))


def _planned(
    user: Pipeline, reference: Reference, command: str, data: StudyData
) -> ExplanationPlan:
    conditions = conditions_of(FLAGS, reference.pipeline, data)
    request = ExplainRequest(
        **vars(conditions),
        study=FLAGS.name or "",
        command=command,
        reference_name=reference.name,
        reported=reference.reported,
        metric=FLAGS.metric,
        design=FLAGS.design,
        seeds=FLAGS.seeds,
        first_seed=FLAGS.first_seed,
        groups=_groups(FLAGS.group),
        held=tuple(FLAGS.hold),
        margin=FLAGS.margin,
        orders=FLAGS.orders,
        resolution=FLAGS.resolution,
        race=FLAGS.race,
        claimed=FLAGS.user_ap,
        checkpoint_ap=FLAGS.checkpoint_ap,
        user_steps=FLAGS.user_steps,
        user_replicas=FLAGS.user_replicas,
        cost_per_hour=FLAGS.cost_per_hour,
    )
    plan = plan_explanation(user, reference.pipeline, data, request)
    explanation = plan.explanation
    name = FLAGS.name or "-".join(
        [Path(user.path).stem, reference.name, explanation.design.name, explanation.scale]
    )
    check_name(name)
    return dataclasses.replace(plan, explanation=dataclasses.replace(explanation, study=name))


def _check_metric(reference: Reference) -> None:
    if FLAGS.metric in MASK_METRICS and not reference.pipeline.predicts_masks:
        raise UserError(
            f"--metric {FLAGS.metric}, and {reference.name} predicts no masks",
            expected=f"one of {', '.join(BOX_METRICS)}",
            mend="--metric AP",
        )


def _groups(texts: Sequence[str]) -> tuple[tuple[str, ...], ...] | None:
    if not texts:
        return None
    named = [text for text in texts if text != "none"]
    return tuple(tuple(name.strip() for name in text.split("+")) for text in named)


def _within_budget(
    plan: ExplanationPlan, store: TrialStore
) -> tuple[ExplanationPlan, ExplanationTrials, ExplanationPrice]:
    """Gives the plan with what its race may add, and what is left to pay.

    Raises:
        UserError: the budget does not pay the design, or cannot be counted in trials.
    """
    trials = ExplanationTrials(plan, store)
    price = price_explanation(trials)
    budget = _budget_trials(price)
    if budget is None:
        return plan, trials, price
    check_budget(plan.design, trials=budget, finished=price.finished)
    choice = plan.explanation.design
    if choice.race is None:
        return plan, trials, price
    race = dataclasses.replace(choice.race, max_trials=max(0, budget - price.left_max))
    explanation = dataclasses.replace(
        plan.explanation, design=dataclasses.replace(choice, race=race)
    )
    plan = dataclasses.replace(plan, explanation=explanation)
    trials = ExplanationTrials(plan, store)
    return plan, trials, price_explanation(trials)


def _budget_trials(price: ExplanationPrice) -> int | None:
    if FLAGS.budget is None:
        return None
    amount, unit = _budget(FLAGS.budget)
    if unit.startswith("trial"):
        return int(amount)
    if price.seconds_each is None:
        if not price.left_max:
            return 0
        raise UserError(
            f"--budget {FLAGS.budget}: what a trial takes is not known ({price.source})",
            expected="a budget in trials, until one trial of this model has run here",
            mend=f"--budget {price.left_max}trials",
        )
    return int(amount * (3600 if unit == "h" else 60) / price.seconds_each)


def _budget(text: str) -> tuple[float, str]:
    """Gives amount and unit of a budget: `h`, `min`, `trial` or `trials`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(h|min|trials?)", text.strip())
    if match is None:
        raise UserError(
            f"--budget {text}",
            expected="hours, minutes or trials, with the unit",
            mend="--budget 12h, --budget 90min or --budget 40trials",
        )
    return float(match[1]), match[2]


def _check_same_study(plan: ExplanationPlan, folder: Path) -> None:
    """Refuses to let a study go on with trials that are made of something else."""
    with contextlib.suppress(FileNotFoundError):
        earlier = Explanation.read(folder / "explanation.json")
        explanation = plan.explanation
        check_same_foundation(explanation.study, earlier.foundation, explanation.foundation)


def _train(
    plan: ExplanationPlan, trials: ExplanationTrials, price: ExplanationPrice, folder: Path
) -> int:
    progress = Progress(
        price.finished + price.left_max, price.finished, expected_seconds=price.seconds_each
    )
    executor = LocalExecutor(trials.store, runtime_of(FLAGS, scale=plan.explanation.scale))
    try:
        stop = run_explanation(
            trials,
            executor,
            progress,
            progress.expect,
            retry_failed=retries_failed(FLAGS),
            max_trials=_budget_trials(price),
        )
    finally:
        # Whatever ends the study, the report says what is there.
        with held():
            _write(trials, folder)
    _print(folder)
    if stop == "budget":
        print(
            "the budget is spent, and the design asks for more trials: a larger --budget goes on",
            file=sys.stderr,
        )
    tell_unfinished(trials.store, trials.failed())
    return EXIT_FAILED if stop == "failed" else EXIT_DONE


def _write(trials: ExplanationTrials, folder: Path) -> None:
    from odapi_repro.features.explain.explain_subsets import subset_table
    from odapi_repro.features.explain.report.explanation_report import ExplanationReport
    from odapi_repro.features.explain.report.explanation_results import write_report

    table = trials.table
    if not len(table):
        return
    evaluation = subset_table(trials)
    write_report(ExplanationReport(trials.plan.explanation, table, evaluation), folder)


def _report_again(folder: Path) -> int:
    from odapi_repro.features.explain.report.explanation_results import read_report, write_report

    report = read_report(folder)
    effects = digest_of(folder / "effects.csv")
    write_report(report, folder)
    if effects not in ("", digest_of(folder / "effects.csv")):
        print(
            f"note: effects.csv of {shown(folder)} was not what follows from the trials.csv beside "
            "it, and is written anew; if nobody changed the trials on purpose, take them from "
            "where they were committed",
            file=sys.stderr,
        )
    _print(folder)
    return EXIT_DONE


def _print(folder: Path) -> None:
    from odapi_repro.features.explain.report import explanation_json
    from odapi_repro.features.explain.report.explanation_page import explanation_page
    from odapi_repro.features.explain.report.explanation_results import read_report

    if not (folder / "explanation.json").exists():
        print("nothing has run", file=sys.stderr)
        return
    report = read_report(folder)
    if FLAGS.format == "json":
        sys.stdout.write(explanation_json.render(report))
        return
    print()
    print_page(explanation_page(report))
    print(f"\n{shown(folder / 'README.md')}")


if __name__ == "__main__":
    sys.exit(main())
