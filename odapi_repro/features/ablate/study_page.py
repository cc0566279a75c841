"""The report of a study as a page: what was found, how far it holds, how to get it again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import numpy as np
import pandas as pd

from odapi_repro.analysis.effect import effects_frame
from odapi_repro.analysis.intervals import minimum_detectable_effect
from odapi_repro.analysis.level_effects import EFFECTS_COLUMNS, Contrast, study_variance
from odapi_repro.analysis.trial_table import AP_OR_0, GIVEN_CONVERGENCE, outcomes
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.features.report_sections import (
    again_section,
    caveats_section,
    common_caveats,
    cost_section,
    held_section,
    reported_section,
    scale_section,
)
from odapi_repro.page.blocks import Figure, Headline, Page, Paragraph, Section, Table, code, link
from odapi_repro.page.claims import ends_text, finding, largest, runs_diverged, verdict_counts
from odapi_repro.page.numbers import between, count_of, duration, level_of, number, signed, size_of
from odapi_repro.page.results_folder import Drawing, Results
from odapi_repro.page.study_tables import csv_bytes

# --- Effects in words: the headline of a study, and a line for each contrast ---


def at(row: Contrast) -> str:
    """Where the other factors were held meanwhile, if not at their reference."""
    return f" at {row.held.replace('=', ' ')}" if row.held else ""


def headline(report: StudyReport) -> str:
    """What the study found, in one sentence: the largest effect on AP that it resolved."""
    return study_headline(report.effects, scale=report.scale, confidence=report.confidence)


def study_headline(
    effects: Sequence[Contrast], *, scale: str = "full", confidence: float = 0.95
) -> str:
    """The headline of a study's effects: what diverged, else the largest that was resolved."""
    if scale == "smoke":
        return "Smoke run: it proves that the commands work; its numbers mean nothing."
    rows = [row for row in effects if row.metric == "AP" and row.estimand == AP_OR_0]
    known = [row for row in rows if not math.isnan(row.delta)]
    if not known:
        return "Nothing to compare yet: no level has finished beside the reference level."
    broken = [row for row in known if row.p_diverged_to > row.p_diverged_from]
    tested = [row for row in known if not math.isnan(row.p_holm)]
    rivals = broken or tested or known
    best = None
    if not broken:
        best = largest(rivals, "gain", "loss", contrasts=len(rivals), confidence=confidence)
    best = best or max(rivals, key=lambda row: abs(row.delta))
    where = "" if scale == "full" else f", at {scale} scale"
    rest = verdict_counts(row.verdict for row in rows if row is not best)
    plural = "contrasts" if len(rows) > 2 else "contrast"
    tail = f"; the other {plural}: {rest}" if rest else ""
    return f"{_finding(best, len(rivals), confidence)}{where}{tail}."


def _finding(row: Contrast, contrasts: int, confidence: float) -> str:
    runs = f"{count_of(row.n_to, 'run')}, {row.n_from} of the reference"
    runs = "1 run each" if row.n_from == row.n_to == 1 else runs
    counted = f"n={row.n}"
    subject = f"{row.factor} {row.to_level} instead of {row.from_level}{at(row)}"
    if row.p_diverged_to > row.p_diverged_from:
        ends = ends_text(row, counted, contrasts=contrasts, confidence=confidence)
        way = "lower" if row.delta < 0 else "higher"
        change = f"{size_of(row.delta)} {way}" if row.delta else "the same"
        to, reference = (_diverged(row, side) or (0, 0) for side in ("to", "from"))
        return (
            f"{row.factor} {row.to_level}{at(row)}: {runs_diverged(*to)} (at {row.from_level}: "
            f"{reference[0]} of {reference[1]}); counted as 0, AP is {change} "
            f"{f'{ends} ({row.verdict})' if ends else f'({runs}: no interval)'}"
        )
    return finding(row, subject, counted, runs=runs, contrasts=contrasts, confidence=confidence)


def diverged_text(row: Contrast) -> str:
    """How many runs of both levels diverged, "0 of 1 and 1 of 1 diverged"."""
    told = (_diverged(row, side) for side in _SIDES)
    return f"{' and '.join(f'{one[0]} of {one[1]}' if one else '-' for one in told)} diverged"


_SIDES: Final[tuple[Literal["from", "to"], ...]] = ("from", "to")


def _diverged(row: Contrast, side: Literal["from", "to"]) -> tuple[int, int] | None:
    """Diverged and finished runs of a level; None where no run has finished."""
    share, finished = (
        (row.p_diverged_to, row.finished_to)
        if side == "to"
        else (row.p_diverged_from, row.finished_from)
    )
    return (round(share * finished), finished) if finished else None


# --- The report of a study as a page: what was found, how far it holds, how to get it again ---


_SUMMARY_METRICS: Final = ("AP", "AP50", "APs", "APm", "APl", "AR100", "mask_AP")
_EFFECT_METRICS: Final = ("AP50", "APs", "APm", "APl", "AR100", "mask_AP")


