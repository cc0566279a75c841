"""The rows of the waterfall: where each bar begins and ends, and what is written beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from odapi_repro.analysis.attribution import Combination
from odapi_repro.analysis.cells import GIVEN_CONVERGENCE
from odapi_repro.features.explain.pages.content import ExplanationReport
from odapi_repro.features.explain.pages.effects import ExplainedEffect
from odapi_repro.features.explain.pages.wording import (
    change_text,
    decimals,
    joined,
    returned_text,
    verdict_of_mending,
)
from odapi_repro.page.claims import signed
from odapi_repro.page.tables import number

__all__ = ["WaterfallBar", "has_waterfall", "waterfall_bars"]

# A difference in the share of diverged trainings that is worth a mark.
_MARKED_SHARE: Final = 0.1


@dataclass(frozen=True)
class WaterfallBar:
    """One row of the figure.

    Attributes:
        title: what it is called; an end or deviations.
        detail: its levels, or how an end was measured.
        start, stop: where the bar begins and ends; NaN where it is not measured.
        low, high: ends of the interval of `stop`, NaN where there is none.
        value: the number in words, with its interval.
        verdict: in words; empty for an end.
        style: `end`, `resolved`, `equivalent`, `unresolved`, `single_run` or `rest`.
        seeds: the replicates of an end that converged.
        diverged: how many trainings diverged, in words; empty for none.
    """

    title: str
    detail: str
    start: float
    stop: float
    low: float
    high: float
    value: str
    verdict: str
    style: str
    seeds: tuple[float, ...] = ()
    diverged: str = ""


def has_waterfall(report: ExplanationReport) -> bool:
    """Whether both ends are measured, a share is known, and every deviation has two levels."""
    two_levels = all(len(one.levels) == 2 for one in report.explanation.deviations)
    known = [one for one in report.shares if not math.isnan(one.returned)]
    return two_levels and bool(known) and not math.isnan(report.gap.row.delta)


def waterfall_bars(report: ExplanationReport) -> tuple[WaterfallBar, ...]:
    """The rows from top to bottom: the user's end, the deviations, the rest, the reference."""
    record = report.explanation
    user, reference = report.ends
    bars = [_end(report, record.pipeline, report.design.user, user)]
    at = user
    for one in report.shares:
        bars.append(_step(report, one, at))
        at += 0.0 if math.isnan(one.returned) else one.returned
    if any(math.isnan(one.returned) for one in report.shares):
        bars.append(_unknown(report, at, reference))
    elif report.rest is not None:
        bars.append(_rest(report, report.rest, at))
    bars.append(_end(report, record.reference, report.design.reference, reference))
    return tuple(bars)


def _end(report: ExplanationReport, title: str, cell: Combination, mean: float) -> WaterfallBar:
    values = report.counted.sample(cell, report.estimand)
    converged = report.counted.sample(cell, GIVEN_CONVERGENCE)
    diverged = report.counted.diverged(cell)
    runs = f"n = {len(values)}" if len(values) > 1 else "one run"
    is_user = cell == report.design.user
    return WaterfallBar(
        title,
        f"{'as it is' if is_user else 'the reference'}, trained here, {runs}",
        math.nan,
        mean,
        math.nan,
        math.nan,
        f"{number(mean, decimals(report))} {report.explanation.metric}",
        "",
        "end",
        converged if len(values) > 1 else (),
        f"{diverged} of {len(values)} diverged, counted as 0" if diverged else "",
    )


def _step(report: ExplanationReport, effect: ExplainedEffect, at: float) -> WaterfallBar:
    row, (low, high) = effect.row, effect.ends
    style = {"loss": "resolved", "gain": "resolved"}.get(row.verdict, row.verdict)
    named = {one.name: one for one in report.explanation.deviations}
    moved = [named[name] for name in effect.definition.deviations]
    detail = change_text(report, moved[0]) if len(moved) == 1 else "mended together"
    diverged = ""
    if row.p_diverged_to - row.p_diverged_from >= _MARKED_SHARE:
        diverged = f"{row.p_diverged_to:.0%} diverged, {row.p_diverged_from:.0%} when mended"
    return WaterfallBar(
        joined(effect.definition.deviations),
        detail,
        at,
        at + effect.returned,
        at + low,
        at + high,
        returned_text(effect, decimals(report)),
        verdict_of_mending(row) if not math.isnan(effect.returned) else "",
        style,
        diverged=diverged,
    )


def _rest(report: ExplanationReport, effect: ExplainedEffect, at: float) -> WaterfallBar:
    low, high = effect.ends
    return WaterfallBar(
        "interactions",
        "not shared out",
        at,
        at + effect.returned,
        at + low,
        at + high,
        returned_text(effect, decimals(report)),
        verdict_of_mending(effect.row)
        .replace("resolved: mending helps", "resolved")
        .replace("resolved: mending hurts", "resolved"),
        "rest",
    )


def _unknown(report: ExplanationReport, at: float, reference: float) -> WaterfallBar:
    nan = math.nan
    return WaterfallBar(
        "not known yet",
        "what the missing ones return, and interactions",
        at,
        reference,
        nan,
        nan,
        signed(reference - at, decimals(report)),
        "",
        "rest",
    )
