"""The checks and their trainings in words, the same on a terminal and in a README."""

from __future__ import annotations

from odapi_repro.features.sanity.outcome import Outcome, Run
from odapi_repro.features.sanity.trainings import HOLD, OVERFIT, OVERFIT_SAFE, REFERENCE
from odapi_repro.page.numbers import number
from odapi_repro.page.tables import Table

__all__ = ["TITLES", "points_table", "runs_table", "scores_table"]

TITLES = {
    REFERENCE: "reference",
    HOLD: "hold",
    OVERFIT: "overfit, own schedule",
    OVERFIT_SAFE: "overfit, known rate",
}


def scores_table(outcome: Outcome) -> Table | None:
    """AP of the checkpoint before anything is trained; None without a checkpoint."""
    rows = [
        (name, str(score.num_images), number(score.ap, 1), _se(score.se))
        for name, score in (
            ("evaluation records", outcome.on_eval),
            ("training records", outcome.on_train),
        )
        if score is not None
    ]
    header = ("the checkpoint, untrained, on", "images", "AP", "standard error")
    return Table(header, tuple(rows)) if rows else None


def runs_table(outcome: Outcome) -> Table | None:
    """A row a training; None before the first."""
    rows = tuple(_row(run) for run in outcome.runs)
    header = (
        *("check", "steps", "batch", "peak LR", "AP before", "AP after", "status", "minutes"),
        "trial",
    )
    return Table(header, rows) if rows else None


def points_table(run: Run) -> Table | None:
    """AP by step of one training; None where it was not evaluated."""
    if not run.points:
        return None
    header = ("step", *(str(point.step) for point in run.points))
    return Table(header, (("AP", *(number(point.ap, 1) for point in run.points)),))


def _row(run: Run) -> tuple[str, ...]:
    minutes = "-" if run.wall_seconds is None else number(run.wall_seconds / 60, 1)
    return (
        TITLES[run.name],
        str(run.num_steps),
        str(run.global_batch_size),
        f"{run.peak_rate:.4g}",
        _ap(run.ap_before),
        _ap(run.ap_after),
        run.status,
        minutes,
        run.trial_id,
    )


def _ap(value: float | None) -> str:
    return "-" if value is None else number(value, 1)


def _se(value: float | None) -> str:
    return "-" if value is None else number(value, 1)
