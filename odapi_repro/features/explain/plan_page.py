"""What is printed before an explanation runs: what is varied and how, what not, and the price."""

from __future__ import annotations

import math

from odapi_repro.features.explain.explain_plan import ExplanationPlan
from odapi_repro.features.explain.explain_price import ExplanationPrice, ReplicateSpread
from odapi_repro.features.explain.explanation import Explanation
from odapi_repro.foreign_text import shown
from odapi_repro.trials.progress import duration

__all__ = ["plan_text"]

_SCALES = {
    "full": "full: the pipelines as they are",
    "proxy": "proxy: the family shrunk to minutes; read differences only, not COCO AP",
    "smoke": "smoke: a few steps that prove the plumbing; the numbers mean nothing",
}
_KINDS = {
    "unexpressed": "may matter, and no training factor expresses it",
    "evaluation": "changes what is measured: odapi-repro run --ablate ... --checkpoint",
    "left_open": "left to the user by the reference",
    "inert": "without effect under model_main_tf2",
    "at_this_scale": "cannot be varied here",
    "held": "held at the reference's level on request",
}


def plan_text(
    plan: ExplanationPlan, price: ExplanationPrice, spread: ReplicateSpread | None, *, sd: float
) -> str:
    """Gives the plan of an explanation as text for a terminal.

    Args:
        plan: of the explanation.
        price: what is left to pay.
        spread: between replicates that have run here; None where there are none.
        sd: between replicates as the user expects it, in points; NaN where it was not told.
    """
    explanation = plan.explanation
    lines = [
        f"study {explanation.study}: {explanation.pipeline} against {explanation.reference}",
        f"  scale     {_SCALES[explanation.scale]}",
        f"  data      {explanation.num_train_images:,} training and "
        f"{explanation.num_eval_images:,} evaluation images",
        f"  numbers   {_numbers(explanation)}",
        "",
        "varied:",
        *_varied(explanation),
        *_unvaried(explanation),
        "",
        f"design {explanation.design.name}: {plan.design.describe()}",
        *_price(plan, price),
        *_detectable(plan, spread, sd),
    ]
    return "\n".join(map(shown, lines)) + "\n"


def _numbers(explanation: Explanation) -> str:
    named = [
        f"{one.metric} {one.value:g} reported for {explanation.reference}"
        for one in explanation.reported
        if one.metric == explanation.metric
    ]
    if not named:
        named = [
            f"no {explanation.metric} is reported for {explanation.reference}: the parts of the "
            "gap that lie outside the configs stay unknown"
        ]
    if explanation.claimed is None:
        named.append("yours not told (--user_ap)")
    else:
        named.append(f"{explanation.claimed:g} yours")
    return ", ".join(named)


def _varied(explanation: Explanation) -> list[str]:
    mapped = {one.factor: one for one in explanation.mapped}
    lines = []
    for deviation in explanation.deviations:
        together = len(deviation.factors) > 1
        if together:
            lines.append(f"  {deviation.name}, moved together:")
        for name in deviation.factors:
            one = mapped[name]
            levels = f"{one.reference} -> {one.user}"
            if explanation.scale != "full":
                levels += f" [{one.full_reference} -> {one.full_user} at full scale]"
            indent = "    " if together else "  "
            lines.append(f"{indent}{name}: {levels}")
            how = "clipped" if one.clipped else "kept"
            lines.append(f"{indent}  {how}: {one.kept}; {one.why}")
    return lines


def _unvaried(explanation: Explanation) -> list[str]:
    lines = ["", "not varied:"] if explanation.unvaried else []
    for kind, words in _KINDS.items():
        for one in explanation.unvaried:
            if one.kind == kind:
                told = one.why if kind in ("unexpressed", "evaluation", "at_this_scale") else words
                lines.append(f"  {one.factor} ({kind.replace('_', ' ')}): {told}")
    return lines


def _price(plan: ExplanationPlan, price: ExplanationPrice) -> list[str]:
    choice = plan.explanation.design
    seeds = f"seeds {', '.join(map(str, choice.seeds))}"
    if choice.order_seeds:
        seeds += f"; decided by seeds {', '.join(map(str, choice.order_seeds))}"
    left = _span(price.left_min, price.left_max)
    lines = [f"  {price.price} ({seeds}), {price.finished} finished before, {left} to run"]
    if price.race_trials:
        lines.append(f"  the race may add up to {price.race_trials} trials")
    low, high = price.seconds_min, price.seconds_max
    if low is None or high is None:
        lines.append(f"  expected time: unknown ({price.source})")
        return lines
    time = duration(low) if low == high else f"{duration(low)} to {duration(high)}"
    if price.race_trials and price.seconds_each is not None:
        time += f", and {duration(price.race_trials * price.seconds_each)} at most for the race"
    lines.append(f"  expected time: about {time} ({price.source})")
    rate = plan.explanation.cost_per_hour
    if rate is not None:
        money = [rate * seconds / 3600 for seconds in (low, high)]
        shown = f"{money[0]:,.2f}" if low == high else f"{money[0]:,.2f} to {money[1]:,.2f}"
        lines.append(f"  expected cost: about {shown} at {rate:g} an hour")
    return lines


def _detectable(plan: ExplanationPlan, spread: ReplicateSpread | None, sd: float) -> list[str]:
    count = len(plan.explanation.design.seeds)
    if count < 2:
        return [
            "  one replicate to estimate from: the effects will have no interval; "
            "--seeds 3 gives one"
        ]
    if not math.isnan(sd):
        source = f"if replicates vary with a standard deviation of {sd:g} (--sd)"
    elif spread is not None:
        sd = spread.sd
        source = (
            f"replicates vary with a standard deviation of {sd:.2f} here ({spread.df} degrees of "
            f"freedom, {spread.cells} cells that have run)"
        )
    else:
        return ["  smallest effect seen: unknown until replicates have run here, or with --sd"]
    comparisons = plan.design.count
    effect = plan.design.smallest_effect(sd, comparisons=comparisons)
    return [
        f"  smallest effect seen with 80 % power, {comparisons} judged together: {effect:.1f} "
        f"{plan.explanation.metric} ({source})"
    ]


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"
