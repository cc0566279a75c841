"""What to change first, in sentences; what is not decided is not recommended."""

from __future__ import annotations

import math

from odapi_repro.analysis.attribution import Attribution
from odapi_repro.features.explain.designs import Bisection
from odapi_repro.features.explain.pages.advice import Advice, Change
from odapi_repro.features.explain.pages.content import ExplanationReport
from odapi_repro.features.explain.pages.wording import (
    between,
    change_text,
    decimals,
    joined,
    returned_text,
)
from odapi_repro.foreign_text import markdown_code
from odapi_repro.page.claims import signed

__all__ = ["change_lines"]


def change_lines(report: ExplanationReport, advice: Advice) -> list[str]:
    """What to change first, what better stays, and what is not decided."""
    lines = [_change(report, one) for one in advice.changes]
    if advice.after is not None and not math.isnan(advice.after.delta):
        lines.append(_after(report, advice, advice.after))
    if not lines:
        lines.append(_nothing(report, advice))
    lines += [
        f"Keep your {one.effect.row.factor}: mending it returns "
        f"{returned_text(one.effect, decimals(report))}, a resolved loss."
        for one in advice.keeps
    ]
    if advice.undecided:
        told = [
            f"{one.row.factor} ({returned_text(one, decimals(report))})" for one in advice.undecided
        ]
        lines.append(
            f"Not decided, and so neither recommended nor cleared: {joined(told)}; in brackets "
            "what mending returned."
        )
    if 0 < len(advice.unmeasured) < len(report.shares):
        lines.append(f"Not measured yet: {joined([one.row.factor for one in advice.unmeasured])}.")
    if advice.harmless:
        names = joined([name for one in advice.harmless for name in one.definition.deviations])
        margin = report.explanation.design.margin
        lines.append(f"No need to change, equivalent within ±{margin:g} points: {names}.")
    return lines


def _change(report: ExplanationReport, change: Change) -> str:
    effect, digits = change.effect, decimals(report)
    moved = [
        one for one in report.explanation.deviations if one.name in effect.definition.deviations
    ]
    share = returned_text(effect, digits)
    if len(moved) == 1:
        text = f"Mend {moved[0].name}, {change_text(report, moved[0])}: its share is {share}"
    else:
        names = joined([one.name for one in moved])
        text = f"Mend {names} together: their share is {share}"
    alone = change.alone
    if alone is not None and not math.isclose(alone.delta, effect.row.delta, abs_tol=1e-9):
        ends = between(-alone.high, -alone.low, digits)
        told = signed(-alone.delta, digits) + (f" [{ends}]" if ends else "")
        text += f", and mended alone in your config it returned {told}"
        if alone.verdict != "loss":
            text += f" ({alone.verdict.replace('_', ' ')})"
    if effect.row.p_diverged_to > effect.row.p_diverged_from:
        text += (
            f"; trainings with it diverge in {effect.row.p_diverged_to:.0%}, without in "
            f"{effect.row.p_diverged_from:.0%}"
        )
    settings = "; ".join(markdown_code(f"{field}: {value}") for field, value in change.settings)
    return f"{text}. Write {settings}." if settings else f"{text}."


def _after(report: ExplanationReport, advice: Advice, row: Attribution) -> str:
    digits, ends = decimals(report), between(row.low, row.high, decimals(report))
    size = f"{signed(row.delta, digits)}{f' [{ends}]' if ends else ''}"
    told = {
        "loss": "a gap is left",
        "gain": "more than the reference",
        "equivalent": f"equivalent to the reference within ±{row.margin:g}",
    }.get(row.verdict, "no gap is resolved any more, which does not say that there is none")
    few = "this" if len(advice.changes) == 1 else "all of these"
    return f"With {few} mended, your config scored {size} against the reference: {told}."


def _nothing(report: ExplanationReport, advice: Advice) -> str:
    if isinstance(report.design, Bisection):
        state = report.design.state(report.outcomes)
        if state.culprits == ():
            return (
                f"Nothing: your config scored within {report.design.margin:g} of the reference in "
                "the trials that decide."
            )
    if not report.shares or all(math.isnan(one.returned) for one in report.shares):
        return "Not known yet: no share of the gap has been measured."
    if not advice.undecided and not advice.unmeasured:
        return "Nothing: no deviation costs anything that was resolved."
    return "No deviation is known to cost anything: none of the losses is resolved."
