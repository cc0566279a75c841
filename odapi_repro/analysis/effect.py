"""The row of an effect: what every table of effects has, whatever the effect was estimated from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

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
