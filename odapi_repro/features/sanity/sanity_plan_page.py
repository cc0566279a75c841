"""The plan of a sanity run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from odapi_repro.features.report_sections import data_fact, price_line
from odapi_repro.features.sanity.sanity_job import SanityJob
from odapi_repro.features.sanity.trainings import HOLD, OVERFIT, TITLES, Training
from odapi_repro.page.blocks import Bullets, Facts, Headline, Note, Page, Section
from odapi_repro.page.numbers import count_of
from odapi_repro.trials.cost import CostEstimate

_WHAT: Final = {
    HOLD: "a trained checkpoint at a very low rate on the training records: does AP hold?",
    OVERFIT: "ten training images without augmentation at the schedule under test: does AP rise?",
}
_SCALES: Final = {
    "full": "full: the pipeline as it is",
    "proxy": "proxy: the family shrunk to minutes, with the scale's own schedule",
    "smoke": "smoke: a few steps that prove the plumbing; the numbers mean nothing",
}


def sanity_plan_page(
    job: SanityJob,
    expected: Sequence[Training],
    *,
    study: str,
    todo: int,
    cost: CostEstimate,
    warnings: Sequence[str] = (),
) -> Page:
    """Gives the plan of a sanity run.

    Args:
        job: what is to be run.
        expected: the trainings that are certain.
        study: its name.
        todo: how many of them have not finished.
        cost: of those.
        warnings: what the user should know of the checkpoint.
    """
    trainings = job.trainings
    at = ", ".join(f"{name} = {level.label}" for name, level in trainings.at.items())
    facts = [
        ("scale", _SCALES[trainings.conditions.scale]),
        data_fact(job.data),
        ("checkpoint", _checkpoint(job)),
        *([("schedule", f"at {at}")] if at else []),
    ]
    done = len(expected) - todo
    return Page(
        study,
        (
            Headline(f"sanity {study} on {trainings.pipeline.path}"),
            Facts(tuple(facts)),
            Section(
                "Checks",
                [
                    Bullets(
                        (
                            *map(_told, expected),
                            *([f"no hold: {job.no_hold}"] if job.no_hold else []),
                            "an overfit that does not rise is tried once more, at a rate that is "
                            "known to train",
                        )
                    )
                ],
            ),
            *(Note("note", note) for note in job.notes),
            *(Note("warning", warning) for warning in warnings),
            Section(
                "Price",
                [
                    Bullets(
                        (
                            price_line(
                                count_of(len(expected), "training"),
                                done,
                                todo,
                                cost,
                                " without evaluations",
                            ),
                        )
                    )
                ],
            ),
        ),
    )


def _told(one: Training) -> str:
    trial, what = one.trial, _WHAT.get(one.name, "")
    return (
        f"{TITLES[one.name]}: {trial.num_steps} steps, batch {trial.global_batch_size}, peak rate "
        f"{one.peak_rate:.4g} ({one.rate_note})" + (f"; {what}" if what else "")
    )


def _checkpoint(job: SanityJob) -> str:
    if job.source is not None:
        return job.source.given
    if job.reference_data is not None:
        return f"the scale's reference, trained on {job.reference_data.source.name} first"
    return "none"
