"""A mended config told in words and as JSON."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.mending.changes import Change, FieldChange
from odapi_repro.diagnosis.mending.constraints import REPRODUCE
from odapi_repro.diagnosis.mending.cost import Cost
from odapi_repro.diagnosis.mending.mend import Mended
from odapi_repro.foreign_text import command_line, shown_lines
from odapi_repro.foreign_text import shown as plain
from odapi_repro.page.numbers import count_of

__all__ = ["Report", "as_json", "as_text"]

_COLUMNS = 100
_GOALS = {REPRODUCE: "to reproduce it", "fine_tune": "to fine-tune its detector"}
# A replaced model or loss has dozens of fields; the diff has them all.
_MOST_FIELDS = 6


@dataclass(frozen=True)
class Report:
    """What a command has to tell about a mended config.

    Attributes:
        path: of the config that was read.
        output: where the mended one was written; empty where it was not.
        mended: the config, its changes and what is left.
        cost: of its training.
        reference_why: why this reference was inferred; empty where the user named it.
        text_changes: what was mended so that the text parses.
        layout_lost: why the text is the proto's own form; empty where the user's was kept.
        lost_comments: line and text of the comments that the mended text lacks.
        command: as it was called, for the offers.
        diff: of the two texts; None where nobody asked for it.
    """

    path: str
    output: str
    mended: Mended
    cost: Cost
    reference_why: str
    text_changes: tuple[Change, ...]
    layout_lost: str
    lost_comments: tuple[tuple[int, str], ...]
    command: str
    diff: str | None = None


def as_text(report: Report) -> str:
    """Gives the report for a terminal, in lines of at most 100 columns where paths allow."""
    mended = report.mended
    lines = [*_head(report), ""]
    changes = [*report.text_changes, *mended.changes]
    lines.append(f"{count_of(len(changes), 'change')}:" if changes else "Nothing to change.")
    for change in changes:
        lines += _change(change)
    if report.layout_lost:
        lines += _wrapped(
            "Written in protobuf's own layout, with your comments at the head: "
            f"{plain(report.layout_lost)}",
            "",
        )
    if report.lost_comments:
        lines.append(f"{count_of(len(report.lost_comments), 'comment')} did not find a place:")
        lines += [f"  line {line}: {plain(comment)}" for line, comment in report.lost_comments]
    if mended.ideas:
        lines += ["", *_ideas(mended)]
    if mended.not_mendable:
        lines += ["", "No config mends these; they are yours to do:"]
        for left in mended.not_mendable:
            lines += _wrapped(f"{left.code} {left.severity.word}: {plain(left.found)}", "  ")
            lines += _wrapped(left.what_to_do, "      -> ")
    lines += ["", "The training that follows:", *_cost(report)]
    told = [one for one in mended.findings if one.severity == Severity.INFO]
    if told and report.output:
        lines.append(
            f"\n{len(told)} for information: "
            + command_line(["python", "-m", "odapi_repro.diagnose", report.output])
        )
    if report.diff is not None:
        # A tab is the config's own.
        lines += ["", "\t".join(map(shown_lines, report.diff.rstrip("\n").split("\t")))]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> str:
    """Gives the report as one JSON document, schema 1."""
    mended, cost, length = report.mended, report.cost, report.mended.length
    document: dict[str, Any] = {
        "schema": 1,
        "pipeline": report.path,
        "output": report.output or None,
        "reference": mended.subject.reference.name,
        "reference_inferred": report.reference_why or None,
        "goal": mended.goal,
        "goal_inferred": mended.goal_why or None,
        "kept_layout": not report.layout_lost,
        "lost_comments": [
            {"line": line, "comment": comment} for line, comment in report.lost_comments
        ],
        "changes": [_change_as_json(change) for change in (*report.text_changes, *mended.changes)],
        "ideas": [_change_as_json(change) for change in mended.ideas],
        "yours_to_do": [
            {
                "code": left.code,
                "cause": left.cause,
                "severity": left.severity.word,
                "found": left.found,
                "what_to_do": left.what_to_do,
            }
            for left in mended.not_mendable
        ],
        "training": {
            "global_batch": length.batch,
            "num_steps": length.steps,
            "images_seen": length.images,
            "epochs": cost.epochs,
            "images_per_second": cost.images_per_second,
            "images_per_second_is_an_example": not cost.measured,
            "hours": cost.hours,
            "hours_available": cost.hours_available,
            "fits": cost.fits,
            "offers": [
                {
                    "flags": offer.flags,
                    "what": offer.what,
                    "num_steps": offer.length.steps,
                    "images_seen": offer.length.images,
                    "hours": offer.hours,
                }
                for offer in cost.offers
            ],
        },
        "findings": [
            {"code": one.code, "cause": one.cause, "severity": one.severity.word}
            for one in mended.findings
        ],
    }
    if report.diff is not None:
        document["diff"] = report.diff
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _head(report: Report) -> list[str]:
    mended = report.mended
    reference = mended.subject.reference
    value = reference.reported_value("AP")
    reported = f" ({value:g} AP reported)" if value is not None else ""
    why = f" ({mended.goal_why})" if mended.goal_why else ""
    written = report.output or "not written"
    lines = _wrapped(
        f"{report.path} -> {written}: towards {reference.name}{reported}, "
        f"{_GOALS[mended.goal]}{why}",
        "",
    )
    if report.reference_why:
        lines += _wrapped(f"{reference.name} is the nearest reference: {report.reference_why}", "")
    return lines


def _change_as_json(change: Change) -> dict[str, object]:
    return {
        "code": change.code,
        "reason": change.reason,
        "fields": [
            {"field": one.path, "old": _plain_value(one.old), "new": _plain_value(one.new)}
            for one in change.fields
        ],
    }


def _ideas(mended: Mended) -> Iterator[str]:
    """What stays although the reference has it otherwise, and how to have that, too."""
    how = f"; --goal {REPRODUCE} takes these over, too" if mended.goal == REPRODUCE else ""
    yield from _wrapped(
        f"{count_of(len(mended.ideas), 'suggestion')}, not made, because no finding speaks against "
        f"what you wrote{how}:",
        "",
    )
    for change in mended.ideas:
        yield from _change(change)


def _change(change: Change) -> Iterator[str]:
    mark = change.code or "-"
    for position, one in enumerate(change.fields[:_MOST_FIELDS]):
        yield f"  {mark if not position else '':8}{_field(one, _COLUMNS - 10)}"
    if len(change.fields) > _MOST_FIELDS:
        yield f"{'':10}and {len(change.fields) - _MOST_FIELDS} more fields of the kind"
    yield from _wrapped(plain(change.reason), " " * 12)


def _field(one: FieldChange, columns: int) -> str:
    if one.old is None:
        told = f"{_value(one.new)} (added)"
    elif one.new is None:
        told = f"{_value(one.old)} (removed)"
    else:
        told = f"{_value(one.old)} -> {_value(one.new)}"
    path = one.path
    if len(path) + len(told) + 2 > columns and path.count(".") > 1:
        first, *_, last = path.split(".")
        path = f"{first} ... {last}"
    return f"{path}: {told}"


def _cost(report: Report) -> Iterator[str]:
    cost = report.cost
    images = _count(cost.length.images)
    epochs = ""
    if cost.epochs is not None:
        epochs = f", {cost.epochs:.3g} epochs of {cost.train_images:,}"
    yield from _wrapped(
        f"{cost.length.steps:,} steps of {count_of(cost.length.batch, 'image')}: {images}{epochs}",
        "  ",
    )
    speed = f"{cost.images_per_second:g} images a second"
    if not cost.measured:
        speed += " (an example: give yours with --images_per_second)"
    time = f"at {speed}: {_duration(cost.hours)}"
    if cost.hours_available is not None:
        verdict = "which fits" if cost.fits else "which does not fit"
        time += f"; you have {_duration(cost.hours_available)}, {verdict}"
    yield from _wrapped(time, "  ")
    offered = "shorter" if cost.hours_available is None else "what fits"
    for offer in cost.offers:
        yield from _wrapped(
            f"{offered}: {offer.what}: {offer.length.steps:,} steps, "
            f"{_count(offer.length.images)}, {_duration(offer.hours)}",
            "  ",
        )
        again = " --overwrite" if report.output else ""
        yield f"      {report.command} {offer.flags}{again}"


def _count(images: int) -> str:
    return (
        f"{images / 1e6:.3g} million images" if images >= 1_000_000 else count_of(images, "image")
    )


def _duration(hours: float) -> str:
    if hours >= 72:
        return f"{hours / 24:.3g} days"
    if hours >= 1:
        return f"{hours:.3g} hours"
    return f"{hours * 60:.2g} minutes"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, str) and value != "{}":
        return f'"{plain(value)}"'
    return str(value)


def _plain_value(value: object) -> object:
    """JSON has no NaN and no infinity."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else str(value)
    return value if isinstance(value, (bool, int, str, type(None))) else str(value)


def _wrapped(text: str, lead: str) -> list[str]:
    return textwrap.wrap(
        plain(text),
        _COLUMNS,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
