"""What may be said of an effect: one sentence a verdict, never stronger than its interval.

Every headline of a study or a sweep is made of these. The rules:

- `gain` and `loss` gain or cost so many points. `equivalent` is equivalent within its margin.
  `unresolved` is said to be not resolved, with its interval, and never to have no effect.
  `single_run` is a difference that was seen, without an interval.
- Of one contrast, the interval is its own. An effect that is named because it is the largest of
  several is told with an interval that holds for all of them together (Bonferroni), and with how
  many there were: its own interval would not allow for the choice. Its size is still flattered.
- Runs are counted ("its 1 run", "2 of 3 runs"), not given in per cent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from odapi_repro.analysis.effect import Effect, Verdict, joint_interval
from odapi_repro.page.numbers import signed, size_of

_EffectT = TypeVar("_EffectT", bound=Effect)

_COUNTED: Final[dict[Verdict, tuple[str, str]]] = {
    "gain": ("gain", "gains"),
    "loss": ("loss", "losses"),
    "equivalent": ("equivalent", "equivalent"),
    "unresolved": ("unresolved", "unresolved"),
    "single_run": ("without an interval", "without an interval"),
}


def scored(delta: float, metric: str = "AP", decimals: int = 1) -> str:
    """A difference that was seen: "9.0 AP lower", "the same AP"."""
    if delta == 0:
        return f"the same {metric}"
    return f"{size_of(delta, decimals)} {metric} {'lower' if delta < 0 else 'higher'}"


def runs_diverged(diverged: int, runs: int) -> str:
    """How many runs diverged: "its 1 run diverged", "2 of 3 runs diverged"."""
    if runs == 1:
        return "its 1 run diverged" if diverged else "its 1 run did not diverge"
    if diverged == runs:
        return f"all {runs} runs diverged"
    return f"{diverged or 'none'} of {runs} runs diverged"


def verdict_counts(verdicts: Iterable[Verdict]) -> str:
    """The verdicts counted: "1 gain, 2 losses, 3 unresolved"."""
    counts = Counter(verdicts)
    return ", ".join(
        f"{counts[name]} {words[counts[name] != 1]}"
        for name, words in _COUNTED.items()
        if counts[name]
    )


def largest(
    rows: Sequence[_EffectT], *verdicts: Verdict, contrasts: int, confidence: float = 0.95
) -> _EffectT | None:
    """The largest effect with one of the verdicts that holds among all that it is chosen from.

    Args:
        rows: to choose from.
        verdicts: `gain`, `loss` or both.
        contrasts: how many were judged together.
        confidence: of the interval that must leave out 0.
    """
    held = []
    for row in rows:
        low, high = joint_interval(row, contrasts=contrasts, confidence=confidence)
        if row.verdict in verdicts and (low > 0 or high < 0):
            held.append(row)
    return max(held, key=lambda row: abs(row.delta), default=None)


def ends_text(row: Effect, counted: str, *, contrasts: int = 1, confidence: float = 0.95) -> str:
    """The interval in brackets, empty where there is none, or nothing that it could rest on.

    Args:
        row: with delta, se and df.
        counted: what it rests on, "n=3" or "160 images".
        contrasts: how many it was chosen from; 1: its own interval.
        confidence: of the interval.
    """
    if math.isnan(row.low) or row.se == 0:
        return ""
    low, high = row.low, row.high
    if contrasts > 1:
        low, high = joint_interval(row, contrasts=contrasts, confidence=confidence)
    jointly = f" for all {contrasts} contrasts together" if contrasts > 1 else ""
    percent = f"{100 * confidence:g} %"
    return f"[{percent} interval{jointly} {signed(low)} to {signed(high)}, {counted}]"


def finding(
    row: Effect,
    subject: str,
    counted: str,
    *,
    runs: str = "1 run each",
    contrasts: int = 1,
    confidence: float = 0.95,
) -> str:
    """What one effect on AP allows to say, in one clause.

    Args:
        row: the effect.
        subject: what was changed, "batch_size 2 instead of 16".
        counted: see `ends_text`.
        runs: on what a difference without an interval rests.
        contrasts: how many it was chosen from as the largest.
        confidence: of the interval.
    """
    ends = ends_text(row, counted, contrasts=contrasts, confidence=confidence)
    if row.verdict in ("gain", "loss"):
        verb = "gains" if row.verdict == "gain" else "costs"
        return f"{subject} {verb} {size_of(row.delta)} AP {ends}"
    if row.verdict == "equivalent":
        return f"{subject} is equivalent in AP within {row.margin:g} points ({counted})"
    chosen = f"the largest of {contrasts} differences, " if contrasts > 1 else ""
    if row.verdict == "single_run":
        return f"{subject} scored {scored(row.delta)} ({chosen}{runs}: no interval)"
    if not ends and row.delta == 0:
        return f"{subject}: no verdict, all runs score the same"
    if not ends:
        return f"{subject} scored {scored(row.delta)} ({chosen}no interval)"
    if contrasts > 1:
        return (
            f"no gain or loss in AP is resolved among {contrasts} contrasts; the largest "
            f"difference, {subject}, is {signed(row.delta)} {ends}"
        )
    return f"{subject} is not resolved: AP changes by {signed(row.delta)} {ends}"
