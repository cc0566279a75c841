"""The tables of a study: its levels, its effects, its levels in the pipeline."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from odapi_repro.analysis.cells import AP_OR_0, GIVEN_CONVERGENCE, outcomes
from odapi_repro.analysis.effects import Contrast
from odapi_repro.features.ablate.effect_sentences import at, diverged_text
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.page.blocks import Table
from odapi_repro.page.numbers import between, level_of, number, signed

_SUMMARY_METRICS: Final = ("AP", "AP50", "APs", "APm", "APl", "AR100", "mask_AP")
_EFFECT_METRICS: Final = ("AP50", "APs", "APm", "APl", "AR100", "mask_AP")


def levels_table(report: StudyReport) -> Table:
    """A row a cell: how it was trained, what it scored, whether its trials ended.

    A diverged run counts as 0; AP has the standard deviation over the seeds.
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
                _mean_and_sd(scores[0]),
                *(number(one.mean()) for one in scores[1:]),
                number(pd.to_numeric(group["final_loss"]).mean(), 3),
                number(pd.to_numeric(group["wall_seconds"]).mean() / 60),
                _statuses(group["status"]),
            )
        )
    return Table(header, tuple(rows), numeric_from=len(report.factors))


def effects_table(report: StudyReport) -> Table:
    """The contrasts on AP with interval and verdict; the other metrics as plain differences.

    The mask AP has its interval and its verdict, too.
    """
    by_key = {(r.factor, r.to_level, r.metric, r.estimand): r for r in report.effects}
    metrics = [metric for metric in _EFFECT_METRICS if metric in report.metrics]
    diverged = "diverged" in report.status_counts()
    rows = []
    for row in report.effects:
        if row.metric != "AP" or _repeats(row):
            continue
        key = (row.factor, row.to_level)
        what = f"{row.factor} {row.from_level} → {row.to_level}{at(row)}"
        if row.estimand == GIVEN_CONVERGENCE:
            what += f", given convergence ({diverged_text(by_key[(*key, row.metric, AP_OR_0)])})"
        elif diverged and row.p_diverged_from + row.p_diverged_to > 0:
            what += ", diverged = 0"
        rest = (_difference(by_key[(*key, metric, row.estimand)]) for metric in metrics)
        ends = between(row.low, row.high) or "none"
        rows.append((what, signed(row.delta), ends, str(row.n), row.verdict, *rest))
    header = (
        *("effect", "AP", f"{level_of(report.confidence)} interval", "n", "verdict"),
        *(metric.replace("mask_", "mask ") for metric in metrics),
    )
    return Table(header, tuple(rows))


def mapping_table(report: StudyReport) -> Table:
    """What the levels of these trials are in the pipeline as it is."""
    return Table(("factor", "in the pipeline", "here"), tuple(report.level_mapping), numeric_from=3)


def _difference(row: Contrast) -> str:
    ends = between(row.low, row.high)
    if row.metric != "mask_AP" or not ends:
        return signed(row.delta)
    return f"{signed(row.delta)} ({ends}, {row.verdict})"


def _mean_and_sd(values: pd.Series[float]) -> str:
    if len(values) < 2:
        return number(values.mean())
    return f"{number(values.mean())} ± {number(values.std(ddof=1))}"


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


def _repeats(row: Contrast) -> bool:
    """Whether a row given convergence says what the row above it said."""
    return row.estimand == GIVEN_CONVERGENCE and not np.nansum(
        [row.p_diverged_from, row.p_diverged_to]
    )
