"""The tables of an explanation: its cells and its effects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from odapi_repro.analysis.attribution import (
    ATTRIBUTION_COLUMNS,
    Attribution,
    Combination,
    StudiedDeviation,
    labels_of,
)
from odapi_repro.analysis.effect import effects_frame
from odapi_repro.features.explain.report.effect_wording import cell_text, sized, unknown_text
from odapi_repro.features.explain.report.explanation_report import (
    ExplainedEffect,
    ExplanationReport,
)
from odapi_repro.page.blocks import Table
from odapi_repro.page.numbers import between, number, percent, signed

# --- The cells of an explanation: what each scored, and what is missing ---


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


# --- The tables of an explanation: effects.csv, and what a person reads ---


_PART_TITLES: Final = {
    "evaluation": "published number - our evaluation of the published checkpoint",
    "environment": "published checkpoint - our training of the reference",
    "config": "our training of the reference - our training of your config",
    "theirs": "our training of your config - your own number",
}


def explained_frame(report: ExplanationReport) -> pd.DataFrame:
    """effects.csv: all effects of the design and what its shares leave, the gap first."""
    found = [*report.effects, *([report.rest] if report.rest else [])]
    rows = [one.row for one in found]
    rows += [one.converged for one in found if one.converged is not None]
    return effects_frame(rows, ATTRIBUTION_COLUMNS)


def effect_table(
    report: ExplanationReport,
    effects: Sequence[ExplainedEffect],
    *,
    summed: bool = False,
) -> Table:
    """Effects with interval and verdict, the user's level minus the reference's.

    Args:
        report: that they are of.
        effects: a row each.
        summed: whether rows follow for the rest that is not shared out, and for the gap.
    """
    digits = report.digits
    contexts = len({one.row.context for one in effects}) > 1
    aliases = any(one.row.aliases for one in effects)
    header = (
        *("deviation", "reference → yours"),
        *(("where the others stand",) if contexts else ()),
        *(("cannot be told from",) if aliases else ()),
        *(f"effect on {report.explanation.metric}", "95 % interval", "n", "verdict"),
    )
    ends = [*([report.rest] if report.rest else []), report.gap] if summed else []
    rows = tuple(
        (
            _name_of(one),
            _levels_of(report, one),
            *((one.row.context if one in effects else "",) if contexts else ()),
            *((one.row.aliases,) if aliases else ()),
            *estimate_cells(one.row, digits),
        )
        for one in (*effects, *ends)
    )
    return Table(header, rows, numeric_from=len(header) - 4)


def estimands_table(report: ExplanationReport, effects: Sequence[ExplainedEffect]) -> Table:
    """The two estimands side by side, with how often the trainings of either side diverged."""
    digits = report.digits
    header = (
        *("deviation", "diverged, reference → yours"),
        *("a diverged run counts as 0", "verdict", "given convergence", "n", "verdict"),
    )
    rows = tuple(
        (
            _name_of(one),
            f"{percent(one.row.p_diverged_from, 0)} → {percent(one.row.p_diverged_to, 0)}",
            with_interval(one.row, digits),
            one.row.verdict,
            with_interval(one.converged, digits),
            str(one.converged.n),
            one.converged.verdict,
        )
        for one in effects
        if one.converged is not None
    )
    return Table(header, rows, numeric_from=2)


def parts_table(report: ExplanationReport) -> Table:
    """The gap in its four parts, each a number or the reason why it is none."""
    digits = report.digits
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
        rows.append((part.name, _PART_TITLES[part.name], value, ends, remark))
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


def _name_of(effect: ExplainedEffect) -> str:
    """What a table calls an effect: its deviations, or what is not one of them."""
    named = {"gap": "the gap", "rest": "not shared out (interactions)"}
    return named.get(effect.row.kind, effect.row.factor)


def with_interval(row: Attribution, digits: int = 1) -> str:
    """An effect with its interval: "-5.6 [-6.2 to -5.1]"."""
    if math.isnan(row.delta):
        return unknown_text(row)
    return sized(row.delta, row.low, row.high, digits)


def _levels_of(report: ExplanationReport, effect: ExplainedEffect) -> str:
    """The levels that an effect compares, of the reference and of the user, as in the trials."""
    row = effect.row
    if row.kind == "rest":
        return ""
    named = {one.name: one for one in report.explanation.deviations}
    moved = [named[name] for name in effect.definition.deviations if name in named]
    if len(moved) == 1 and (row.from_level, row.to_level) == ("reference", "user"):
        one = moved[0]
        return ", ".join(
            f"{name} {one.levels[0][name]} → {one.levels[1][name]}" for name in one.factors
        )
    return f"{row.from_level} → {row.to_level}"


def estimate_cells(row: Attribution, digits: int) -> tuple[str, str, str, str]:
    """Effect, interval, n and verdict of a row, as tables print them."""
    if math.isnan(row.delta):
        return ("-", "-", str(row.n), unknown_text(row))
    ends = "exactly 0 (the same training)" if row.method == "same_training" else ""
    ends = ends or between(row.low, row.high, digits) or "none"
    return (signed(row.delta, digits), ends, str(row.n), row.verdict)


def _total_remark(report: ExplanationReport) -> str:
    parts = report.parts
    digits = report.digits
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
        return "none of it lies in parts that are known"
    return (
        f"of it {signed(parts.explained, digits)} is in parts that are known,"
        f" {signed(parts.remainder or 0.0, digits)} in those that are not"
    )