def levels_table(report: StudyReport) -> Table:
    """A row a cell: how it was trained, what it scored, whether its trials ended.

    A diverged run counts as 0; AP has the standard deviation over the seeds.
    """
    trials = report.table
    metrics = [metric for metric in _SUMMARY_METRICS if metric in trials.columns]
    counted = {metric: outcomes(trials, metric, AP_OR_0) for metric in metrics}
    header = (
        *report.factors,
        *("steps", "images seen", "peak LR"),
        *(metric.replace("mask_", "mask ") for metric in metrics),
        *("final loss", "minutes", "status"),
    )
    reference = tuple(axis.reference_level for axis in report.axes)
    rows = []
    for labels, group in trials.groupby(list(report.factors), sort=False):
        cell = tuple(str(label) for label in labels)
        mark = " (reference)" if cell == reference else ""
        scores = [counted[metric][group.index].dropna() for metric in metrics]
        rows.append(
            (
                cell[0] + mark,
                *cell[1:],
                _typical(group["num_steps"]),
                _typical(group["images_seen"]),
                _typical(group["base_lr"]),
                _mean_and_sd(scores[0]),
                *(number(one.mean()) for one in scores[1:]),
                number(pd.to_numeric(group["final_loss"]).mean(), 3),
                number(pd.to_numeric(group["wall_seconds"]).mean() / 60),
                _statuses(group["status"]),
            )
        )
    return Table(header, tuple(rows), numeric_from=len(report.factors))


def effects_table(report: StudyReport) -> Table:
    """The contrasts on AP with interval and verdict; the other metrics as plain differences.

    The mask AP has its interval and its verdict, too.
    """
    by_key = {(r.factor, r.to_level, r.metric, r.estimand): r for r in report.effects}
    metrics = [metric for metric in _EFFECT_METRICS if metric in report.metrics]
    diverged = "diverged" in report.status_counts()
    rows = []
    for row in report.effects:
        if row.metric != "AP" or _repeats(row):
            continue
        key = (row.factor, row.to_level)
        what = f"{row.factor} {row.from_level} → {row.to_level}{at(row)}"
        if row.estimand == GIVEN_CONVERGENCE:
            what += f", given convergence ({diverged_text(by_key[(*key, row.metric, AP_OR_0)])})"
        elif diverged and row.p_diverged_from + row.p_diverged_to > 0:
            what += ", diverged = 0"
        rest = (_difference(by_key[(*key, metric, row.estimand)]) for metric in metrics)
        ends = between(row.low, row.high) or "none"
        rows.append((what, signed(row.delta), ends, str(row.n), row.verdict, *rest))
    header = (
        *("effect", "AP", f"{level_of(report.confidence)} interval", "n", "verdict"),
        *(metric.replace("mask_", "mask ") for metric in metrics),
    )
    return Table(header, tuple(rows))


def mapping_table(report: StudyReport) -> Table:
    """What the levels of these trials are in the pipeline as it is."""
    return Table(("factor", "in the pipeline", "here"), tuple(report.level_mapping), numeric_from=3)


def _difference(row: Contrast) -> str:
    ends = between(row.low, row.high)
    if row.metric != "mask_AP" or not ends:
        return signed(row.delta)
    return f"{signed(row.delta)} ({ends}, {row.verdict})"


def _mean_and_sd(values: pd.Series[float]) -> str:
    if len(values) < 2:
        return number(values.mean())
    return f"{number(values.mean())} ± {number(values.std(ddof=1))}"


def _typical(column: pd.Series[float]) -> str:
    """The value of all trials of a cell, or their range."""
    values = np.unique(pd.to_numeric(column).dropna().to_numpy(dtype=float))
    if not len(values):
        return "-"
    ends = values if len(values) == 1 else values[[0, -1]]
    return "-".join(f"{v:,.0f}" if v == round(v) else f"{v:.3g}" for v in ends)


def _statuses(status: pd.Series[str]) -> str:
    counts = status.value_counts(sort=False)
    if len(status) == 1:
        return str(status.iloc[0])
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _repeats(row: Contrast) -> bool:
    """Whether a row given convergence says what the row above it said."""
    return row.estimand == GIVEN_CONVERGENCE and not np.nansum(
        [row.p_diverged_from, row.p_diverged_to]
    )


def study_page(report: StudyReport) -> Page:
    """Gives the whole report; a terminal shows the levels and the effects."""
    proxy = "Proxy scale: read the differences only; its AP is not COCO's."
    return Page(
        report.study,
        (
            Headline(_capital(headline(report))),
            _levels(report),
            _effects(report),
            Section("", [Paragraph(proxy) if report.scale == "proxy" else None], "terminal"),
            Section(
                "Plots",
                [
                    *(Figure(f"ap_by_{name}.png", f"AP by {name}") for name in report.factors),
                    Figure("loss_curves.png", "Training loss against images seen"),
                ],
            ),
            held_section(report.held),
            Section(
                "Levels of the pipeline and of these trials",
                [mapping_table(report)],
                "file",
            ),
            scale_section(report.scale, report.scale_notes),
            reported_section(report.reference_name, report.reported, scale=report.scale),
            caveats_section(_caveats(report)),
            again_section(report.command),
            cost_section(*_cost(report), versions=report.versions),
        ),
    )


