"""`explain`: from the flags to the results of an explanation."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.analysis.trial_table import BOX_METRICS, MASK_METRICS
from odapi_repro.datasets.source import EMBEDDED
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import UserError
from odapi_repro.features.explain.designs import check_budget
from odapi_repro.features.explain.explain_plan import (
    ExplainRequest,
    ExplanationPlan,
    plan_explanation,
)
from odapi_repro.features.explain.explain_plan_page import (
    ExplanationPrice,
    plan_page,
    price_explanation,
    replicate_spread,
)
from odapi_repro.features.explain.explain_trials import ExplanationTrials
from odapi_repro.features.explain.explanation import EXPLANATION_FILE
from odapi_repro.files import digest_of
from odapi_repro.foreign_text import shown
from odapi_repro.page.blocks import Page
from odapi_repro.page.results_folder import README, Results
from odapi_repro.page.terminal_page import print_page
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.reference import ReportedMetric, nearest_reference, reference_named, reference_of
from odapi_repro.reference.entry import Reference as CatalogueEntry
from odapi_repro.trials.groundwork import StudyData
from odapi_repro.trials.record_file import check_no_other_result
from odapi_repro.trials.session import TrainingSession
from odapi_repro.trials.study_flags import check_name, conditions_of, study_data_of
from odapi_repro.trials.study_progress import Progress
from odapi_repro.trials.trial_cost import CostEstimate
from odapi_repro.trials.trial_loop import Stop
from odapi_repro.trials.trial_store import TrialStore

_WITH_FROM = ("from", "format")


@dataclass(frozen=True)
class Reference:
    """What a config is compared with.

    Attributes:
        name: of the catalogue entry, or the file's without its ending.
        pipeline: at its own scale.
        reported: published for it; empty for a config of one's own.
        why: why this one, where nobody named it.
    """

    name: str
    pipeline: Pipeline
    reported: tuple[ReportedMetric, ...]
    why: str = ""


def user_pipeline(paths: Sequence[str]) -> Pipeline:
    """Reads the user's config.

    Raises:
        UserError: none or several were named.
        ConfigError: it cannot be read.
    """
    if len(paths) != 1:
        raise UserError(
            f"{len(paths)} configs were named" if paths else "no config was named",
            expected="one pipeline.config",
            mend="python -m odapi_repro.explain my.config --reference efficientdet_d3",
        )
    return load_pipeline(paths[0])


def named_reference(name: str | None, user: Pipeline) -> Reference:
    """Gives the reference: a catalogue entry, a config's file, or the nearest entry.

    Raises:
        UserError: no such entry and no such file.
    """
    if name is None:
        entry, why = nearest_reference(user)
        return _of_entry(entry, why)
    if os.path.isfile(name):
        pipeline = load_pipeline(name)
        entry_of = reference_of(pipeline)
        if entry_of is not None and entry_of.pipeline().proto == pipeline.proto:
            return _of_entry(entry_of)
        return Reference(os.path.splitext(os.path.basename(name))[0], pipeline, ())
    return _of_entry(reference_named(name))


def _of_entry(entry: CatalogueEntry, why: str = "") -> Reference:
    numbers = tuple(one for one in entry.reported)
    return Reference(entry.name, entry.pipeline(), numbers, why)


def explain(flags: Any, positional: list[str], command: str) -> int:
    """Runs an explanation, or reports one again, and gives the exit code of the command.

    Args:
        flags: of the command, parsed.
        positional: what was given without a flag.
        command: what was typed, for the report.

    Raises:
        UserError: the input is wrong; says what is.
    """
    _check_numbers(flags)
    if flags["from"].value:
        _check_alone(flags, positional)
        return _report_again(Path(flags["from"].value), flags.format)
    plan = _plan(flags, positional, command)
    ground, study = plan.ground, plan.explanation.study
    session = TrainingSession(
        flags,
        EXPLANATION_FILE,
        study,
        sys.stderr if flags.format == "json" else None,
        pipeline=ground.pipeline,
        data=ground.data,
        conditions=ground.conditions,
    )
    plan, trials, price = _within_budget(flags, plan, session.store)
    certain = trials.wanted()
    each = price.seconds_each
    cost = CostEstimate(None if each is None else each * len(certain), price.source)

    def page() -> Page:
        told = _told_price(price, len(certain), session.told(certain, cost))
        sd = math.nan if flags.sd is None else flags.sd
        return plan_page(plan, told, replicate_spread(plan, session.store), sd=sd)

    if not session.is_agreed(certain, cost, page):
        return EXIT_DONE
    check_no_other_result(session.folder, EXPLANATION_FILE.name)
    left = bool(price.left_max)
    session.check_start(plan.explanation.foundation, trains=left, runs=left)
    progress = Progress(price.finished + price.left_max, price.finished, expected_seconds=each)
    loop = session.loop(trials, progress, max_trials=_budget_trials(flags, price))
    stop, _ = session.run(loop, lambda: _results(trials))
    return _reported(session, trials, stop)


def _reported(session: TrainingSession, trials: ExplanationTrials, stop: Stop) -> int:
    _print(session.folder, session.flags.format)
    if stop == "budget":
        print(
            "the budget is spent, and the design asks for more trials: a larger --budget goes on",
            file=sys.stderr,
        )
    return session.ended(trials.trial_ids)


def _told_price(price: ExplanationPrice, certain: int, cost: CostEstimate) -> ExplanationPrice:
    """Gives the price with the time that is judged, where none has run here."""
    if price.seconds_each is not None or not certain or cost.seconds is None:
        return price
    each = cost.seconds / certain
    return dataclasses.replace(
        price,
        seconds_each=each,
        seconds_min=each * price.left_min,
        seconds_max=each * price.left_max,
        source=cost.source,
    )


def _results(trials: ExplanationTrials) -> Results | None:
    from odapi_repro.features.explain.explain_trials import subset_table
    from odapi_repro.features.explain.report.explanation_report import ExplanationReport
    from odapi_repro.features.explain.report.explanation_results import explanation_results

    table = trials.table
    if not len(table):
        return None
    return explanation_results(
        ExplanationReport(trials.plan.explanation, table, subset_table(trials))
    )


def _report_again(folder: Path, form: str) -> int:
    from odapi_repro.features.explain.report.explanation_results import read_report, write_report

    report = read_report(folder)
    effects = digest_of(folder / "effects.csv")
    write_report(report, folder)
    if effects not in ("", digest_of(folder / "effects.csv")):
        print(
            f"note: effects.csv of {shown(folder)} did not follow from the trials.csv beside it "
            "and was written again. If nobody changed the trials on purpose, restore them from "
            "version control",
            file=sys.stderr,
        )
    _print(folder, form)
    return EXIT_DONE


def _print(folder: Path, form: str) -> None:
    from odapi_repro.features.explain.report import explanation_results
    from odapi_repro.features.explain.report.explanation_page import explanation_page
    from odapi_repro.features.explain.report.explanation_results import read_report

    if not (folder / EXPLANATION_FILE.name).exists():
        print("nothing has run", file=sys.stderr)
        return
    report = read_report(folder)
    if form == "json":
        sys.stdout.write(explanation_results.render_json(report))
        return
    print()
    print_page(explanation_page(report))
    print(f"\n{shown(folder / README)}")


def _check_numbers(flags: Any) -> None:
    for name in ("user_ap", "checkpoint_ap"):
        value = flags[name].value
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
    if flags.budget is not None:
        _budget(flags.budget)
    if flags.sd is not None and not 0 < flags.sd < math.inf:
        raise UserError(f"--sd {flags.sd:g}", expected="points above 0", mend="--sd 1.5")
    if flags.cost_per_hour is not None and not 0 <= flags.cost_per_hour < math.inf:
        raise UserError(
            f"--cost_per_hour {flags.cost_per_hour:g}",
            expected="what an hour costs, a number from 0",
            mend="--cost_per_hour 1.5",
        )


def _check_alone(flags: Any, positional: list[str]) -> None:
    """Refuses what `--from` would not heed: a report follows from the study's files alone."""
    given = [f"--{name}" for name in flags if flags[name].present and name not in _WITH_FROM]
    if given or positional:
        raise UserError(
            f"--from with {', '.join([*positional, *given])}",
            expected="--from alone, or with --format: the report follows from the study's files",
            mend="give the study's own command (it stands in its README.md) to change the study",
        )


