"""What an explanation will take: trials, hours, money, and the smallest effect it would see."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from dataclasses import dataclass

from odapi_repro.errors import DamagedFile
from odapi_repro.features.explain.designs import FixedDesign, Price
from odapi_repro.features.explain.explain_plan import ExplanationPlan
from odapi_repro.features.explain.explain_runner import ExplanationTrials
from odapi_repro.trials.cost import CostEstimate
from odapi_repro.trials.history import expected_cost, model_part, readable_specs
from odapi_repro.trials.store import TrialStore
from odapi_repro.trials.trial import Trial, TrialSpec


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
    estimate, _ = expected_cost(
        store,
        trials,
        device=conditions.device,
        scale=conditions.scale,
        family=plan.ground.pipeline.meta_architecture,
    )
    return estimate


def replicate_spread(plan: ExplanationPlan, store: TrialStore) -> ReplicateSpread | None:
    """Gives how the trials in the runs folder vary that differ in their seed alone.

    Those count that share the model, the scale's reference and the evaluation records with the
    plan, and whose files read. None where no cell has two that succeeded.
    """
    metric = plan.explanation.metric
    reference = plan.trial(plan.design.reference, plan.explanation.design.seeds[0]).spec
    model = model_part(reference.pipeline_text)
    cells: dict[TrialSpec, list[float]] = defaultdict(list)
    for trial_id, spec in readable_specs(store, []):
        if (
            spec.eval_records != reference.eval_records
            or spec.device != reference.device
            or model_part(spec.pipeline_text) != model
        ):
            continue
        value = _metric_of(store, trial_id, metric)
        if value is not None:
            cells[dataclasses.replace(spec, seed=0)].append(value)
    replicated = [values for values in cells.values() if len(values) > 1]
    df = sum(len(values) - 1 for values in replicated)
    if not df:
        return None
    squares = math.fsum(
        (value - math.fsum(values) / len(values)) ** 2 for values in replicated for value in values
    )
    return ReplicateSpread(math.sqrt(squares / df), df, len(replicated))


def _metric_of(store: TrialStore, trial_id: str, metric: str) -> float | None:
    try:
        if store.state(trial_id).state != "succeeded":
            return None
        found = store.metrics(trial_id)
    except DamagedFile:
        return None
    return None if found is None else found.metrics.get(metric)
