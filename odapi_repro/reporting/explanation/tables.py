"""The tables of an explanation: effects.csv, and what a person reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from odapi_repro.analysis.attribution import (
    Attribution,
    Combination,
    StudiedDeviation,
    attribution_table,
    labels_of,
)
from odapi_repro.reporting.explanation.content import ExplainedEffect, ExplanationReport
from odapi_repro.reporting.explanation.wording import between, cell_text, decimals
from odapi_repro.reporting.tables import Table, number
from odapi_repro.reporting.wording import signed

__all__ = [
    "PART_TITLES",
    "CellSummary",
    "cell_summaries",
    "cells_table",
    "effect_table",
    "effects_frame",
    "estimands_table",
    "estimate_cells",
    "levels_of",
    "parts_table",
]

PART_TITLES: Final = {
    "evaluation": "published number - our evaluation of the published checkpoint",
    "environment": "published checkpoint - our training of the reference",
    "config": "our training of the reference - our training of your config",
    "theirs": "our training of your config - your own number",
}


def effects_frame(report: ExplanationReport) -> pd.DataFrame:
    """effects.csv: all effects of the design and what its shares leave, the gap first."""
    found = [*report.effects, *([report.rest] if report.rest else [])]
    rows = [one.row for one in found]
    rows += [one.converged for one in found if one.converged is not None]
    return attribution_table(rows)


def effect_table(
    report: ExplanationReport, effects: Sequence[ExplainedEffect], *, summed: bool = False
) -> Table:
    """Effects with interval and verdict, the user's level minus the reference's.

    Args:
        report: that they are of.
        effects: a row each.
        summed: whether rows follow for the rest that is not shared out, and for the gap.
    """
    digits = decimals(report)
    contexts = len({one.row.context for one in effects}) > 1
    aliases = any(one.row.aliases for one in effects)
    header = (
        *("deviation", "reference → yours"),
        *(("where the others stand",) if contexts else ()),
        *(("cannot be told from",) if aliases else ()),
        *(f"effect on {report.explanation.metric}", "95 % interval", "n", "verdict"),
    )
    named = [(one.row.factor, levels_of(report, one), one) for one in effects]
    if summed:
        if report.rest is not None:
            named.append(("not shared out (interactions)", "", report.rest))
        named.append(("the gap", "reference → user", report.gap))
    rows = tuple(
        (
            name,
            levels,
            *((one.row.context if one in effects else "",) if contexts else ()),
            *((one.row.aliases,) if aliases else ()),
            *estimate_cells(one.row, digits),
        )
        for name, levels, one in named
    )
    return Table(header, rows, numeric_from=len(header) - 4)


def estimands_table(report: ExplanationReport, effects: Sequence[ExplainedEffect]) -> Table:
    """The two estimands side by side, with how often the trainings of either side diverged."""
    digits = decimals(report)
    header = (
        *("deviation", "diverged, reference → yours"),
        *("a diverged run counts as 0", "95 % interval", "n", "verdict"),
        *("given convergence", "95 % interval", "n", "verdict"),
    )
    rows = tuple(
        (
            one.row.factor,
            f"{_percent(one.row.p_diverged_from)} → {_percent(one.row.p_diverged_to)}",
            *estimate_cells(one.row, digits),
            *estimate_cells(one.converged, digits),
        )
        for one in effects
        if one.converged is not None
    )
    return Table(header, rows, numeric_from=2)


def parts_table(report: ExplanationReport) -> Table:
    """The gap in its four parts, each a number or the reason why it is none."""
    digits = decimals(report)
    rows: list[tuple[str, ...]] = []
    for part in report.parts.parts:
        value = "unknown" if part.value is None else signed(part.value, digits)
        ends = "-"
        if part.value is not None:
            low, high = part.low, part.high
            ends = (
                "no interval: one run"
                if low is None or high is None
                else "nothing trained in it"
                if part.se == 0
                else between(low, high, digits)
            )
        remark = part.unknown
        if part.value is not None and not part.full_scale:
            remark = f"at {report.explanation.scale} scale: enters no sum"
        rows.append((part.name, PART_TITLES[part.name], value, ends, remark))
    total = report.parts.total
    rows.append(
        (
            "sum",
            "published number - your own number",
            "unknown" if total is None else signed(total, digits),
            "-",
            _total_remark(report),
        )
    )
    header = ("part", "what it is", f"{report.explanation.metric} lost", "95 % interval", "remark")
    return Table(header, tuple(rows), numeric_from=5)


@dataclass(frozen=True)
class CellSummary:
    """One cell of the study.

    Attributes:
        name: in words.
        labels: factor -> label.
        values: of the replicates that finished, by seed, AP or 0.
        diverged: how many of them diverged.
        left_out: trials that failed, were interrupted or have not run.
        wanted: seeds of which the design still wants a trial.
    """

    name: str
    labels: dict[str, str]
    values: tuple[float, ...]
    diverged: int
    left_out: int
    wanted: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Of the replicates, NaN without any."""
        return math.fsum(self.values) / len(self.values) if self.values else math.nan

    @property
    def sd(self) -> float:
        """Between the replicates, NaN with fewer than two."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan


def cell_summaries(report: ExplanationReport) -> list[CellSummary]:
    """Every cell that has a trial or waits for one, the reference first."""
    outcomes, deviations = report.outcomes, report.explanation.deviations
    wanted = {cell.combination: cell.seeds for cell in report.result.wanted}
    cells = sorted(
        {*outcomes.by_cell, *outcomes.left_out, *wanted},
        key=lambda cell: (sum(level != 0 for level in cell), [-level for level in cell]),
    )
    return [_summary(report, deviations, cell, wanted.get(cell, ())) for cell in cells]


def cells_table(report: ExplanationReport) -> Table:
    """A row a cell: its levels in the trials, what it scored, what is missing."""
    digits, factors = decimals(report), report.explanation.factors
    header = (
        *factors,
        *(f"{report.explanation.metric}, mean", "sd", "n", "diverged", "missing"),
    )
    rows = tuple(
        (
            *(one.labels[name] for name in factors),
            number(one.mean, digits),
            number(one.sd, digits),
            str(len(one.values)),
            str(one.diverged),
            _missing(one),
        )
        for one in cell_summaries(report)
    )
    return Table(header, rows, numeric_from=len(factors))


def levels_of(report: ExplanationReport, effect: ExplainedEffect) -> str:
    """The levels that an effect compares, of the reference and of the user, as in the trials."""
    row = effect.row
    named = {one.name: one for one in report.explanation.deviations}
    moved = [named[name] for name in effect.definition.deviations if name in named]
    if len(moved) == 1 and (row.from_level, row.to_level) == ("reference", "user"):
        one = moved[0]
        return ", ".join(
            f"{name} {one.levels[0][name]} → {one.levels[1][name]}" for name in one.factors
        )
    return f"{row.from_level} → {row.to_level}"


def estimate_cells(row: Attribution | None, digits: int) -> tuple[str, str, str, str]:
    """Effect, interval, n and verdict of a row, as tables print them."""
    if row is None or math.isnan(row.delta):
        return ("-", "-", "-" if row is None else str(row.n), "not measured yet")
    ends = "exactly 0: the same training" if row.method == "same_training" else ""
    ends = ends or between(row.low, row.high, digits) or "none"
    return (signed(row.delta, digits), ends, str(row.n), row.verdict)


def _summary(
    report: ExplanationReport,
    deviations: Sequence[StudiedDeviation],
    cell: Combination,
    wanted: tuple[int, ...],
) -> CellSummary:
    labels = labels_of(deviations, cell)
    outcomes = report.outcomes
    return CellSummary(
        cell_text(deviations, cell, labels),
        labels,
        outcomes.sample(cell, report.estimand),
        outcomes.diverged(cell),
        outcomes.left_out.get(cell, 0),
        wanted,
    )


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.0%}"


def _missing(cell: CellSummary) -> str:
    told = []
    if cell.wanted:
        told.append(f"seeds {', '.join(map(str, cell.wanted))}")
    if cell.left_out:
        told.append(f"{cell.left_out} not finished")
    return "; ".join(told) or "-"


def _total_remark(report: ExplanationReport) -> str:
    parts = report.parts
    digits = decimals(report)
    if parts.total is None:
        record = report.explanation
        reported = any(one.metric == record.metric for one in record.reported)
        lacking = [
            *([] if reported else ["the published number"]),
            *([] if record.claimed is not None else ["your own number"]),
        ]
        return f"not known: {' and '.join(lacking)}"
    if parts.remainder == 0:
        return "all four parts are known"
    if all(part.summed is None for part in parts.parts):
        return "none of it is in parts that are known"
    return (
        f"of it {signed(parts.explained, digits)} is in parts that are known,"
        f" {signed(parts.remainder or 0.0, digits)} in those that are not"
    )
