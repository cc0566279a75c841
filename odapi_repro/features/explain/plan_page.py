"""The page that is printed before an explanation runs: what is varied, what not, at what price."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from odapi_repro.features.explain.explain_plan import ExplanationPlan
from odapi_repro.features.explain.explain_price import ExplanationPrice, ReplicateSpread
from odapi_repro.features.explain.explanation import UNVARIED_KINDS, Explanation
from odapi_repro.page.blocks import Bullets, Facts, Headline, Page, Section
from odapi_repro.page.numbers import duration

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
        f"no {record.metric} is reported for {record.reference}: the parts of the gap that lie "
        "outside the configs stay unknown"
    ]
    yours = "yours not told (--user_ap)" if record.claimed is None else f"{record.claimed:g} yours"
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
