"""The table of trials: one row a trial, its columns, their order and their units.

Columns, in order:

1. `trial_id study pipeline scale seed status`; status is one of `STATUSES`.
2. One column a factor, its level's label as text ("16", "linear", "reference").
3. `global_batch_size num_replicas num_steps images_seen base_lr`.
4. COCO's 12 box metrics in points, 0 to 100; nothing to score (COCO's -1) is NaN, an empty cell.
5. The same with `mask_`, only when a trial has them.
6. `final_loss wall_seconds train_seconds eval_seconds images_per_second device num_eval_images
   tensorflow odapi_repro`.
7. Whatever else the table has (hashes), in the order it came.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

# --- The table of trials: one row a trial, its columns, their order and their units ---


LEADING_COLUMNS: Final = ("trial_id", "study", "pipeline", "scale", "seed", "status")
SCHEDULE_COLUMNS: Final = (
    "global_batch_size",
    "num_replicas",
    "num_steps",
    "images_seen",
    "base_lr",
)
BOX_METRICS: Final = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)
MASK_METRICS: Final = tuple(f"mask_{metric}" for metric in BOX_METRICS)
OUTCOME_COLUMNS: Final = (
    "final_loss",
    "wall_seconds",
    "train_seconds",
    "eval_seconds",
    "images_per_second",
    "device",
    "num_eval_images",
    "tensorflow",
    "odapi_repro",
)
TEXT_COLUMNS: Final = frozenset(
    {"trial_id", "study", "pipeline", "scale", "status", "device", "tensorflow", "odapi_repro"}
)
STATUSES: Final = ("succeeded", "diverged", "failed", "interrupted", "planned", "running")


def points(fraction: float | None) -> float:
    """COCO's 0..1 number in points (0.454 -> 45.4); -1, None and NaN (nothing to score) are NaN."""
    if fraction is None or math.isnan(fraction) or fraction == -1:
        return math.nan
    return 100.0 * fraction


def order_columns(trials: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """The same rows with the documented columns in the documented order.

    Documented columns that the table lacks are added empty, so that a study in which nothing has
    run yet has the same header as a finished one. Mask columns without one value are left out.

    Raises:
        ValueError: a factor has no column.
    """
    missing = [name for name in factors if name not in trials.columns]
    if missing:
        raise ValueError(f"no column for the factors {missing} in {list(trials.columns)}")
    with_masks = any(
        name in trials.columns and bool(trials[name].notna().any()) for name in MASK_METRICS
    )
    documented = [
        *LEADING_COLUMNS,
        *factors,
        *SCHEDULE_COLUMNS,
        *BOX_METRICS,
        *(MASK_METRICS if with_masks else ()),
        *OUTCOME_COLUMNS,
    ]
    known = {*documented, *MASK_METRICS}
    return trials.reindex(columns=[*documented, *(c for c in trials.columns if c not in known)])


def ordered_trials(
    trials: pd.DataFrame, levels: Mapping[str, Sequence[str]], *, last_first: bool = False
) -> pd.DataFrame:
    """The trials with documented columns, by the levels of their factors, then by seed and id.

    Args:
        trials: a row a trial.
        levels: factor -> labels in their order; others come behind, by their letters.
        last_first: the last factor decides first, so that the cells of one factor stand together.
    """
    ordered = order_columns(trials, list(levels))
    ordered[list(levels)] = ordered[list(levels)].astype(str)
    names = list(levels)[::-1] if last_first else list(levels)
    places = {name: {label: i for i, label in enumerate(labels)} for name, labels in levels.items()}

    def key(row: int) -> list[Any]:
        one = ordered.iloc[row]
        by_level = [places[name].get(one[name], len(places[name])) for name in names]
        seed = -1 if pd.isna(one["seed"]) else one["seed"]
        return [*by_level, *(one[name] for name in names), seed, one["trial_id"]]

    return ordered.iloc[sorted(range(len(ordered)), key=key)].reset_index(drop=True)


def factor_columns(trials: pd.DataFrame) -> tuple[str, ...]:
    """The factors of an ordered table: the columns between `status` and `global_batch_size`."""
    names = list(trials.columns)
    start, end = names.index(LEADING_COLUMNS[-1]) + 1, names.index(SCHEDULE_COLUMNS[0])
    return tuple(names[start:end])


def check_trials(trials: pd.DataFrame, factors: Sequence[str]) -> None:
    """Refuses a table that would be read wrongly.

    Raises:
        ValueError: a column is missing, a status is unknown, a trial appears twice, or two
            trials of one cell share a seed (they would be counted as two replicates).
    """
    needed = ["trial_id", "seed", "status", *factors]
    missing = [name for name in needed if name not in trials.columns]
    if missing:
        raise ValueError(f"the table of trials lacks {missing}; it has {list(trials.columns)}")
    unknown = sorted({str(status) for status in trials["status"]} - set(STATUSES))
    if unknown:
        raise ValueError(f"unknown status {unknown}; expected one of {list(STATUSES)}")
    for columns, what in ((["trial_id"], "trial"), ([*factors, "seed"], "cell and seed")):
        twice = trials.loc[trials.duplicated(subset=columns), columns]
        if len(twice):
            raise ValueError(f"the same {what} twice: {twice.iloc[0].to_dict()}")


# --- Cells of a design: which trials are compared with which, and what each of them counts for ---


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