def _plan(flags: Any, positional: list[str], command: str) -> ExplanationPlan:
    user = user_pipeline([*positional, *([flags.pipeline] if flags.pipeline else [])])
    reference = named_reference(flags.reference, user)
    if reference.why:
        print(shown(f"reference: {reference.name}, {reference.why}"), file=sys.stderr)
    if flags.margin <= 0 or not math.isfinite(flags.margin):
        raise UserError(f"--margin {flags.margin}", expected="points above 0", mend="--margin 0.5")
    if flags.scale == "full" and flags.data == EMBEDDED and not flags.train_records:
        raise UserError(
            "--scale full on the embedded shapes",
            expected="the records that the config is about: at full scale AP stands beside the "
            "reported one",
            mend="name them with --data or --train_records, or leave --scale out",
        )
    _check_metric(flags.metric, reference)
    planned = functools.partial(_planned, flags, user, reference, command)
    return planned(study_data_of(flags, reference.pipeline, check=planned))


def _planned(
    flags: Any, user: Pipeline, reference: Reference, command: str, data: StudyData
) -> ExplanationPlan:
    conditions = conditions_of(flags, reference.pipeline, data)
    request = ExplainRequest(
        **vars(conditions),
        study=flags.name or "",
        command=command,
        reference_name=reference.name,
        reported=reference.reported,
        metric=flags.metric,
        design=flags.design,
        seeds=flags.seeds,
        first_seed=flags.first_seed,
        groups=_groups(flags.group),
        held=tuple(flags.hold),
        margin=flags.margin,
        orders=flags.orders,
        resolution=flags.resolution,
        race=flags.race,
        claimed=flags.user_ap,
        checkpoint_ap=flags.checkpoint_ap,
        user_steps=flags.user_steps,
        user_replicas=flags.user_replicas,
        cost_per_hour=flags.cost_per_hour,
    )
    plan = plan_explanation(user, reference.pipeline, data, request)
    explanation = plan.explanation
    name = flags.name or "-".join(
        [Path(user.path).stem, reference.name, explanation.design.name, explanation.scale]
    )
    check_name(name)
    return dataclasses.replace(plan, explanation=dataclasses.replace(explanation, study=name))


