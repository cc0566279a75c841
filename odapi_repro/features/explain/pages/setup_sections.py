"""The sections of README.md on how the numbers came about: what was varied, mapped, held, spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from odapi_repro.features.explain.pages.content import ExplanationReport
from odapi_repro.features.explain.pages.wording import count_of
from odapi_repro.foreign_text import markdown, markdown_code, markdown_list
from odapi_repro.page.tables import Table
from odapi_repro.trials.progress import duration

__all__ = [
    "cost_section",
    "held_lines",
    "mapping_section",
    "reported_section",
    "scale_section",
    "spending",
    "unvaried_section",
]

_KINDS: Final = {
    "evaluation": "changes what is measured, not what is learned",
    "unexpressed": "may matter; no factor varies it",
    "at_this_scale": "this scale cannot vary it",
    "held": "left out on request",
    "left_open": "the reference leaves it to the user",
    "inert": "has no effect",
}


def unvaried_section(report: ExplanationReport) -> str:
    """The deviations that no trial varies, those that may matter first."""
    order = list(_KINDS)
    found = sorted(report.explanation.unvaried, key=lambda one: order.index(one.kind))
    if not found:
        return ""
    rows = tuple(
        (
            one.factor,
            _KINDS[one.kind],
            "<br>".join(
                f"{markdown_code(field.path)}: {_value(field.user)}"
                f" (reference: {_value(field.reference)})"
                for field in one.fields
            )
            or "-",
            one.why,
        )
        for one in found
    )
    table = Table(("deviation", "kind", "yours", "why"), rows, numeric_from=4)
    return f"## Deviations that were not varied\n\n{table.markdown()}"


def mapping_section(report: ExplanationReport) -> str:
    """The levels of the configs and of the trials, with what was kept and what clipped."""
    record = report.explanation
    if not record.mapped:
        return ""
    rows = tuple(
        (
            one.factor,
            f"{one.full_reference} → {one.full_user}",
            f"{one.reference} → {one.user}" if one.reference != one.user else "not varied",
            f"{'clipped' if one.clipped else 'kept'}: {one.kept}",
            one.why,
        )
        for one in record.mapped
    )
    header = ("factor", "in the configs, reference → yours", "here", "relation", "why")
    groups = [one for one in record.deviations if len(one.factors) > 1]
    notes = "".join(
        f"\n\n{markdown_code(one.name)} moves {markdown(', '.join(one.factors))} together, as one"
        " deviation."
        for one in groups
    )
    table = Table(header, rows, numeric_from=5).markdown()
    return f"## Levels of the configs and of these trials\n\n{table}{notes}"


def scale_section(report: ExplanationReport) -> str:
    """What became of the reference at this scale."""
    record = report.explanation
    if not record.scale_notes:
        return ""
    rows = tuple(
        (note.what, note.full, note.here, "kept" if note.kept else "clipped", note.why)
        for note in record.scale_notes
    )
    table = Table(("relation", "full", "here", "", "why"), rows, numeric_from=5)
    return f"## Scale: {record.scale}\n\n{table.markdown()}"


def held_lines(report: ExplanationReport) -> list[str]:
    """What stays constant while a factor varies."""
    return [f"`{one.factor}`: {one.holds}" for one in report.explanation.mapped if one.holds]


def reported_section(report: ExplanationReport) -> str:
    """What is published for the reference."""
    record = report.explanation
    if not record.reported:
        return ""
    rows = tuple(
        (one.metric, f"{one.value:g}", one.source, one.protocol) for one in record.reported
    )
    table = Table(("metric", "reported", "source", "protocol"), rows, numeric_from=4)
    text = f"## What is reported for {markdown(record.reference)}\n\n{table.markdown()}"
    if record.scale != "full":
        text += (
            f"\n\nThese numbers must not be compared with the {record.scale} AP above: other "
            "images, another model size, another schedule."
        )
    return text


def spending(report: ExplanationReport) -> float:
    """The wall time of all trials in seconds, NaN where none is known."""
    seconds = pd.to_numeric(report.table["wall_seconds"], errors="coerce").dropna()
    return math.fsum(seconds) if len(seconds) else math.nan


def cost_section(report: ExplanationReport) -> str:
    """Trials by status, wall time, device, images, versions."""
    record, counts = report.explanation, report.status_counts
    trials = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
    lines = [f"Trials: {len(report.table)} ({trials})."]
    wanted = sum(len(one.seeds) for one in report.result.wanted)
    if wanted:
        lines.append(f"Still to run: {count_of(wanted, 'trial')}.")
    seconds = spending(report)
    if math.isfinite(seconds):
        text = f"Wall time of these trainings and evaluations: {duration(seconds)}"
        if record.cost_per_hour is not None:
            text += (
                f", {record.cost_per_hour * seconds / 3600:.2f} at {record.cost_per_hour:g} an hour"
            )
        lines.append(f"{text}.")
    devices = _told(report.table, "device")
    if devices:
        lines.append(f"Device: {'; '.join(devices)}.")
    lines.append(
        f"Images: {record.num_train_images:,} to train, {record.num_eval_images:,} to evaluate."
    )
    versions = [
        f"{name} {', '.join(found)}"
        for name in ("tensorflow", "odapi_repro")
        if (found := _told(report.table, name))
    ]
    if versions:
        lines.append(f"Versions: {', '.join(versions)}.")
    return f"## What it cost\n\n{markdown_list(lines)}"


def _told(table: pd.DataFrame, column: str) -> Sequence[str]:
    return sorted({str(value) for value in table[column].dropna()} - {""})


def _value(text: str) -> str:
    return markdown_code(text) if text else "not set"
