"""The row of an effect, and the verdicts on a family of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

import pandas as pd
from scipy import special

# --- The row of an effect: what every table of effects has, whatever the effect was estimated from
# ---


Verdict = Literal["gain", "loss", "equivalent", "unresolved", "single_run"]


@dataclass(frozen=True)
class Effect:
    """One level against another, on one metric.

    Attributes:
        factor, from_level, to_level: `to_level` minus `from_level`.
        metric: a column of the table of trials.
        delta, se, low, high: in the metric's unit; NaN where they cannot be had.
        n: what it rests on: replicates on the side that has fewer, or images.
        verdict: see `verdicts`.
        method: how it was estimated; `no_data` where it could not be.
        simultaneous: whether the interval holds jointly with the others.
        df: degrees of freedom of `se`; NaN for a normal test, or without one.
        p_holm, p_equivalence_holm: adjusted p-values of no effect and of no equivalence.
        margin: half-width of the range called equivalent; NaN: not tested.
    """

    factor: str
    from_level: str
    to_level: str
    metric: str
    delta: float
    se: float
    low: float
    high: float
    n: int
    verdict: Verdict = "unresolved"
    method: str = "no_data"
    simultaneous: bool = False
    df: float = math.nan
    p_holm: float = math.nan
    p_equivalence_holm: float = math.nan
    margin: float = math.nan


def columns_of(*further: str) -> tuple[str, ...]:
    """Gives the columns of a table of effects; the first ten are a contract, the rest may grow."""
    first = tuple(Effect.__dataclass_fields__)[:10]
    return (
        tuple({"from_level": "from", "to_level": "to"}.get(name, name) for name in first) + further
    )


def effects_frame(rows: Iterable[Effect], columns: Sequence[str]) -> pd.DataFrame:
    """Gives effects as the table that effects.csv holds."""
    fields = [{"from": "from_level", "to": "to_level"}.get(name, name) for name in columns]
    found = [[getattr(row, name) for name in fields] for row in rows]
    return pd.DataFrame(found, columns=list(columns))


# --- Judging several effects together: Holm's adjustment, and intervals that hold jointly ---


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Holm 1979, Scand. J. Statist. 6:65-70).

    Rejecting what is at or below alpha bounds the chance of any false rejection by alpha, whatever
    the dependence between the tests (contrasts with one reference cell are dependent). A NaN is no
    test: it stays NaN and does not count.
    """
    adjusted = [math.nan] * len(p_values)
    tested = sorted(
        (index for index, p in enumerate(p_values) if not math.isnan(p)),
        key=lambda index: p_values[index],
    )
    largest = 0.0
    for rank, index in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def joint_interval(row: Effect, *, contrasts: int, confidence: float = 0.95) -> tuple[float, float]:
    """The ends of an effect's interval that holds together with those of the others (Bonferroni).

    It leaves out 0 for the smallest p-value of a family exactly when `holm` rejects that one; the
    effect that is the largest of a family may be told with it, whichever it is.

    Args:
        row: with its estimate, standard error and degrees of freedom (NaN: a normal test).
        contrasts: how many effects were judged together.
        confidence: that all of the intervals hold.

    Returns:
        low and high; NaN without a standard error, and the estimate twice where it is 0.
    """
    if not row.se > 0:
        return (row.delta, row.delta) if row.se == 0 else (math.nan, math.nan)
    upper = 1 - (1 - confidence) / (2 * contrasts)
    quantile = special.ndtri(upper) if math.isnan(row.df) else special.stdtrit(row.df, upper)
    return row.delta - float(quantile) * row.se, row.delta + float(quantile) * row.se


# --- What a family of effects that are judged together allows to say of each ---


LOWER_IS_BETTER: Final = frozenset({"final_loss"})
"""Metrics of which less is a gain."""


@dataclass(frozen=True)
class Judgement:
    """What may be said of an effect, with the adjusted p-values that say it.

    Attributes:
        verdict: see `judgements`.
        p_holm, p_equivalence_holm: of no effect and of no equivalence, adjusted for the family.
    """

    verdict: Verdict
    p_holm: float
    p_equivalence_holm: float


_EffectT = TypeVar("_EffectT", bound=Effect)


def judgements(
    tests: Sequence[tuple[float, str, float, float]], *, metric: str, alpha: float
) -> list[Judgement]:
    """Adjusts the p-values of one family and reads the verdicts off them, in the order given.

    `gain` and `loss` need the adjusted test of no effect to reject; else `equivalent` needs the
    adjusted test of equivalence to; else `unresolved`. An effect whose method is `single_run` has
    no test and keeps that as its verdict.

    Args:
        tests: of each effect its estimate, method, and p-values of no effect and of no equivalence.
        metric: that the effects are on.
        alpha: level of both tests.
    """
    adjusted = zip(
        tests, holm([test[2] for test in tests]), holm([test[3] for test in tests]), strict=True
    )
    found = []
    for (delta, method, _, _), p_effect, p_equivalence in adjusted:
        verdict: Verdict = "unresolved"
        if method == "single_run":
            verdict = "single_run"
        elif p_effect <= alpha:
            verdict = "gain" if (delta > 0) != (metric in LOWER_IS_BETTER) else "loss"
        elif p_equivalence <= alpha:
            verdict = "equivalent"
        found.append(Judgement(verdict, p_effect, p_equivalence))
    return found


def judge(family: Sequence[_EffectT], *, alpha: float) -> list[_EffectT]:
    """`judgements` of rows, which get their verdicts and adjusted p-values.

    Args:
        family: dataclasses of one metric with `metric`, `delta`, `method`, `verdict` and the raw
            p-values in `p_holm` and `p_equivalence_holm`, which become the adjusted ones.
        alpha: level of both tests.
    """
    tests = [(row.delta, row.method, row.p_holm, row.p_equivalence_holm) for row in family]
    metric = family[0].metric if family else ""
    return [
        replace(
            row,
            verdict=one.verdict,
            p_holm=one.p_holm,
            p_equivalence_holm=one.p_equivalence_holm,
        )
        for row, one in zip(family, judgements(tests, metric=metric, alpha=alpha), strict=True)
    ]
