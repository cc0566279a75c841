"""A mended config as a page and as JSON, and what its training costs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.mending.mend import Mended
from odapi_repro.diagnosis.mending.mend_request import (
    FINE_TUNE,
    REPRODUCE,
    Change,
    Constraints,
    FieldChange,
)
from odapi_repro.diagnosis.mending.training_plan import SAVED_EVERY, Length, plan_length
from odapi_repro.diagnosis.render.diagnosis_wording import labelled
from odapi_repro.foreign_text import command_line
from odapi_repro.page.blocks import (
    Block,
    Code,
    Facts,
    Headline,
    Note,
    Page,
    Paragraph,
    Section,
    code,
)
from odapi_repro.page.numbers import count_of

# --- What a mended config's training costs in images, epochs and hours, and what fits instead ---


#: Images a second that hours are told for where nobody measured them: one workstation GPU's order
#: of magnitude for a detector at some 900 pixels.
EXAMPLE_SPEED = 10.0
# What nobody means to wait for without having been told.
_LONG_HOURS = 7 * 24


@dataclass(frozen=True)
class Offer:
    """Another training that fits the time.

    Attributes:
        flags: to be added to the command.
        what: in words.
        length: batch and steps.
        hours: at the same speed.
    """

    flags: str
    what: str
    length: Length
    hours: float


@dataclass(frozen=True)
class Cost:
    """What a training costs.

    Attributes:
        length: batch and steps.
        train_images: images in the training records; None where nobody knows.
        images_per_second: that the hours are told for.
        measured: whether the user said so; else it is an example.
        hours: that the training takes.
        hours_available: that the user has; None where they did not say.
        offers: what fits, where this does not.
    """

    length: Length
    train_images: int | None
    images_per_second: float
    measured: bool
    hours: float
    hours_available: float | None
    offers: tuple[Offer, ...]

    @property
    def epochs(self) -> float | None:
        """Passes over the training images."""
        return self.length.images / self.train_images if self.train_images else None

    @property
    def fits(self) -> bool:
        """Whether it ends within the hours there are, or nobody set any."""
        return self.hours_available is None or self.hours <= self.hours_available


def cost_of(mended: Mended, constraints: Constraints) -> Cost:
    """Gives the cost, with offers where the training does not fit or takes over a week."""
    length = mended.length
    speed = constraints.images_per_second or EXAMPLE_SPEED
    hours = length.images / speed / 3600
    cost = Cost(
        length=length,
        train_images=mended.subject.quantities.train_images,
        images_per_second=speed,
        measured=constraints.images_per_second is not None,
        hours=hours,
        hours_available=constraints.hours,
        offers=(),
    )
    too_long = not cost.fits or (constraints.hours is None and hours > _LONG_HOURS)
    if not too_long:
        return cost
    return replace(cost, offers=tuple(_offers(mended, constraints, cost)))


def _offers(mended: Mended, constraints: Constraints, cost: Cost) -> list[Offer]:
    offers = []
    subject = mended.subject
    if mended.goal == REPRODUCE and subject.reference.archive:
        free = replace(
            constraints, steps=None, epochs=None, keep=constraints.keep - {"schedule_length"}
        )
        length = plan_length(
            subject.quantities,
            subject.reference_quantities,
            free,
            FINE_TUNE,
            batch=(cost.length.batch, cost.length.batch_why),
            own_is_bad=True,
        )
        what = f"fine-tuning the published detector, {length.why}"
        offers.append(_offer(f"--goal {FINE_TUNE}", what, length, cost))
    if constraints.hours is not None and constraints.images_in_time is not None:
        steps = constraints.images_in_time // cost.length.batch // SAVED_EVERY * SAVED_EVERY
        if steps:
            length = Length(cost.length.batch, steps, "", "")
            share = length.images / cost.length.images
            what = f"the same training, cut to {share:.0%} of its images"
            offers.append(_offer(f"--steps {steps}", what, length, cost))
    return offers


def _offer(flags: str, what: str, length: Length, cost: Cost) -> Offer:
    return Offer(flags, what, length, length.images / cost.images_per_second / 3600)


# --- A mended config told as a page and as JSON ---


_GOALS = {REPRODUCE: "to reproduce it", "fine_tune": "to fine-tune its detector"}
# A replaced model or loss has dozens of fields; the diff has them all.
_MOST_FIELDS = 6
_WIDEST_PATH = 40


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


def mended_page(report: Report) -> Page:
    """Gives the page of a mended config: what is changed and why, what is left, what it costs."""
    mended = report.mended
    changes = [*report.text_changes, *mended.changes]
    told = sum(one.severity == Severity.INFO for one in mended.findings)
    look = command_line(["python", "-m", "odapi_repro.diagnose", report.output])
    lost = report.lost_comments
    layout = "Written in protobuf's own layout, with your comments at the head"
    return Page(
        report.path,
        (
            *_head(report),
            Section(count_of(len(changes), "change"), [*map(_change, changes)])
            if changes
            else Paragraph("Nothing to change."),
            Section(
                "", [Paragraph(f"{layout}: {report.layout_lost}") if report.layout_lost else None]
            ),
            Section(
                f"{count_of(len(lost), 'comment')} did not find a place",
                [Facts(tuple((f"line {line}", comment) for line, comment in lost))],
            ),
            _ideas(mended),
            Section(
                "No config fixes these; do them yourself",
                [
                    Note(one.severity.word, f"{one.code} {one.found}", (("help", one.what_to_do),))
                    for one in mended.not_mendable
                ],
            ),
            _cost(report),
            Section(f"{told} for information", [Code(look)] if told and report.output else []),
        ),
    )


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


def _head(report: Report) -> Iterator[Block]:
    mended = report.mended
    reference = mended.subject.reference
    value = reference.reported_value("AP")
    reported = f" ({value:g} AP reported)" if value is not None else ""
    why = f" ({mended.goal_why})" if mended.goal_why else ""
    yield Headline(
        f"{code(report.path)} → {code(report.output or 'not written')}: towards {reference.name}"
        f"{reported}, {_GOALS[mended.goal]}{why}"
    )
    if report.reference_why:
        yield Paragraph(f"{reference.name} is the nearest reference: {report.reference_why}")


def _change_as_json(change: Change) -> dict[str, object]:
    return {
        "code": change.code,
        "reason": change.reason,
        "fields": [
            {"field": one.path, "old": _plain_value(one.old), "new": _plain_value(one.new)}
            for one in change.fields
        ],
    }


def _ideas(mended: Mended) -> Section:
    """What stays although the reference has it otherwise, and how to have that, too."""
    how = f" --goal {REPRODUCE} takes these over, too." if mended.goal == REPRODUCE else ""
    why = Paragraph(f"No finding speaks against what you wrote.{how}")
    ideas = [*map(_change, mended.ideas)]
    return Section(
        f"{count_of(len(ideas), 'suggestion')}, not made", [why, *ideas] if ideas else []
    )


def _change(change: Change) -> Note:
    first, *others = map(_edit, change.fields[:_MOST_FIELDS])
    if len(change.fields) > _MOST_FIELDS:
        others.append(f"{len(change.fields) - _MOST_FIELDS} more fields of the kind")
    facts = (*labelled("and", others), ("why", change.reason))
    return Note(change.code or "change", first, facts)


def _edit(one: FieldChange) -> str:
    """Gives `train_config ... total_steps: 100 → 200`; JSON and the diff have the whole path."""
    path = one.path
    if len(path) > _WIDEST_PATH and path.count(".") > 1:
        first, *_, last = path.split(".")
        path = f"{first} ... {last}"
    if one.old is None:
        return f"{path}: {_value(one.new)} (added)"
    if one.new is None:
        return f"{path}: {_value(one.old)} (removed)"
    return f"{path}: {_value(one.old)} → {_value(one.new)}"


def _cost(report: Report) -> Section:
    cost = report.cost
    epochs = ""
    if cost.epochs is not None:
        epochs = f", {cost.epochs:.3g} epochs of {cost.train_images:,}"
    speed = f"{cost.images_per_second:g} images a second"
    if not cost.measured:
        speed += " (an example: give yours with --images_per_second)"
    time = f"{_duration(cost.hours)} at {speed}"
    if cost.hours_available is not None:
        verdict = "which fits" if cost.fits else "which does not fit"
        time += f"; you have {_duration(cost.hours_available)}, {verdict}"
    blocks: list[Block] = [
        Facts(
            (
                (
                    "length",
                    f"{cost.length.steps:,} steps of {count_of(cost.length.batch, 'image')}: "
                    f"{_count(cost.length.images)}{epochs}",
                ),
                ("time", time),
            )
        )
    ]
    offered = "shorter" if cost.hours_available is None else "what fits"
    again = " --overwrite" if report.output else ""
    for offer in cost.offers:
        length = f"{offer.length.steps:,} steps, {_count(offer.length.images)}"
        blocks += [
            Note(offered, f"{offer.what}: {length}, {_duration(offer.hours)}"),
            Code(f"{report.command} {offer.flags}{again}"),
        ]
    return Section("The training that follows", blocks)


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
        return f'"{value}"'
    return str(value)


def _plain_value(value: object) -> object:
    """JSON has no NaN and no infinity."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else str(value)
    return value if isinstance(value, (bool, int, str, type(None))) else str(value)
