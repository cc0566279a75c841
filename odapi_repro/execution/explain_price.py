"""What an explanation will take: trials, hours, money, and the smallest effect it would see."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass

from odapi_repro.execution.explain_runner import ExplanationTrials
from odapi_repro.execution.store import TrialStore
from odapi_repro.execution.study_runner import cost_history, model_text
from odapi_repro.study.cost import CostEstimate, estimate_cost
from odapi_repro.study.designs import FixedDesign, Price
from odapi_repro.study.explain_plan import ExplanationPlan
from odapi_repro.study.trial import Trial

__all__ = ["ExplanationPrice", "ReplicateSpread", "price_explanation", "replicate_spread"]


@dataclass(frozen=True)
class ReplicateSpread:
    """How trials vary that differ in their seed alone.

    Attributes:
        sd: standard deviation in points, pooled over cells.
        df: its degrees of freedom.
        cells: that it is pooled over.
    """

    sd: float
    df: int
    cells: int


@dataclass(frozen=True)
class ExplanationPrice:
    """The price of an explanation before it is run.

    Attributes:
        price: of its design, whatever has run.
        finished: trials of it that need not be run again, as far as the design knows its cells.
        race_trials: that a race may add; 0 without one.
        seconds_each: expected of one trial; None where nothing is known.
        seconds_min, seconds_max: expected for what is left, one trial after the other, without the
            race.
        source: where the expectation comes from.
    """

    price: Price
    finished: int
    race_trials: int
    seconds_each: float | None
    seconds_min: float | None
    seconds_max: float | None
    source: str

    @property
    def left_min(self) -> int:
        """The fewest trials left to run."""
        return max(0, self.price.trials_min - self.finished)

    @property
    def left_max(self) -> int:
        """The most trials left to run, without the race."""
        return max(0, self.price.trials_max - self.finished)


def price_explanation(trials: ExplanationTrials) -> ExplanationPrice:
    """Gives what is left to pay for an explanation."""
    plan = trials.plan
    design, choice = plan.design, plan.explanation.design
    wanted = trials.wanted()
    price = design.price()
    finished = len(trials.table)
    race = 0
    if choice.race is not None:
        most = price.cells_max * (choice.race.replicates[-1] - choice.race.replicates[0])
        race = most if choice.race.max_trials is None else min(most, choice.race.max_trials)
    if isinstance(design, FixedDesign):
        cost = _cost(plan, trials.store, wanted)
        each = cost.seconds / len(wanted) if cost.seconds is not None and wanted else None
        return ExplanationPrice(
            price, finished, race, each, cost.seconds, cost.seconds, cost.source
        )
    ends = [plan.trial(cell, choice.seeds[0]) for cell in (design.reference, design.user)]
    cost = _cost(plan, trials.store, ends)
    each = None if cost.seconds is None else cost.seconds / len(ends)
    made = ExplanationPrice(price, finished, race, each, None, None, cost.source)
    if each is None:
        return made
    return ExplanationPrice(
        price, finished, race, each, each * made.left_min, each * made.left_max, cost.source
    )


def _cost(plan: ExplanationPlan, store: TrialStore, trials: list[Trial]) -> CostEstimate:
    conditions = plan.ground.conditions
    return estimate_cost(
        trials,
        [model_text(trial.spec.pipeline_text) for trial in trials],
        cost_history(store, conditions.device),
        scale=conditions.scale,
        family=plan.ground.pipeline.meta_architecture,
    )


def replicate_spread(plan: ExplanationPlan, store: TrialStore) -> ReplicateSpread | None:
    """Gives how the trials in the runs folder vary that differ in their seed alone.

    Those count that share the model, the scale's reference and the evaluation records with the
    plan. None where no cell has two that succeeded.
    """
    metric = plan.explanation.metric
    reference = plan.trial(plan.design.reference, plan.explanation.design.seeds[0])
    model = model_text(reference.spec.pipeline_text)
    cells: dict[str, list[float]] = defaultdict(list)
    for folder in sorted(store.runs_dir.iterdir()) if store.runs_dir.is_dir() else []:
        if not folder.is_dir() or store.state(folder.name).state != "succeeded":
            continue
        spec = store.read_json(folder.name, "trial.json")
        if (
            spec.get("eval_records") != reference.spec.eval_records
            or spec.get("device") != reference.spec.device
            or model_text(spec["pipeline_text"]) != model
        ):
            continue
        value = store.read_json(folder.name, "metrics.json").get("metrics", {}).get(metric)
        if value is not None:
            spec.pop("seed")
            cells[json.dumps(spec, sort_keys=True)].append(float(value))
    replicated = [values for values in cells.values() if len(values) > 1]
    df = sum(len(values) - 1 for values in replicated)
    if not df:
        return None
    squares = math.fsum(
        (value - math.fsum(values) / len(values)) ** 2 for values in replicated for value in values
    )
    return ReplicateSpread(math.sqrt(squares / df), df, len(replicated))
