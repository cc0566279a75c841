"""Published effects as rows and as text, for the `zoo` command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from odapi_repro.reference.effects import (
    EFFECT_FACTORS,
    UNKNOWN_EFFECTS,
    PublishedEffect,
    published_effects,
)
from odapi_repro.reference.listing import wrapped

__all__ = ["effect_rows", "effects_text", "factors_text"]


def effect_rows(found: Iterable[PublishedEffect]) -> list[dict[str, Any]]:
    """Gives effects as rows, the key first."""
    rows = []
    for one in found:
        row = asdict(one)
        rows.append({"key": row.pop("key"), **row})
    return rows


def factors_text() -> str:
    """Gives every factor with the number of its figures and how large the better ones are."""
    lines = [f"{'factor':22} figures  difference in box AP on COCO, either way, where controlled"]
    for factor in EFFECT_FACTORS:
        found = published_effects(factor)
        sizes = [abs(one.delta) for one in found if one.delta is not None and _is_controlled(one)]
        span = f"{min(sizes):.1f} to {max(sizes):.1f}" if sizes else "none"
        lines.append(f"{factor:22} {len(found):7}  {span}")
    lines += ["", "No usable published number: unknown, not zero."]
    for factor, why in UNKNOWN_EFFECTS.items():
        lines.append(f"  {factor:22} {why}")
    return "\n".join([*lines, "", "`zoo --effects FACTOR` lists the figures with their sources."])


def effects_text(factor: str) -> str:
    """Gives the figures of a factor with their sources."""
    lines = []
    if factor in UNKNOWN_EFFECTS:
        lines += [f"{factor}: {UNKNOWN_EFFECTS[factor]}", ""]
    for found in published_effects(factor) if factor in EFFECT_FACTORS else ():
        key = f"  [{found.key}]" if found.key else ""
        trust = ", ".join(part for part in (found.controlled, found.quality) if part)
        lines += wrapped(f"{_outcome(found):>6}  {found.change}{key}", "")
        lines += wrapped(f"{found.model}: {_values(found)} on {found.dataset}; {trust}", " " * 8)
        lines += wrapped(f"{found.source} ({found.where})", " " * 8)
    return "\n".join(lines).rstrip()


def _outcome(found: PublishedEffect) -> str:
    if found.delta is None:
        return found.stated or "?"
    return f"{found.delta:+.2f}" + (f" ({found.stated})" if found.stated else "")


def _values(found: PublishedEffect) -> str:
    if found.before is None and found.after is None:
        return found.metric
    before, after = (
        "?" if value is None else f"{value:g}" for value in (found.before, found.after)
    )
    return f"{found.metric} {before} -> {after}"


def _is_controlled(found: PublishedEffect) -> bool:
    return (
        found.metric == "AP"
        and found.dataset.startswith("COCO")
        and found.controlled in ("controlled", "near-controlled")
    )
