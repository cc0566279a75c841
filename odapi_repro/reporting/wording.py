"""Effects in words: the headline of a study, and a line for each contrast."""

from __future__ import annotations

import math
from collections import Counter

from odapi_repro.analysis.cells import AP_OR_0, GIVEN_CONVERGENCE
from odapi_repro.analysis.effects import Contrast, Verdict
from odapi_repro.reporting.content import StudyReport
from odapi_repro.reporting.tables import number

__all__ = ["at", "effect_line", "headline", "interval", "signed"]


def signed(value: float, decimals: int = 1) -> str:
    """A difference with its sign, "-" where there is none."""
    text = number(value, decimals)
    return f"+{text}" if text != "-" and float(text) > 0 else text


def interval(row: Contrast, *, separator: str = " .. ") -> str:
    """The ends of the interval with their signs, empty where there is none."""
    if math.isnan(row.low):
        return ""
    return f"{signed(row.low)}{separator}{signed(row.high)}"


def at(row: Contrast) -> str:
    """Where the other factors were held meanwhile, if not at their reference."""
    return f" at {row.held.replace('=', ' ')}" if row.held else ""


def effect_line(row: Contrast, confidence: float = 0.95) -> str:
    """One contrast on one line, in ASCII."""
    percent = f"{100 * confidence:g}%"
    ends = f"{percent} {interval(row)}, " if interval(row) else ""
    line = (
        f"{row.factor} {row.from_level} -> {row.to_level}{at(row)}:"
        f" {row.metric} {signed(row.delta)} ({ends}n={row.n}) {row.verdict}"
    )
    if row.estimand == GIVEN_CONVERGENCE:
        line += f" [given convergence; diverged: {row.p_diverged_to:.0%}]"
    elif row.p_diverged_to > 0:
        line += f" [{row.p_diverged_to:.0%} diverged, counted as 0]"
    return line


def headline(report: StudyReport) -> str:
    """What the study found, in one sentence: the largest effect on AP that it resolved."""
    if report.scale == "smoke":
        return "Smoke run: it proves that the commands work; its numbers mean nothing."
    rows = [row for row in report.effects if row.metric == "AP" and row.estimand == AP_OR_0]
    known = [row for row in rows if not math.isnan(row.delta)]
    if not known:
        return "Nothing to compare yet: no level has finished beside the reference level."
    resolved = [row for row in known if row.verdict in ("gain", "loss")]
    broken = [row for row in known if row.p_diverged_to > row.p_diverged_from]
    best = max(broken or resolved or known, key=lambda row: abs(row.delta))
    where = "" if report.scale == "full" else f", at {report.scale} scale"
    others = Counter(row.verdict for row in rows if row is not best)
    counts = [(others[name], words) for name, words in _VERDICTS.items() if others[name]]
    rest = ", ".join(f"{count} {words[count > 1]}" for count, words in counts)
    plural = "contrasts" if len(rows) > 2 else "contrast"
    tail = f"; the other {plural}: {rest}" if rest else ""
    return f"{_finding(best, report.confidence)}{where}{tail}."


_VERDICTS: dict[Verdict, tuple[str, str]] = {
    "gain": ("gain", "gains"),
    "loss": ("loss", "losses"),
    "equivalent": ("equivalent", "equivalent"),
    "unresolved": ("unresolved", "unresolved"),
}


def _finding(row: Contrast, confidence: float) -> str:
    subject = f"{row.factor} {row.to_level} instead of {row.from_level}{at(row)}"
    size = number(abs(row.delta), 1)
    percent = f"{100 * confidence:g} % interval"
    ends = f"[{percent} {interval(row, separator=' to ')}, n={row.n}]"
    if row.p_diverged_to > row.p_diverged_from:
        told = ends if interval(row) else "(no interval)"
        return (
            f"{subject} diverged in {row.p_diverged_to:.0%} of the runs, against"
            f" {row.p_diverged_from:.0%}; counting those as 0, AP changes by"
            f" {signed(row.delta)} {told} ({row.verdict})"
        )
    if row.verdict in ("gain", "loss"):
        sizes = sorted((abs(row.low), abs(row.high)))
        ends = f"[{percent} {number(sizes[0], 1)} to {number(sizes[1], 1)}, n={row.n}]"
        return f"{subject} {'gains' if row.verdict == 'gain' else 'costs'} {size} AP {ends}"
    if row.verdict == "equivalent":
        return f"{subject} is equivalent in AP within {row.margin:g} points {ends}"
    if row.verdict == "single_run":
        runs = "one run each" if row.n_from == row.n_to == 1 else "too few runs"
        way = "lower" if row.delta < 0 else "higher"
        return f"{subject} scored {size} AP {way} ({runs}: no interval)"
    if not interval(row):
        return f"{subject}: no effect can be told, all runs score the same"
    return f"no effect on AP was resolved; the largest, {subject}, is {signed(row.delta)} {ends}"
