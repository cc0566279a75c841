"""Tables of a study: as CSV for programs, as rows for Markdown and for a terminal."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import IO, Final

import pandas as pd

from odapi_repro.analysis.trial_table import TEXT_COLUMNS, factor_columns

_CSV_FORMAT: Final = "%.10g"
"""Ten significant digits: what implementations of COCO's metrics agree on. Equal metrics give equal
text, and differences in the last bits, which no detection explains, do not show."""


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
