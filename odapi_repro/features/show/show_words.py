"""Numbers in words, the same in plots, tables and text."""

from __future__ import annotations

import math


def size_name(low: float, high: float) -> str:
    """Gives an interval of sizes."""
    if high == math.inf:
        return f"≥ {low:g}"
    return f"< {high:g}" if low == 0 else f"{low:g} to {high:g}"


def listed(values: tuple[float, ...]) -> str:
    """Gives numbers with at most three digits that count."""
    return ", ".join(f"{value:.3g}" for value in values)
