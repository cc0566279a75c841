"""Numbers, durations and names in words, the same on every page, in every plot and live line."""

from __future__ import annotations

import math
from collections.abc import Collection


def number(value: float | None, decimals: int = 1) -> str:
    """A number with so many decimals, "-" where there is none, and never "-0.0"."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def signed(value: float | None, decimals: int = 1) -> str:
    """A difference with its sign, "-" where there is none."""
    text = number(value, decimals)
    return f"+{text}" if text != "-" and float(text) > 0 else text


def size_of(delta: float, decimals: int = 1) -> str:
    """The size of a difference that is not 0: "9.0", and "less than 0.1" where it rounds to 0."""
    text = number(abs(delta), decimals)
    return text if float(text) else f"less than {10.0**-decimals:.{decimals}f}"


def between(low: float | None, high: float | None, decimals: int = 1) -> str:
    """The ends of a difference's interval, "-1.2 to +3.4"; empty where there is none."""
    if low is None or high is None or math.isnan(low):
        return ""
    return f"{signed(low, decimals)} to {signed(high, decimals)}"


def level_of(confidence: float) -> str:
    """A level of confidence: "95 %"."""
    return f"{100 * confidence:g} %"


def percent(share: float, decimals: int = 1) -> str:
    """A share as per cent; one that is there never reads as none, nor one short of all as all."""
    if math.isnan(share):
        return "-"
    if share <= 0 or share >= 1:
        return f"{share:.0%}"
    least = 10.0 ** -(decimals + 2)
    if share < least:
        return f"{100 * share:.1g}%"
    if share > 1 - least:
        return f"{math.floor(share / least) * least:.{decimals}%}"
    return f"{share:.{decimals}%}"


def count_of(count: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 trial", "3 trials", "2 passes" of a plural that is told."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def joined(names: Collection[str], most: int = 0) -> str:
    """Names in a row: "a", "a and b", "a, b and c"; of more than `most`, "a, b and 3 more"."""
    told = list(names)
    if most and len(told) > most:
        told = [*told[:most], f"{len(told) - most} more"]
    return " and ".join([", ".join(told[:-1]), told[-1]] if told[1:] else told)


def duration(seconds: float) -> str:
    """Gives `45 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`, `30 days` or `3.2 years`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole > 365 * 86400:
        return f"{whole / 86400 / 365.25:,.1f} years"
    if whole > 7 * 86400:
        return f"{whole / 86400:.0f} days"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
