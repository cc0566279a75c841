"""README.md of results/<study>/: what was found, how far it holds, how to get it again."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from odapi_repro.analysis.cells import AP_OR_0, GIVEN_CONVERGENCE
from odapi_repro.analysis.effects import Contrast, study_variance
from odapi_repro.analysis.power import minimum_detectable_effect
from odapi_repro.features.ablate.effect_sentences import at, diverged_text, headline, interval
from odapi_repro.features.ablate.level_table import level_table
from odapi_repro.features.ablate.study_report import StudyReport
from odapi_repro.foreign_text import (
    fenced,
    markdown,
    markdown_code,
    markdown_list,
    markdown_sentence,
)
from odapi_repro.page.numbers import signed
from odapi_repro.page.tables import Table

__all__ = ["readme_text"]

_EFFECT_METRICS = ("AP50", "APs", "APm", "APl", "AR100", "mask_AP")


def readme_text(report: StudyReport, *, plots: Collection[str]) -> str:
    """The whole README; `plots` are the names of the image files beside it."""
    sections = [
        f"# {markdown(report.study)}\n\n**{markdown_sentence(_capital(headline(report)))}**",
        _levels(report),
        _effects(report),
        _images(report, plots),
        _list("What was held constant", report.held),
        _mapping(report),
        _scale(report),
        _reported(report),
        _list("What may not be concluded", _caveats(report)),
        f"## Run it again\n\n{fenced(report.command)}",
        _cost(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _levels(report: StudyReport) -> str:
    note = (
        f"Pipeline {markdown_code(report.pipeline)}, {report.scale} scale. AP and AR in points, on"
        f" {markdown(report.data)}."
    )
    if len(report.table) > len(report.table.drop_duplicates(list(report.factors))):
        note += " Scores are means over the seeds; AP has their standard deviation."
    if "diverged" in report.status_counts():
        note += " A diverged run counts as 0."
    return f"## Levels\n\n{level_table(report).markdown()}\n\n{note}"


def _effects(report: StudyReport) -> str:
    """The contrasts on AP with interval and verdict; the other metrics as plain differences."""
    by_key = {(r.factor, r.to_level, r.metric, r.estimand): r for r in report.effects}
    metrics = [metric for metric in _EFFECT_METRICS if metric in report.metrics]
    diverged = "diverged" in report.status_counts()
    percent = f"{100 * report.confidence:g} %"
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
        rest = (signed(by_key[(*key, metric, row.estimand)].delta) for metric in metrics)
        ends = interval(row, separator=" to ") or "none"
        rows.append((what, signed(row.delta), ends, str(row.n), row.verdict, *rest))
    if not rows:
        return ""
    header = (
        *("effect", "AP", f"{percent} interval", "n", "verdict"),
        *(metric.replace("mask_", "mask ") for metric in metrics),
    )
    return f"## Effects\n\n{Table(header, tuple(rows)).markdown()}\n\n{_effects_note(report)}"


def _effects_note(report: StudyReport) -> str:
    rows = [row for row in report.effects if row.metric == "AP"]
    notes = [
        "Differences in points against the reference level; verdicts are on AP. All metrics are in"
        " [effects.csv](effects.csv), all trials in [trials.csv](trials.csv)."
    ]
    methods = {row.method for row in rows}
    if methods & {"pooled", "welch"}:
        how = "one variance pooled over the cells"
        if "welch" in methods:
            how = "each cell's own variance (Welch)"
        if {"pooled", "welch"} <= methods:
            how = "pooled variance, or each cell's own (Welch) where a run diverged"
        notes.append(
            f"Intervals are for one contrast each, with {how}; verdicts are adjusted for"
            f" {sum(row.estimand == AP_OR_0 for row in rows)} contrasts (Holm). `unresolved` is not"
            f' "no effect": that is `equivalent`, within ±{report.margin:g} AP.'
        )
    if "single_run" in methods:
        notes.append(
            "`single_run`: with fewer than two runs on a side there is no interval, and a"
            " difference between two seeds alone may be as large."
        )
    combinations = max((row.combinations for row in rows), default=1)
    if combinations > 1:
        notes.append(
            f"An effect is the average over up to {combinations} combinations of the other factors;"
            " where the lines of the plots are not parallel, it depends on them."
        )
    left_out = sum(row.left_out > 0 for row in rows if row.estimand == AP_OR_0)
    if left_out:
        notes.append(
            f"{left_out} contrasts lack trials that failed, were interrupted or have not run."
        )
    detectable = _detectable(report, rows)
    return " ".join([*notes, detectable] if detectable else notes)


def _detectable(report: StudyReport, rows: list[Contrast]) -> str:
    pooled = study_variance(report.table, report.axes, "AP")
    replicates = [row.n for row in rows if row.n > 1]
    if pooled is None or not replicates:
        return ""
    sd, n = math.sqrt(pooled.variance), min(replicates)
    effect = minimum_detectable_effect(sd, n, report.confidence)
    return (
        f"Between seeds AP varies with a standard deviation of {sd:.1f}; two levels of {n} runs"
        f" show a difference of {effect:.1f} AP with 80 % power."
    )


def _images(report: StudyReport, plots: Collection[str]) -> str:
    lines = [
        f"![AP by {name}](ap_by_{name}.png)"
        for name in report.factors
        if f"ap_by_{name}.png" in plots
    ]
    if "loss_curves.png" in plots:
        lines.append("![Training loss against images seen](loss_curves.png)")
    return "\n\n".join(["## Plots", *lines]) if lines else ""


def _mapping(report: StudyReport) -> str:
    if not report.level_mapping:
        return ""
    rows = tuple((row.factor, row.full, row.here, row.why) for row in report.level_mapping)
    table = Table(("factor", "in the pipeline", "here", "why"), rows, numeric_from=4)
    return f"## Levels of the pipeline and of these trials\n\n{table.markdown()}"


def _scale(report: StudyReport) -> str:
    if not report.scale_notes:
        return ""
    rows = tuple(
        (note.what, note.full, note.here, "kept" if note.kept else "clipped", note.why)
        for note in report.scale_notes
    )
    table = Table(("relation", "full", "here", "", "why"), rows, numeric_from=5)
    return f"## Scale: {report.scale}\n\n{table.markdown()}"


def _reported(report: StudyReport) -> str:
    if not report.reported:
        return ""
    rows = tuple((r.metric, f"{r.value:g}", r.source, r.protocol) for r in report.reported)
    table = Table(("metric", "reported", "source", "protocol"), rows, numeric_from=4)
    text = (
        f"## What is reported for {report.reference_name or 'the reference'}\n\n{table.markdown()}"
    )
    if report.scale != "full":
        text += (
            f"\n\nThese numbers must not be compared with the {report.scale} AP above: other"
            " images, another model size, another schedule."
        )
    return text


def _caveats(report: StudyReport) -> list[str]:
    """What every such study has to say of itself, then what its command adds."""
    caveats = []
    if report.scale == "smoke":
        caveats.append("Anything: a smoke run trains for a few steps and proves the plumbing only.")
    if report.scale == "proxy":
        caveats.append(
            "How large an effect is on COCO. A proxy shows its direction and rank at this size;"
            " its AP is not COCO's, and only differences are read."
        )
    if any(row.verdict == "single_run" for row in report.effects):
        caveats.append("That a difference seen in one run each is more than noise between seeds.")
    if any(row.verdict == "unresolved" for row in report.effects if row.metric == "AP"):
        caveats.append("That an `unresolved` level has no effect.")
    if "diverged" in report.status_counts():
        caveats.append(
            "That intervals with a diverged run are exact: such scores are far from normal. Read"
            " the share that diverged first."
        )
    if report.num_eval_images:
        caveats.append(
            "That the numbers carry over to other images: the intervals hold noise between seeds,"
            f" not the sampling of the {report.num_eval_images:,} evaluation images."
        )
    return [*caveats, *report.caveats]


def _cost(report: StudyReport) -> str:
    counts = report.status_counts()
    trials = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
    devices = sorted({str(device) for device in report.table["device"].dropna()} - {""})
    lines = [f"Trials: {len(report.table)} ({trials})."]
    if report.seeds:
        lines.append(f"Seeds: {', '.join(map(str, report.seeds))}.")
    if math.isfinite(report.wall_seconds):
        lines.append(f"Wall time: {_duration(report.wall_seconds)}.")
    if devices:
        lines.append(f"Device: {'; '.join(devices)}.")
    if report.num_train_images and report.num_eval_images:
        lines.append(
            f"Images: {report.num_train_images:,} to train, {report.num_eval_images:,} to evaluate."
        )
    if report.versions:
        lines.append(f"Versions: {', '.join(f'{k} {v}' for k, v in report.versions.items())}.")
    return f"## What it cost\n\n{markdown_list(lines)}"


def _list(title: str, lines: Collection[str]) -> str:
    return f"## {title}\n\n{markdown_list(lines)}" if lines else ""


def _repeats(row: Contrast) -> bool:
    """Whether a row given convergence says what the row above it said."""
    return row.estimand == GIVEN_CONVERGENCE and not np.nansum(
        [row.p_diverged_from, row.p_diverged_to]
    )


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] if sentence.startswith("no gain") else sentence


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.1f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
