"""What an explanation will take, and the page that is printed before it runs."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from odapi_repro.errors import DamagedFile
from odapi_repro.features.explain.designs import FixedDesign, Price
from odapi_repro.features.explain.explain_plan import ExplanationPlan
from odapi_repro.features.explain.explain_trials import ExplanationTrials
from odapi_repro.features.explain.explanation import UNVARIED_KINDS, Explanation
from odapi_repro.page.blocks import Bullets, Facts, Headline, Page, Section
from odapi_repro.page.numbers import duration
from odapi_repro.trials.trial import Trial, TrialSpec
from odapi_repro.trials.trial_cost import CostEstimate, expected_cost, model_part, readable_specs
from odapi_repro.trials.trial_store import TrialStore

# --- What an explanation will take: trials, hours, money, and the smallest effect it would see ---


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


# --- The page that is printed before an explanation runs: what is varied, what not, at what price
# ---


_SCALES: Final = {
    "full": "full: the pipelines as they are",
    "proxy": "proxy: the family shrunk to minutes; read differences only, not COCO AP",
    "smoke": "smoke: a few steps that prove the plumbing; the numbers mean nothing",
}


def plan_page(
    plan: ExplanationPlan, price: ExplanationPrice, spread: ReplicateSpread | None, *, sd: float
) -> Page:
    """Gives the plan of an explanation.

    Args:
        plan: of the explanation.
        price: what is left to pay.
        spread: between replicates that have run here; None where there are none.
        sd: between replicates as the user expects it, in points; NaN where it was not told.
    """
    record = plan.explanation
    facts = (
        ("scale", _SCALES[record.scale]),
        (
            "data",
            f"{record.num_train_images:,} training and {record.num_eval_images:,} "
            "evaluation images",
        ),
        ("numbers", _numbers(record)),
    )
    unvaried = sorted(record.unvaried, key=lambda one: list(UNVARIED_KINDS).index(one.kind))
    lines = (plan.design.describe(), *_price(plan, price), _detectable(plan, spread, sd))
    return Page(
        record.study,
        (
            Headline(f"study {record.study}: {record.pipeline} against {record.reference}"),
            Facts(facts),
            Section("Varied", [Bullets(tuple(_varied(record)))]),
            Section(
                "Not varied",
                [Bullets(tuple(f"{one.factor}: {one.reason}" for one in unvaried))],
            ),
            Section(f"Design {record.design.name}", [Bullets(lines)]),
        ),
    )


def _numbers(record: Explanation) -> str:
    named = [
        f"{one.metric} {one.value:g} reported for {record.reference}"
        for one in record.reported
        if one.metric == record.metric
    ] or [
        f"no {record.metric} is reported for {record.reference}: the parts of the gap outside the "
        "configs stay unknown"
    ]
    unknown = "yours is unknown (--user_ap)"
    yours = unknown if record.claimed is None else f"{record.claimed:g} yours"
    return ", ".join([*named, yours])


def _varied(record: Explanation) -> Iterator[str]:
    mapped = {one.factor: one for one in record.mapped}
    for deviation in record.deviations:
        for name in deviation.factors:
            one = mapped[name]
            told = f"{name}: {one.reference} → {one.user}"
            if record.scale != "full":
                told += f" [{one.full_reference} → {one.full_user} at full scale]"
            yield f"{told}; {'clipped' if one.clipped else 'kept'}: {one.kept}; {one.why}"
        if len(deviation.factors) > 1:
            yield f"{', '.join(deviation.factors)} move together, as {deviation.name}"


def _price(plan: ExplanationPlan, price: ExplanationPrice) -> Iterator[str]:
    choice, each = plan.explanation.design, price.seconds_each
    seeds = f"seeds {', '.join(map(str, choice.seeds))}"
    if choice.order_seeds:
        seeds += f"; decided by seeds {', '.join(map(str, choice.order_seeds))}"
    left = _span(str(price.left_min), str(price.left_max))
    yield f"{price.price} ({seeds}), {price.finished} finished before, {left} to run"
    if price.race_trials:
        yield f"the race may add up to {price.race_trials} trials"
    low, high = price.seconds_min, price.seconds_max
    if low is None or high is None:
        yield f"expected time: unknown ({price.source})"
        return
    time = _span(duration(low), duration(high))
    if price.race_trials and each is not None:
        time += f", and {duration(price.race_trials * each)} at most for the race"
    yield f"expected time: about {time} ({price.source})"
    rate = plan.explanation.cost_per_hour
    if rate is not None:
        money = _span(f"{rate * low / 3600:,.2f}", f"{rate * high / 3600:,.2f}")
        yield f"expected cost: about {money} at {rate:g} an hour"


def _detectable(plan: ExplanationPlan, spread: ReplicateSpread | None, sd: float) -> str:
    count = len(plan.explanation.design.seeds)
    if count < 2:
        return (
            "one replicate to estimate from: the effects will have no interval; --seeds 3 gives one"
        )
    if not math.isnan(sd):
        source = f"if replicates vary with a standard deviation of {sd:g} (--sd)"
    elif spread is not None:
        sd = spread.sd
        source = (
            f"replicates vary with a standard deviation of {sd:.2f} here ({spread.df} degrees of "
            f"freedom, {spread.cells} cells that have run)"
        )
    else:
        return "smallest effect seen: unknown until replicates have run here, or with --sd"
    comparisons = plan.design.count
    effect = plan.design.smallest_effect(sd, comparisons=comparisons)
    return (
        f"smallest effect seen with 80 % power, {comparisons} judged together: {effect:.1f} "
        f"{plan.explanation.metric} ({source})"
    )


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
