"""Numbers in words, the same in plots, tables and text."""

from __future__ import annotations

import math

__all__ = ["listed", "percent", "size_name"]


def percent(share: float) -> str:
    """Gives a share as per cent; one that is there never reads as none, nor one short of all."""
    if share <= 0 or share >= 1:
        return f"{share:.0%}"
    if share < 0.001:
        return f"{100 * share:.1g}%"
    return f"{math.floor(1000 * share) / 10:.1f}%" if share > 0.999 else f"{share:.1%}"


def size_name(low: float, high: float) -> str:
    """Gives an interval of sizes."""
    if high == math.inf:
        return f"≥ {low:g}"
    return f"< {high:g}" if low == 0 else f"{low:g} to {high:g}"


def listed(values: tuple[float, ...]) -> str:
    """Gives numbers with at most three digits that count."""
    return ", ".join(f"{value:.3g}" for value in values)
