"""The pages of a sanity run: its plan, and what it says in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import pandas as pd

from odapi_repro.features.report_sections import again_section, data_fact, price_line
from odapi_repro.features.sanity.sanity_record import SANITY_FILE, SanityJob, SanityRecord
from odapi_repro.features.sanity.sanity_trainings import HOLD, OVERFIT, TITLES, Training
from odapi_repro.features.sanity.sanity_verdict import Outcome, Run
from odapi_repro.page.blocks import (
    Bullets,
    Facts,
    Figure,
    Headline,
    Note,
    Page,
    Paragraph,
    Section,
    Table,
    code,
    marked,
)
from odapi_repro.page.numbers import count_of, number
from odapi_repro.page.results_folder import Drawing, Results
from odapi_repro.page.study_tables import csv_bytes
from odapi_repro.trials.trial_cost import CostEstimate

# --- The plan of a sanity run ---


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
                            "an overfit that does not rise is tried again at a rate that is known "
                            "to train",
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


# --- What a sanity run says: its page, and the files beside it ---


_CURVES: Final = "curves.png"
_CAVEAT: Final = (
    "Do not conclude that labels are right because the verdict is `sound`: an error in a small "
    "share of them moves AP by less than these checks resolve. Do not conclude that the whole "
    "schedule is right either: a run this short tries its rate and its batch, not its length or "
    "its end."
)
_CAVEATS: Final = {
    "full": "",
    "proxy": "Do not conclude how the pipeline behaves at its own scale: a proxy has another "
    "model, batch and schedule. The data are those named, whatever the scale.",
    "smoke": "Do not conclude anything: a smoke run takes a few steps and proves the plumbing "
    "only.",
}


def sanity_page(record: SanityRecord) -> Page:
    """Gives the verdict, what it rests on, and the tables."""
    verdict, outcome = record.verdict, record.outcome
    causes = code(", ".join(verdict.causes))
    caveats = [_CAVEATS[outcome.scale], marked(_CAVEAT)]
    screen = "This is a screen, not a proof. docs/sanity.md says what it can miss."
    return Page(
        record.study,
        (
            Headline(verdict.headline),
            Paragraph(
                f"Verdict: {causes}. Pipeline {code(record.pipeline)}, {outcome.scale} scale. AP "
                "of boxes in points."
            ),
            Bullets((*record.notes, *(marked(reason) for reason in verdict.reasons))),
            Section("What to do", [Bullets(tuple(map(marked, verdict.next_steps)))]),
            Section("Curves", [Figure(_CURVES, "AP and loss by step")]),
            _scores(outcome),
            _trainings(outcome),
            Section("What you cannot conclude", [Bullets(tuple(filter(None, caveats)))], "file"),
            Section("", [Paragraph(screen)], "terminal"),
            Section("What it was made of", [Facts(tuple(record.foundation.items()))], "file"),
            again_section(record.command),
        ),
    )


def sanity_results(record: SanityRecord) -> Results:
    """Gives what results/<study>/ holds: sanity.json, trials.csv, curve.csv, the curves."""

    def drawings() -> Iterable[Drawing]:
        # Matplotlib takes a second to import.
        from odapi_repro.features.sanity.sanity_plot import render_curves

        return render_curves(record.outcome)

    return Results(
        sanity_page(record),
        tables={
            SANITY_FILE.name: SANITY_FILE.text(record.fields),
            "trials.csv": csv_bytes(_trials(record)),
            "curve.csv": csv_bytes(_curve(record)),
        },
        drawings=drawings,
        earlier=(_CURVES,),
    )


def _scores(outcome: Outcome) -> Section:
    """AP of the checkpoint before anything is trained."""
    rows = tuple(
        (name, str(score.num_images), number(score.ap), number(score.se))
        for name, score in (
            ("evaluation records", outcome.on_eval),
            ("training records", outcome.on_train),
        )
        if score is not None
    )
    header = ("the checkpoint, untrained, on", "images", "AP", "standard error")
    about = Paragraph(f"The checkpoint is {outcome.checkpoint}.") if rows else None
    return Section("Before anything is trained", [about, Table(header, rows)])


def _trainings(outcome: Outcome) -> Section:
    """A row a training, why it has its rate, and AP by step of each."""
    header = (
        *("check", "steps", "batch", "peak LR", "AP before", "AP after", "status", "minutes"),
        "trial",
    )
    rates = Bullets(tuple(f"{TITLES[run.name]}: {run.rate_note}" for run in outcome.runs))
    return Section(
        "Trainings",
        [
            Table(header, tuple(_row(run) for run in outcome.runs)),
            Section("", [rates], "file"),
            *(block for run in outcome.runs if run.points for block in _points(run)),
        ],
    )


def _points(run: Run) -> tuple[Paragraph, Table]:
    header = ("step", *(str(point.step) for point in run.points))
    row = ("AP", *(number(point.ap) for point in run.points))
    return Paragraph(f"{TITLES[run.name]}:"), Table(header, (row,))


def _row(run: Run) -> tuple[str, ...]:
    minutes = None if run.wall_seconds is None else run.wall_seconds / 60
    return (
        TITLES[run.name],
        str(run.num_steps),
        str(run.global_batch_size),
        f"{run.peak_rate:.4g}",
        number(run.ap_before),
        number(run.ap_after),
        run.status,
        number(minutes),
        run.trial_id,
    )


def _trials(record: SanityRecord) -> pd.DataFrame:
    """A row a training, in the columns of every trials.csv as far as they apply."""
    return pd.DataFrame(
        [
            {
                "trial_id": run.trial_id,
                "study": record.study,
                "pipeline": record.pipeline,
                "scale": record.outcome.scale,
                "seed": record.seed,
                "status": run.status,
                "check": run.name,
                "num_steps": run.num_steps,
                "global_batch_size": run.global_batch_size,
                "peak_lr": run.peak_rate,
                "AP_before": run.ap_before,
                "AP_after": run.ap_after,
                "final_loss": run.losses[-1][1] if run.losses else None,
                "wall_seconds": run.wall_seconds,
            }
            for run in record.outcome.runs
        ]
    )


def _curve(record: SanityRecord) -> pd.DataFrame:
    rows = [
        (run.name, run.trial_id, point.step, point.ap)
        for run in record.outcome.runs
        for point in run.points
    ]
    return pd.DataFrame(rows, columns=["check", "trial_id", "step", "AP"])
