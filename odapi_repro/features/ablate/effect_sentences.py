"""Effects in words: the headline of a study, and a line for each contrast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from odapi_repro.analysis.cells import AP_OR_0
from odapi_repro.analysis.effects import Contrast
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.page.claims import ends_text, finding, largest, runs_diverged, verdict_counts
from odapi_repro.page.numbers import count_of, size_of


def at(row: Contrast) -> str:
    """Where the other factors were held meanwhile, if not at their reference."""
    return f" at {row.held.replace('=', ' ')}" if row.held else ""


def headline(report: StudyReport) -> str:
    """What the study found, in one sentence: the largest effect on AP that it resolved."""
    return study_headline(report.effects, scale=report.scale, confidence=report.confidence)


def study_headline(
    effects: Sequence[Contrast], *, scale: str = "full", confidence: float = 0.95
) -> str:
    """The headline of a study's effects: what diverged, else the largest that was resolved."""
    if scale == "smoke":
        return "Smoke run: it proves that the commands work; its numbers mean nothing."
    rows = [row for row in effects if row.metric == "AP" and row.estimand == AP_OR_0]
    known = [row for row in rows if not math.isnan(row.delta)]
    if not known:
        return "Nothing to compare yet: no level has finished beside the reference level."
    broken = [row for row in known if row.p_diverged_to > row.p_diverged_from]
    tested = [row for row in known if not math.isnan(row.p_holm)]
    rivals = broken or tested or known
    best = None
    if not broken:
        best = largest(rivals, "gain", "loss", contrasts=len(rivals), confidence=confidence)
    best = best or max(rivals, key=lambda row: abs(row.delta))
    where = "" if scale == "full" else f", at {scale} scale"
    rest = verdict_counts(row.verdict for row in rows if row is not best)
    plural = "contrasts" if len(rows) > 2 else "contrast"
    tail = f"; the other {plural}: {rest}" if rest else ""
    return f"{_finding(best, len(rivals), confidence)}{where}{tail}."


def _finding(row: Contrast, contrasts: int, confidence: float) -> str:
    runs = f"{count_of(row.n_to, 'run')}, {row.n_from} of the reference"
    runs = "1 run each" if row.n_from == row.n_to == 1 else runs
    counted = f"n={row.n}"
    subject = f"{row.factor} {row.to_level} instead of {row.from_level}{at(row)}"
    if row.p_diverged_to > row.p_diverged_from:
        ends = ends_text(row, counted, contrasts=contrasts, confidence=confidence)
        way = "lower" if row.delta < 0 else "higher"
        change = f"{size_of(row.delta)} {way}" if row.delta else "the same"
        to, reference = (_diverged(row, side) or (0, 0) for side in ("to", "from"))
        return (
            f"{row.factor} {row.to_level}{at(row)}: {runs_diverged(*to)} (at {row.from_level}: "
            f"{reference[0]} of {reference[1]}); counted as 0, AP is {change} "
            f"{f'{ends} ({row.verdict})' if ends else f'({runs}: no interval)'}"
        )
    return finding(row, subject, counted, runs=runs, contrasts=contrasts, confidence=confidence)


def diverged_text(row: Contrast) -> str:
    """How many runs of both levels diverged, "0 of 1 and 1 of 1 diverged"."""
    told = (_diverged(row, side) for side in _SIDES)
    return f"{' and '.join(f'{one[0]} of {one[1]}' if one else '-' for one in told)} diverged"


_SIDES: Final[tuple[Literal["from", "to"], ...]] = ("from", "to")


def _diverged(row: Contrast, side: Literal["from", "to"]) -> tuple[int, int] | None:
    """Diverged and finished runs of a level; None where no run has finished."""
    share, finished = (
        (row.p_diverged_to, row.finished_to)
        if side == "to"
        else (row.p_diverged_from, row.finished_from)
    )
    return (round(share * finished), finished) if finished else None