def study_results(report: StudyReport) -> Results:
    """Gives what results/<study>/ holds: the page, trials.csv, effects.csv, the plots."""

    def drawings() -> Iterable[Drawing]:
        from odapi_repro.features.ablate.study_plots import (
            render_plots,  # matplotlib takes a second to import
        )

        return render_plots(report)

    return Results(
        study_page(report),
        tables={
            "trials.csv": csv_bytes(report.table),
            "effects.csv": csv_bytes(effects_frame(report.effects, EFFECTS_COLUMNS)),
        },
        drawings=drawings,
        earlier=(
            "loss_curves.png",
            *(f"ap_by_{name}.{ending}" for name in report.factors for ending in ("png", "svg")),
        ),
    )


def _levels(report: StudyReport) -> Section:
    note = (
        f"Pipeline {code(report.pipeline)}, {report.scale} scale. AP and AR in points, on "
        f"{report.data}."
    )
    if len(report.table) > len(report.table.drop_duplicates(list(report.factors))):
        note += " Scores are means over the seeds; AP has their standard deviation."
    if "diverged" in report.status_counts():
        note += " A diverged run counts as 0."
    return Section("Levels", [levels_table(report), Paragraph(note)])


def _effects(report: StudyReport) -> Section:
    table = effects_table(report)
    rows = [row for row in report.effects if row.metric == "AP"]
    notes = Section("", [Paragraph(" ".join(_effects_notes(report, rows)))], "file")
    return Section("Effects", [table, notes] if table.rows else [])


def _effects_notes(report: StudyReport, rows: Sequence[Contrast]) -> Iterable[str]:
    yield (
        "Differences in points against the reference level; verdicts are on AP. All metrics are in "
        f"{link('effects.csv')}, all trials in {link('trials.csv')}."
    )
    methods = {row.method for row in rows}
    if methods & {"pooled", "welch"}:
        how = "one variance pooled over the cells"
        if "welch" in methods:
            how = "each cell's own variance (Welch)"
        if {"pooled", "welch"} <= methods:
            how = "pooled variance, or each cell's own (Welch) where a run diverged"
        judged = count_of(sum(row.estimand == AP_OR_0 for row in rows), "contrast")
        yield (
            f"Intervals are for one contrast each, with {how}; verdicts are adjusted for {judged} "
            f'(Holm). {code("unresolved")} is not "no effect": that is {code("equivalent")}, '
            f"within ±{report.margin:g} AP."
        )
    if "single_run" in methods:
        yield (
            f"{code('single_run')}: with fewer than two runs on a side there is no interval. A "
            "difference between two seeds alone may be as large."
        )
    combinations = max((row.combinations for row in rows), default=1)
    if combinations > 1:
        yield (
            f"An effect is the average over up to {combinations} combinations of the other factors;"
            " where the lines of the plots are not parallel, it depends on them."
        )
    left_out = sum(row.left_out > 0 for row in rows if row.estimand == AP_OR_0)
    if left_out:
        lack = "lacks" if left_out == 1 else "lack"
        yield (
            f"{count_of(left_out, 'contrast')} {lack} trials that failed, were interrupted or have "
            "not run."
        )
    pooled = study_variance(report.table, report.axes, "AP")
    replicates = [row.n for row in rows if row.n > 1]
    if pooled is not None and replicates:
        sd, n = math.sqrt(pooled.variance), min(replicates)
        effect = minimum_detectable_effect(sd, n, report.confidence)
        yield (
            f"Between seeds AP varies with a standard deviation of {number(sd)}; two levels of {n} "
            f"runs show a difference of {number(effect)} AP with 80 % power."
        )


def _caveats(report: StudyReport) -> list[str]:
    """What every such study has to say of itself, then what its command adds."""
    # A single run is told of whatever the metric.
    verdicts = {row.verdict for row in report.effects if row.metric == "AP"}
    verdicts |= {row.verdict for row in report.effects} & {"single_run"}
    caveats = common_caveats(report.scale, verdicts)
    if "diverged" in report.status_counts():
        caveats.append(
            "Do not conclude that intervals with a diverged run are exact: such scores are far "
            "from normal. Read the share that diverged first."
        )
    if report.num_eval_images:
        caveats.append(
            "Do not conclude that the numbers carry over to other images: the intervals hold noise "
            f"between seeds, not the sampling of the {report.num_eval_images:,} evaluation images."
        )
    return [*caveats, *report.caveats]


def _cost(report: StudyReport) -> tuple[list[str], pd.DataFrame, list[str]]:
    counts = report.status_counts()
    trials = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
    lines = [f"Trials: {len(report.table)} ({trials})."]
    if report.seeds:
        lines.append(f"Seeds: {', '.join(map(str, report.seeds))}.")
    if math.isfinite(report.wall_seconds):
        lines.append(f"Wall time: {duration(report.wall_seconds)}.")
    images = []
    if report.num_train_images and report.num_eval_images:
        images.append(
            f"Images: {report.num_train_images:,} to train, {report.num_eval_images:,} to evaluate."
        )
    return lines, report.table, images


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] if sentence.startswith("no gain") else sentence
