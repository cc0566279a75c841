"""The levels of a study: how each was trained, what it scored, whether its trials ended."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from odapi_repro.analysis.cells import AP_OR_0, outcomes
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.page.numbers import number
from odapi_repro.page.tables import Table

__all__ = ["level_table"]

_SUMMARY_METRICS: Final = ("AP", "AP50", "APs", "APm", "APl", "AR100", "mask_AP")


def level_table(report: StudyReport, *, plus_minus: str = "±") -> Table:
    """A row a cell: how it was trained, what it scored, whether its trials ended.

    Scores are means over the seeds, a diverged trial counting for 0; AP has the standard deviation
    behind it where there are two or more.
    """
    trials = report.table
    metrics = [metric for metric in _SUMMARY_METRICS if metric in trials.columns]
    counted = {metric: outcomes(trials, metric, AP_OR_0) for metric in metrics}
    header = (
        *report.factors,
        *("steps", "images seen", "peak LR"),
        *(metric.replace("mask_", "mask ") for metric in metrics),
        *("final loss", "minutes", "status"),
    )
    reference = tuple(axis.reference_level for axis in report.axes)
    rows = []
    for labels, group in trials.groupby(list(report.factors), sort=False):
        cell = tuple(str(label) for label in labels)
        mark = " (reference)" if cell == reference else ""
        scores = [counted[metric][group.index].dropna() for metric in metrics]
        rows.append(
            (
                cell[0] + mark,
                *cell[1:],
                _typical(group["num_steps"]),
                _typical(group["images_seen"]),
                _typical(group["base_lr"]),
                _mean_and_sd(scores[0], plus_minus),
                *(number(one.mean(), 1) for one in scores[1:]),
                number(pd.to_numeric(group["final_loss"]).mean(), 3),
                number(pd.to_numeric(group["wall_seconds"]).mean() / 60, 1),
                _statuses(group["status"]),
            )
        )
    return Table(header, tuple(rows), numeric_from=len(report.factors))


def _mean_and_sd(values: pd.Series[float], plus_minus: str) -> str:
    if len(values) < 2:
        return number(values.mean(), 1)
    return f"{number(values.mean(), 1)} {plus_minus} {number(values.std(ddof=1), 1)}"


def _typical(column: pd.Series[float]) -> str:
    """The value of all trials of a cell, or their range."""
    values = np.unique(pd.to_numeric(column).dropna().to_numpy(dtype=float))
    if not len(values):
        return "-"
    ends = values if len(values) == 1 else values[[0, -1]]
    return "-".join(f"{v:,.0f}" if v == round(v) else f"{v:.3g}" for v in ends)


def _statuses(status: pd.Series[str]) -> str:
    counts = status.value_counts(sort=False)
    if len(status) == 1:
        return str(status.iloc[0])
    return ", ".join(f"{count} {name}" for name, count in counts.items())
