"""The cells of an explanation: what each scored, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odapi_repro.analysis.attribution import Combination, StudiedDeviation, labels_of
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.features.explain.report.wording import cell_text
from odapi_repro.page.blocks import Table
from odapi_repro.page.numbers import number


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
    digits, factors = report.digits, report.explanation.factors
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


def _missing(cell: CellSummary) -> str:
    told = []
    if cell.wanted:
        told.append(f"seeds {', '.join(map(str, cell.wanted))}")
    if cell.left_out:
        told.append(f"{cell.left_out} not finished")
    return "; ".join(told) or "-"
