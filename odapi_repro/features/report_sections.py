"""Sections, facts and sentences that the pages of several features share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import pandas as pd

from odapi_repro.page.blocks import (
    Block,
    Bullets,
    Code,
    Paragraph,
    Place,
    Section,
    Table,
    code,
)
from odapi_repro.page.numbers import duration
from odapi_repro.reference import ReportedMetric
from odapi_repro.trials.groundwork import StudyData
from odapi_repro.trials.scales import ScaleNote
from odapi_repro.trials.trial_cost import CostEstimate

_SCALES: Final = {
    "full": "full: the pipeline as it is",
    "proxy": "proxy: the family shrunk to minutes; read differences only, not COCO AP",
    "smoke": "smoke: a few steps that prove the plumbing; the numbers mean nothing",
}


def scale_fact(scale: str) -> tuple[str, str]:
    """The scale of a plan, with what may be read at it."""
    return "scale", _SCALES[scale]


def data_fact(data: StudyData) -> tuple[str, str]:
    """What a plan trains and evaluates on."""
    return "data", (
        f"{data.source.name}: {data.train.num_examples:,} training and "
        f"{data.eval.num_examples:,} evaluation images, {len(data.label_map.items):,} classes"
    )


def price_line(trials: str, done: int, todo: int, cost: CostEstimate, of: str = "") -> str:
    """What a plan costs: "6 trials, 1 finished before, 5 to run; expected time: about 3 min".

    Args:
        trials: all of them, in words.
        done: how many have finished.
        todo: how many are run.
        cost: expected of those.
        of: what the time is without, " without evaluations".
    """
    time = "unknown" if cost.seconds is None else f"about {duration(cost.seconds)}"
    return (
        f"{trials}, {done:,} finished before, {todo:,} to run; "
        f"expected time{of}: {time} ({cost.source})"
    )


def held_section(lines: Iterable[str]) -> Section:
    """What was held constant, a line a factor."""
    return Section("What was held constant", [Bullets(tuple(lines))], "file")


def scale_section(scale: str, notes: Sequence[ScaleNote]) -> Section:
    """What became of the pipeline's relations at this scale."""
    rows = tuple(
        (note.what, note.full, note.here, "kept" if note.kept else "clipped", note.why)
        for note in notes
    )
    table = Table(("relation", "full", "here", "", "why"), rows, numeric_from=5)
    return Section(f"Scale: {scale}", [table], "file")


def reported_section(
    reference: str,
    reported: Sequence[ReportedMetric],
    *,
    scale: str = "full",
    place: Place = "file",
) -> Section:
    """The published numbers; nothing of a smaller scale is compared with them."""
    rows = tuple((one.metric, f"{one.value:g}", one.source, one.protocol) for one in reported)
    warning = Paragraph(
        f"These numbers must not be compared with the {scale} AP above: other images, another "
        "model size, another schedule."
    )
    return Section(
        f"What is reported for {reference or 'the reference'}",
        [
            Table(("metric", "reported", "source", "protocol"), rows, numeric_from=4),
            warning if rows and scale != "full" else None,
        ],
        place,
    )


def caveats_section(caveats: Iterable[str], place: Place = "file") -> Section:
    """What you cannot conclude, each a sentence."""
    return Section("What you cannot conclude", [Bullets(tuple(caveats))], place)


def common_caveats(scale: str, verdicts: Collection[str], what: str = "level") -> list[str]:
    """What a table of effects has to say of itself.

    Args:
        scale: of the trials.
        verdicts: those in the table.
        what: whose effects they are.
    """
    caveats = []
    if scale == "smoke":
        caveats.append(
            "Do not conclude anything: a smoke run trains for a few steps and proves the plumbing "
            "only."
        )
    if scale == "proxy":
        caveats.append(
            "Do not conclude how large an effect is on COCO. A proxy shows its direction and rank "
            "at this size; its AP is not COCO's, and only differences are read."
        )
    if "single_run" in verdicts:
        caveats.append(
            "Do not conclude that a difference seen in one run each is more than noise between "
            "seeds."
        )
    if "unresolved" in verdicts:
        caveats.append(f"Do not conclude that an {code('unresolved')} {what} has no effect.")
    return caveats


def again_section(command: str, *more: Block) -> Section:
    """What to type for the same again."""
    return Section("Run it again", [Code(command), *more], "file")


def cost_section(
    lines: Iterable[str],
    trials: pd.DataFrame,
    after: Iterable[str] = (),
    versions: Mapping[str, str] | None = None,
) -> Section:
    """What was run, how long, on which device, and with which versions.

    Args:
        lines: what the feature counts, before the devices.
        trials: the table whose `device` is told.
        after: what the feature counts, after the devices.
        versions: name -> version.
    """
    devices = sorted({str(device) for device in trials["device"].dropna()} - {""})
    told = [*lines, *([f"Device: {'; '.join(devices)}."] if devices else []), *after]
    if versions:
        told.append(f"Versions: {', '.join(f'{name} {one}' for name, one in versions.items())}.")
    return Section("What it cost", [Bullets(tuple(told))], "file")
