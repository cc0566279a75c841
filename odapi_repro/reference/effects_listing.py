"""Published effects as rows and as text, for the `zoo` command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from odapi_repro.reference.effects import (
    CHECKED_ON,
    EFFECT_FACTORS,
    UNKNOWN_EFFECTS,
    Check,
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
    every = published_effects()
    lines = [
        _checked(every),
        "",
        f"{'factor':22} figures  difference in box AP on COCO, either way, where controlled",
    ]
    for factor in EFFECT_FACTORS:
        found = published_effects(factor)
        sizes = [abs(one.delta) for one in found if one.delta is not None and _is_usable(one)]
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
    every = published_effects(factor) if factor in EFFECT_FACTORS else ()
    if every:
        lines += [_checked(every), ""]
    for found in every:
        key = f"  [{found.key}]" if found.key else ""
        checked = _CHECKED.get(found.checked, found.checked)
        trust = ", ".join(part for part in (found.controlled, found.quality, checked) if part)
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


_CHECKED: Final[dict[Check, str]] = {"source": "read again", "facts": "read again in the facts"}


def _checked(every: Sequence[PublishedEffect]) -> str:
    """How many of the figures were read again, and when."""
    again = sum(found.checked == "source" for found in every)
    facts = sum(found.checked == "facts" for found in every)
    missing = sum(found.checked == "not found in source" for found in every)
    said = f"{again} of {len(every)} figures were read again at their source ({CHECKED_ON})"
    said += f", {facts} in tables kept with the project" if facts else ""
    return said + (f"; {missing} were not found there." if missing else ".")


def _is_usable(found: PublishedEffect) -> bool:
    return (
        found.checked != "not found in source"
        and found.metric == "AP"
        and found.dataset.startswith("COCO")
        and found.controlled in ("controlled", "near-controlled")
    )
