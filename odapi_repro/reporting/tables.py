"""Tables of a study: as CSV for programs, as rows for Markdown and for a terminal."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
import pandas as pd

from odapi_repro.analysis.cells import AP_OR_0, outcomes
from odapi_repro.analysis.trials import TEXT_COLUMNS, factor_columns
from odapi_repro.foreign_text import markdown_sentence, shortened_name
from odapi_repro.reporting.content import StudyReport

__all__ = ["Table", "csv_bytes", "level_table", "number", "read_trials"]

_CSV_FORMAT: Final = "%.10g"
"""Ten significant digits: what implementations of COCO's metrics agree on. Equal metrics give equal
text, and differences in the last bits, which no detection explains, do not show."""

_SUMMARY_METRICS: Final = ("AP", "AP50", "APs", "APm", "APl", "AR100", "mask_AP")


@dataclass(frozen=True)
class Table:
    """A header and rows of text.

    Attributes:
        header, rows: text as it came; names from outside are cleaned as they are printed.
        numeric_from: columns from here on are aligned to the right.
        widest: letters of a cell on a terminal; longer ones lose their middle.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric_from: int = 1
    widest: int = 300

    def markdown(self) -> str:
        """A GitHub table."""
        rule = ["---:" if i >= self.numeric_from else "---" for i, _ in enumerate(self.header)]
        lines = [self.header, rule, *self.rows]
        return "\n".join(
            "| " + " | ".join(markdown_sentence(text) for text in line) + " |" for line in lines
        )

    def text(self) -> str:
        """Columns of spaces, for a terminal."""
        lines = [
            [shortened_name(text, self.widest) for text in line]
            for line in (self.header, *self.rows)
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                text.rjust(width) if i >= self.numeric_from else text.ljust(width)
                for i, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


def csv_bytes(table: pd.DataFrame) -> bytes:
    """The table as CSV; the same table gives the same bytes on every platform."""
    without_minus_zero = table.apply(
        lambda column: column + 0.0 if pd.api.types.is_float_dtype(column) else column
    )

    def text(quoting: int) -> str:
        stream = io.StringIO()
        without_minus_zero.to_csv(
            stream, index=False, float_format=_CSV_FORMAT, lineterminator="\n", quoting=quoting
        )
        return stream.getvalue()

    found = text(csv.QUOTE_MINIMAL)
    if "\r" in found:
        # Python's own writer leaves a carriage return bare, and readers end the row at it.
        found = text(csv.QUOTE_ALL)
    return found.encode("utf-8", "backslashreplace")


def read_trials(path: Path | IO[bytes]) -> pd.DataFrame:
    """A trials.csv as it was written: levels and names are text, other columns numbers.

    A level may be called "None" or "nan": only numbers have empty cells.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    text = TEXT_COLUMNS | set(factor_columns(table))
    for name in table.columns:
        if name in text:
            continue
        filled = table[name] != ""
        numbers = pd.to_numeric(table[name].where(filled), errors="coerce")
        if bool(numbers[filled].notna().all()):
            table[name] = numbers
    return table


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


def number(value: float, decimals: int) -> str:
    """A number with so many decimals, "-" where there is none, and never "-0.0"."""
    if not math.isfinite(value):
        return "-"
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


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
