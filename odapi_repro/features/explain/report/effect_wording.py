"""Effects, deviations and verdicts in words, and the headline of an explanation."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final

from odapi_repro.analysis.attribution import Attribution, Combination, StudiedDeviation
from odapi_repro.analysis.effect import Verdict, joint_interval
from odapi_repro.analysis.trial_table import GIVEN_CONVERGENCE
from odapi_repro.features.explain.report.explanation_report import (
    ExplainedEffect,
    ExplanationReport,
)
from odapi_repro.page.claims import scored
from odapi_repro.page.numbers import between, count_of, joined, number, signed

_MOST_NAMED: Final = 3

SHARE_KINDS: Final = {
    "both_ends": "the mean of fixing a deviation alone and of adding it alone",
    "path_share": "in the order of the path, each after those above it",
    "restored_share": "in the order of the search",
    "main_effect": "main effects, the mean over the levels of the others",
    "shapley_value": "Shapley values, the mean over orders of fixing",
}
"""What a share is, by the kind of its effect."""


def sized(value: float, low: float, high: float, digits: int = 1) -> str:
    """A difference with the interval that it has: "-5.6 [-6.2 to -5.1]"."""
    ends = between(low, high, digits)
    return f"{signed(value, digits)} [{ends}]" if ends else signed(value, digits)


def unknown_text(row: Attribution) -> str:
    """Why an effect is not known: a cell has no training, or none that converged."""
    diverged = row.p_diverged_from > 0 or row.p_diverged_to > 0
    if row.estimand == GIVEN_CONVERGENCE and diverged:
        return "no converged run in a cell"
    return "not measured yet"


def returned_text(effect: ExplainedEffect, digits: int = 1) -> str:
    """What mending a deviation returns, with its interval: "+9.3 [+7.1 to +11.5]"."""
    if math.isnan(effect.returned):
        return unknown_text(effect.row)
    return sized(effect.returned, *effect.ends, digits)


def verdict_of_mending(row: Attribution) -> str:
    """The verdict as it reads from the user's end, where the deviation is taken out."""
    if math.isnan(row.delta):
        return unknown_text(row)
    if row.method == "same_training":
        return "nothing: the same training"
    told: dict[Verdict, str] = {
        "loss": "resolved: fixing it helps",
        "gain": "resolved: fixing it hurts",
        "equivalent": f"equivalent within ±{row.margin:g}",
        "unresolved": "unresolved",
        "single_run": "one run: no interval",
    }
    return told[row.verdict]


def change_text(report: ExplanationReport, deviation: StudiedDeviation, *, to: int = 0) -> str:
    """From the user's level to another: that of the configs, and that of the trials where not.

    Args:
        report: that the deviation is of.
        deviation: which may move several factors.
        to: the level that it is mended to, the reference's by default.
    """
    single = len(deviation.factors) == 1
    told = []
    for factor in deviation.factors:
        here = deviation.levels[1][factor], deviation.levels[to][factor]
        mapped = report.mapped.get(factor)
        full = here
        if mapped is not None and to == 0:
            full = mapped.full_user, mapped.full_reference
        text = " → ".join(full)
        if full != here:
            text += f" (here {' → '.join(here)})"
        told.append(text if single else f"{factor} {text}")
    return "; ".join(told)


def cell_text(
    deviations: Collection[StudiedDeviation], cell: Combination, labels: Mapping[str, str]
) -> str:
    """A cell in words: an end by its name, else which deviations stand at the user's level."""
    if not any(cell):
        return "reference"
    if all(level == 1 for level in cell):
        return "user"
    levels = list(zip(deviations, cell, strict=True))
    mended = [one.name for one, level in levels if not level]
    if set(cell) == {0, 1} and len(mended) < len(cell) / 2:
        return f"user with the reference's {joined(mended)}"
    moved = [
        one.name if level == 1 else ", ".join(f"{name} {labels[name]}" for name in one.factors)
        for one, level in levels
        if level
    ]
    return f"reference with the user's {joined(moved)}"


def headline(report: ExplanationReport) -> str:
    """What was found, in one sentence, never stronger than its intervals."""
    record = report.explanation
    if record.scale == "smoke":
        return "Smoke run: it proves that the command works; its numbers mean nothing."
    wanted = sum(len(cell.seeds) for cell in report.result.wanted)
    waiting = f" ({count_of(wanted, 'trial')} still to run)" if wanted else ""
    if math.isnan(report.gap.row.delta) and not wanted:
        return f"Nothing to explain: {record.metric} could not be scored at both ends."
    if math.isnan(report.gap.row.delta):
        return f"Nothing to explain yet: both ends have to be trained first{waiting}."
    return f"{_gap(report)}{_shares(report)}{waiting}."