def _check_metric(metric: str, reference: Reference) -> None:
    if metric in MASK_METRICS and not reference.pipeline.predicts_masks:
        raise UserError(
            f"--metric {metric}, and {reference.name} predicts no masks",
            expected=f"one of {', '.join(BOX_METRICS)}",
            mend="--metric AP",
        )


def _groups(texts: Sequence[str]) -> tuple[tuple[str, ...], ...] | None:
    if not texts:
        return None
    named = [text for text in texts if text != "none"]
    return tuple(tuple(name.strip() for name in text.split("+")) for text in named)


def _within_budget(
    flags: Any, plan: ExplanationPlan, store: TrialStore
) -> tuple[ExplanationPlan, ExplanationTrials, ExplanationPrice]:
    """Gives the plan with what its race may add, and what is left to pay.

    Raises:
        UserError: the budget does not pay the design, or cannot be counted in trials.
    """
    trials = ExplanationTrials(plan, store)
    price = price_explanation(trials)
    budget = _budget_trials(flags, price)
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


def _budget_trials(flags: Any, price: ExplanationPrice) -> int | None:
    if flags.budget is None:
        return None
    amount, unit = _budget(flags.budget)
    if unit.startswith("trial"):
        return int(amount)
    if price.seconds_each is None:
        if not price.left_max:
            return 0
        raise UserError(
            f"--budget {flags.budget}: what a trial takes is not known ({price.source})",
            expected="a budget in trials, until one trial of this model has run here",
            mend=f"--budget {price.left_max}trials",
        )
    return int(amount * (3600 if unit == "h" else 60) / price.seconds_each)


def _budget(text: str) -> tuple[float, str]:
    """Gives amount and unit of a budget: `h`, `min`, `trial` or `trials`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(h|min|trials?)", text.strip())
    if match is None:
        raise UserError(
            f"--budget {text}",
            expected="hours, minutes or trials, with the unit",
            mend="--budget 12h, --budget 90min or --budget 40trials",
        )
    return float(match[1]), match[2]
