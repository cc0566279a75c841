"""A sanity run on a terminal: its plan before, its verdict after."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from odapi_repro.features.sanity.sanity_job import SanityJob
from odapi_repro.features.sanity.sanity_record import SanityRecord
from odapi_repro.features.sanity.sanity_tables import TITLES, points_table, runs_table, scores_table
from odapi_repro.features.sanity.trainings import HOLD, OVERFIT, Training
from odapi_repro.foreign_text import shown
from odapi_repro.page.numbers import count_of, duration
from odapi_repro.trials.cost import CostEstimate

__all__ = ["plan_text", "print_sanity", "render_text"]

_WHAT = {
    HOLD: "a trained checkpoint at a very low rate on the training records: does AP hold?",
    OVERFIT: "ten training images without augmentation at the schedule under test: does AP rise?",
}
_SCALES = {
    "full": "full: the pipeline as it is",
    "proxy": "proxy: the family shrunk to minutes, with the scale's own schedule",
    "smoke": "smoke: a few steps that prove the plumbing; the numbers mean nothing",
}


def plan_text(
    job: SanityJob,
    expected: Sequence[Training],
    *,
    study: str,
    todo: int,
    cost: CostEstimate,
    warnings: Sequence[str] = (),
) -> str:
    """Gives the plan of a sanity run as text."""
    trainings = job.trainings
    data = job.data
    at = ", ".join(f"{name} = {level.label}" for name, level in trainings.at.items())
    lines = [
        f"sanity {study} on {trainings.pipeline.path}",
        f"  scale       {_SCALES[trainings.conditions.scale]}",
        f"  data        {data.source.name}: {data.train.num_examples} training and "
        f"{data.eval.num_examples} evaluation images, {len(data.label_map.items)} classes",
        f"  checkpoint  {_checkpoint(job)}",
    ]
    if at:
        lines.append(f"  schedule    at {at}")
    lines.append("")
    for one in expected:
        trial = one.trial
        lines.append(
            f"{TITLES[one.name]}: {trial.num_steps} steps, batch {trial.global_batch_size}, "
            f"peak rate {one.peak_rate:.4g} ({one.rate_note})"
        )
        if one.name in _WHAT:
            lines.append(f"  {_WHAT[one.name]}")
    if job.no_hold:
        lines.append(f"no hold: {job.no_hold}")
    lines.append(
        "an overfit that does not rise is tried once more, at a rate that is known to train"
    )
    lines += [f"note: {note}" for note in job.notes]
    lines += [f"warning: {warning}" for warning in warnings]
    time = "unknown" if cost.seconds is None else f"about {duration(cost.seconds)}"
    lines += [
        "",
        f"{count_of(len(expected), 'training')}, {len(expected) - todo} finished before, "
        f"{todo} to run; "
        f"expected time without evaluations: {time} ({cost.source})",
    ]
    return "\n".join(map(shown, lines)) + "\n"


def render_text(record: SanityRecord, *, ascii_only: bool = True) -> str:
    """Gives the verdict, what it rests on, and the tables."""
    verdict, outcome = record.verdict, record.outcome
    lines = []
    scores, runs = scores_table(outcome), runs_table(outcome)
    if scores:
        lines += [scores.text(), ""]
    if runs:
        lines += [runs.text(), ""]
    for run in outcome.runs:
        points = points_table(run)
        if points:
            lines += [f"{TITLES[run.name]}:", points.text(), ""]
    lines += [f"verdict: {', '.join(verdict.causes)}", shown(verdict.headline), ""]
    lines += [f"- {shown(reason)}" for reason in (*record.notes, *verdict.reasons)]
    if verdict.next_steps:
        lines += ["", "next:", *(f"- {shown(step)}" for step in verdict.next_steps)]
    lines += ["", "A screen, and no proof: docs/sanity.md says what it can miss."]
    text = "\n".join(lines) + "\n"
    return text.replace("±", "+-").encode("ascii", "replace").decode() if ascii_only else text


def print_sanity(record: SanityRecord, stream: TextIO | None = None) -> None:
    """Prints the report; in ASCII unless the stream is a terminal that takes more."""
    stream = sys.stdout if stream is None else stream
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    stream.write(render_text(record, ascii_only=not (stream.isatty() and encoding == "utf8")))


def _checkpoint(job: SanityJob) -> str:
    if job.source is not None:
        return job.source.given
    if job.reference_data is not None:
        return f"the scale's reference, trained on {job.reference_data.source.name} first"
    return "none"