def _gap(report: ExplanationReport) -> str:
    record, row = report.explanation, report.gap.row
    digits, metric = report.digits, record.metric
    scale = "" if record.scale == "full" else f" at {record.scale} scale"
    user, reference = record.pipeline, record.reference
    ends = between(*report.gap.ends, digits)
    told = f"[95 % interval {ends}, n={row.n}]"
    if row.p_diverged_to > row.p_diverged_from:
        how = f"[95 % interval {ends}, n={row.n}]" if ends else "(no interval)"
        return (
            f"{user} diverged in {_runs(row.p_diverged_to, row.n)}{scale}, {reference} in "
            f"{_runs(row.p_diverged_from, row.n)}; counting those as 0, fixing everything "
            f"returns {signed(report.gap.returned, digits)} {metric} {how}"
        )
    if row.verdict in ("loss", "gain"):
        return (
            f"{user} scores {scored(row.delta, metric, digits)} than {reference}{scale} "
            f"[95 % interval {_sizes(report.gap, digits)}, n={row.n}]"
        )
    if row.method == "same_training":
        return f"{user} and {reference} amount to the same training{scale}"
    if row.verdict == "equivalent":
        return f"{user} and {reference} are equivalent within {row.margin:g} {metric}{scale} {told}"
    if not ends:
        runs = "one run each" if row.n == 1 else "the runs of each end are all alike"
        if row.delta == 0:
            return f"{user} and {reference} scored the same {metric}{scale} ({runs}: no interval)"
        told = scored(row.delta, metric, digits)
        return f"{user} scored {told} than {reference}{scale} ({runs}: no interval)"
    return (
        f"No gap between {user} and {reference} was resolved{scale}: fixing everything returns "
        f"{signed(report.gap.returned, digits)} {metric} {told}"
    )


def _runs(share: float, n: int) -> str:
    """A share of runs, at least `n` of them: "its 1 run", "all of its runs", "none of its runs"."""
    if n == 1 and share in (0, 1):
        return "its 1 run" if share else "none"
    whole = {0.0: "none", 1.0: "all"}.get(share)
    return f"{whole or f'{share:.0%}'} of its runs"


def _shares(report: ExplanationReport) -> str:
    """What accounts for it: the resolved losses, the largest first, and how many are left open."""
    digits = report.digits
    losses = sorted(
        (one for one in report.shares if one.row.verdict == "loss"),
        key=lambda one: -abs(one.returned),
    )
    measured = [one for one in report.shares if not math.isnan(one.returned)]
    open_ones = [one for one in measured if one.row.verdict in ("unresolved", "single_run")]
    parts = []
    if losses:
        held = [one for one in losses if _leaves_out_0(one, len(measured))] or losses[:1]
        named = [_loss(one, len(measured), digits) for one in held[:_MOST_NAMED]]
        more = len(losses) - len(named)
        told = joined([*named, *([_more(more)] if more > 0 else [])])
        jointly = f" (intervals for all {len(measured)} together)" if len(measured) > 1 else ""
        parts.append(f"{told}{jointly}")
    if open_ones and not losses and all(one.row.verdict == "single_run" for one in open_ones):
        largest = max(open_ones, key=lambda one: abs(one.returned))
        parts.append(
            f"the largest difference seen is {largest.row.factor} "
            f"({signed(largest.row.delta, digits)}), and without a second run none is resolved"
        )
    elif open_ones:
        whose = "deviation is" if len(open_ones) == 1 else "deviations are"
        names = [one.row.factor for one in open_ones]
        told = f" ({joined(names)})" if len(names) <= _MOST_NAMED else ""
        parts.append(f"{len(open_ones)} {whose} not decided{told}")
    missing = len(report.shares) - len(measured)
    if missing:
        parts.append(f"{count_of(missing, 'share')} {'is' if missing == 1 else 'are'} not measured")
    return "".join(f"; {part}" for part in parts)


def _leaves_out_0(effect: ExplainedEffect, shares: int) -> bool:
    """Whether the interval that is told with a loss leaves out 0; Holm's test may see more."""
    if shares < 2 or effect.row.simultaneous or not effect.row.se > 0:
        return True
    low, high = joint_interval(effect.row, contrasts=shares)
    return low > 0 or high < 0


def _loss(effect: ExplainedEffect, shares: int, digits: int) -> str:
    """What a share costs; named among several, with an interval that holds for all of them."""
    row = effect.row
    told = f"[{_sizes(effect, digits)}]"
    if shares > 1 and not row.simultaneous and row.se > 0:
        low, high = joint_interval(row, contrasts=shares)
        told = f"[{number(-high, digits)} to {number(-low, digits)}]"
    return f"{row.factor} costs {number(abs(row.delta), digits)} {told}"


def _more(count: int) -> str:
    return "1 more is a loss" if count == 1 else f"{count} more are losses"


def _sizes(effect: ExplainedEffect, digits: int) -> str:
    ends = sorted(abs(end) for end in effect.ends)
    return " to ".join(number(end, digits) for end in ends)
