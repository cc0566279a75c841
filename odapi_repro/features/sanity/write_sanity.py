"""Writes results/<name>/ of a sanity run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from odapi_repro.features.sanity.sanity_record import SanityRecord
from odapi_repro.features.sanity.sanity_tables import TITLES, points_table, runs_table, scores_table
from odapi_repro.foreign_text import (
    fenced,
    markdown,
    markdown_code,
    markdown_list,
    markdown_sentence,
)
from odapi_repro.page.results_folder import Drawing, write_results
from odapi_repro.page.tables import csv_bytes

__all__ = ["CURVES", "readme_text", "write_sanity_report"]

CURVES = "curves.png"


def write_sanity_report(record: SanityRecord, folder: Path) -> None:
    """Writes sanity.json, trials.csv, curve.csv and README.md, then the curves that it shows.

    Each file is replaced whole. The same outcome gives the same bytes.
    """
    record.write(folder)

    def drawings() -> Iterable[Drawing]:
        # Matplotlib takes a second to import.
        from odapi_repro.features.sanity.sanity_plot import render_curves

        return render_curves(record.outcome)

    write_results(
        folder,
        tables={
            "trials.csv": csv_bytes(_trials(record)),
            "curve.csv": csv_bytes(_curve(record)),
        },
        drawings=drawings,
        pages=lambda files: {"README.md": readme_text(record, files=files)},
        earlier=(CURVES,),
    )


def readme_text(record: SanityRecord, *, files: Collection[str]) -> str:
    """The whole README; `files` are the names of what lies beside it."""
    verdict, outcome = record.verdict, record.outcome
    parts = [
        f"# {markdown(record.study)}",
        f"**{markdown_sentence(verdict.headline)}**",
        f"Verdict: `{', '.join(verdict.causes)}`. Pipeline {markdown_code(record.pipeline)}, "
        f"{outcome.scale} scale. AP of boxes in points.",
        markdown_list((*record.notes, *verdict.reasons)),
    ]
    if verdict.next_steps:
        parts += [
            "## What to do",
            markdown_list(verdict.next_steps),
        ]
    if CURVES in files:
        parts += ["## Curves", f"![AP and loss by step]({CURVES})"]
    scores, runs = scores_table(outcome), runs_table(outcome)
    if scores:
        about = f"The checkpoint is {markdown(outcome.checkpoint)}."
        parts += ["## Before anything is trained", about, scores.markdown()]
    if runs:
        parts += ["## Trainings", runs.markdown()]
        parts.append(markdown_list(f"{TITLES[run.name]}: {run.rate_note}" for run in outcome.runs))
    for run in outcome.runs:
        points = points_table(run)
        if points:
            parts += [f"{TITLES[run.name]}:", points.markdown()]
    parts += ["## What may not be concluded", _CAVEATS[outcome.scale], _CAVEAT]
    parts += [
        "## What it was made of",
        markdown_list(f"{name}: {text}" for name, text in record.foundation.items()),
        "## Run it again",
        fenced(record.command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_CAVEAT = (
    "That labels are right because the verdict is `sound`: an error in a small share of them moves "
    "AP by less than these checks resolve. That the whole schedule is right: a run this short "
    "tries its rate and batch, and neither its length nor where it ends."
)
_CAVEATS = {
    "full": "",
    "proxy": "How the pipeline behaves at its own scale: a proxy has another model, batch and "
    "schedule. The data are those named, whatever the scale.",
    "smoke": "Anything: a smoke run takes a few steps and proves the plumbing only.",
}


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
