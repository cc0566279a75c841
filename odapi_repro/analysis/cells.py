"""Cells of a design: which trials are compared with which, and what each of them counts for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd

from odapi_repro.analysis.trials import BOX_METRICS, MASK_METRICS

Estimand = Literal["ap_or_0", "given_convergence"]
AP_OR_0: Final[Estimand] = "ap_or_0"
GIVEN_CONVERGENCE: Final[Estimand] = "given_convergence"

_SCORES = frozenset({*BOX_METRICS, *MASK_METRICS})


@dataclass(frozen=True)
class Cell:
    """The replicates of one combination of levels, for one metric and one estimand.

    Attributes:
        values: the metric of each replicate that counts.
        diverged: how many replicates diverged, whether or not they count.
        converged: how many replicates trained to the end.
        left_out: how many failed, were interrupted, or have not run: they are no outcome.
    """

    values: tuple[float, ...]
    diverged: int
    converged: int
    left_out: int

    @property
    def mean(self) -> float:
        """The mean of the replicates, NaN when there is none."""
        return float(np.mean(self.values)) if self.values else float("nan")


def outcomes(trials: pd.DataFrame, metric: str, estimand: Estimand) -> pd.Series[float]:
    """What each trial counts for: its metric, 0, or NaN where it does not count.

    A trial that succeeded counts for what it measured. A diverged trial counts for 0 under
    `ap_or_0`, which is what a user gets, and is dropped under `given_convergence`. It cannot count
    for 0 where nothing could have been scored (no large object in the evaluation images), nor in
    something that is no score (a loss). Any other trial is no outcome.
    """
    measured = pd.to_numeric(trials[metric], errors="coerce").astype(float)
    succeeded = trials["status"] == "succeeded"
    counted = pd.Series(np.where(succeeded, measured, np.nan), index=measured.index)
    scorable = not succeeded.any() or bool(counted.notna().any())
    if estimand == AP_OR_0 and metric in _SCORES and scorable:
        diverged = trials["status"] == "diverged"
        counted = pd.Series(np.where(diverged, 0.0, counted), index=counted.index)
    return counted


def cell(trials: pd.DataFrame, counted: pd.Series[float], labels: Mapping[str, str]) -> Cell:
    """The cell of these factor levels; `counted` is what `outcomes` gave for the same rows."""
    chosen = pd.Series(True, index=trials.index)
    for name, label in labels.items():
        if name in trials.columns:
            chosen &= trials[name].astype(str) == label
    status = trials.loc[chosen, "status"]
    diverged, converged = int((status == "diverged").sum()), int((status == "succeeded").sum())
    return Cell(
        values=tuple(float(value) for value in counted[chosen].dropna()),
        diverged=diverged,
        converged=converged,
        left_out=len(status) - diverged - converged,
    )
