"""The report of a sweep in words: its table, its headline, its README.md."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

import pandas as pd

from odapi_repro.analysis.effects import Verdict
from odapi_repro.analysis.image_effects import ImageEffect
from odapi_repro.features.sweep.sweep_report import PostHocReport
from odapi_repro.foreign_text import (
    fenced,
    markdown,
    markdown_code,
    markdown_list,
    markdown_sentence,
    shown,
)
from odapi_repro.page.claims import finding, largest, verdict_counts
from odapi_repro.page.numbers import count_of, number, signed
from odapi_repro.page.tables import Table

__all__ = [
    "post_hoc_headline",
    "post_hoc_level_table",
    "post_hoc_readme",
    "post_hoc_terminal",
    "sweep_headline",
]

_METRICS: Final = ("AP50", "AP75", "APs", "APm", "APl", "AR100")
_MASK_METRICS: Final = ("mask_AP", "mask_AR100")


def post_hoc_level_table(report: PostHocReport) -> Table:
    """A row a level: what it scores, and how that differs from the pipeline's own setting.

    Of a grid, a row a cell.
    """
    if report.design == "grid":
        return _grid_table(report)
    header = ("factor", "level", *_score_header(report))
    rows = []
    reference = report.cell("", "")
    if reference is not None:
        rows.append(("as configured", "", *_scores(report, reference, None)))
    for axis in report.axes:
        for level in axis.other_levels:
            row = report.cell(axis.name, level)
            if row is not None:
                rows.append((axis.name, level, *_scores(report, row, (axis.name, level))))
    return Table(header, tuple(rows), numeric_from=2)


def post_hoc_headline(report: PostHocReport) -> str:
    """What the sweep found, in one sentence: its largest gain and its largest loss in AP."""
    return sweep_headline(report.effects, confidence=report.confidence)


def sweep_headline(effects: Sequence[ImageEffect], *, confidence: float = 0.95) -> str:
    """The headline of a sweep's effects; the largest of several is told as that."""
    rows = [row for row in effects if row.metric == "AP" and not math.isnan(row.delta)]
    if not rows:
        return "Nothing to compare yet: no level was measured beside the pipeline's own."
    tested = [row for row in rows if row.se > 0 or row.delta == 0]
    rivals = tested or rows
    count = len(rivals)
    named = [largest(rivals, name, contrasts=count, confidence=confidence) for name in _RESOLVED]
    resolved = [row for row in named if row]
    told = "; ".join(
        finding(
            row,
            f"{row.factor} {row.to_level} instead of {row.from_level}",
            count_of(row.n, "image"),
            contrasts=count,
            confidence=confidence,
        )
        for row in resolved or [max(rivals, key=lambda row: abs(row.delta))]
    )
    counts = verdict_counts(row.verdict for row in rows)
    chosen = "1 contrast" if len(rows) == 1 else f"of {len(rows)} contrasts"
    if len(rows) > 1 and resolved:
        chosen = f"the largest resolved {chosen}"
    if len(rows) > 1:
        chosen += ", chosen on the images that score them"
    return f"{_capital(told)} ({chosen}: {counts})."


def post_hoc_terminal(report: PostHocReport, *, ascii_only: bool = True) -> str:
    """The table and the headline, for a terminal."""
    text = f"{post_hoc_level_table(report).text()}\n\n{shown(post_hoc_headline(report))}\n"
    return text.encode("ascii", "replace").decode() if ascii_only else text


def post_hoc_readme(report: PostHocReport, *, plots: Collection[str]) -> str:
    """The whole README; `plots` are the names of the image files beside it."""
    sections = [
        f"# {markdown(report.study)}\n\n**{markdown_sentence(post_hoc_headline(report))}**",
        _levels(report),
        "## Effects\n\n![Differences from the pipeline's own setting](effects.png)"
        if "effects.png" in plots
        else "",
        _list("What was held constant", report.held),
        _made(report),
        _list("What may not be concluded", _caveats(report)),
        f"## Run it again\n\n{fenced(report.command)}",
        _cost(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


_RESOLVED: Final[tuple[Verdict, ...]] = ("gain", "loss")


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] if sentence.startswith("no gain") else sentence


def _score_header(report: PostHocReport) -> tuple[str, ...]:
    percent = f"{100 * report.confidence:g} %"
    masks = (
        ("mask AP", "difference of mask AP", "mask AR100", "difference of mask AR100")
        if report.has_masks
        else ()
    )
    return ("AP", "difference", percent, "verdict", *_METRICS, *masks, "detections an image")


def _scores(
    report: PostHocReport, row: pd.Series, level: tuple[str, str] | None
) -> tuple[str, ...]:
    """What a cell scores; `level` is the factor and level whose effect it is, if it is one."""
    effects = {m: report.effect(*level, m) if level else None for m in ("AP", *_MASK_METRICS)}
    effect = effects["AP"]
    cells = [
        number(_value(row, "AP"), 1),
        _difference(effect),
        _ends(effect),
        effect.verdict if effect else "",
        *(number(_value(row, metric), 1) for metric in _METRICS),
    ]
    if report.has_masks:
        for metric in _MASK_METRICS:
            cells += [number(_value(row, metric), 1), _difference(effects[metric])]
    return (*cells, number(_value(row, "num_detections") / report.num_images, 1))


def _grid_table(report: PostHocReport) -> Table:
    header = (*report.factors, *_score_header(report))
    rows = []
    for _, row in report.table.iterrows():
        varied = [a for a in report.axes if row[a.name] != a.reference_level]
        level = (varied[0].name, str(row[varied[0].name])) if len(varied) == 1 else None
        labels = tuple(str(row[name]) for name in report.factors)
        rows.append((*labels, *_scores(report, row, level)))
    return Table(header, tuple(rows), numeric_from=len(report.factors))


def _levels(report: PostHocReport) -> str:
    percent = f"{100 * report.confidence:g} %"
    note = (
        f"Pipeline {markdown_code(report.pipeline)}, {report.scale} scale. AP and AR in points, on"
        f" {markdown(report.data)}. Differences are from the pipeline's own setting, on the same"
        f" images; {percent} intervals are those of a paired bootstrap over the images"
        f" ({report.resamples:,} resamples), for one contrast each. Verdicts are adjusted for all"
        " contrasts of a metric (Holm); `equivalent` is within"
        f' ±{report.margin:g} points, and `unresolved` is not "no effect". `n` in'
        " [effects.csv](effects.csv) is the number of images, all metrics are there and in"
        " [trials.csv](trials.csv)."
    )
    if report.design == "grid":
        note += " In a grid, differences are given where one factor alone is off the reference."
    return f"## Levels\n\n{post_hoc_level_table(report).markdown()}\n\n{note}"


def _made(report: PostHocReport) -> str:
    """How detections came about: checkpoints, forward passes, remarks."""
    checkpoints = [
        f"Checkpoint {index}: {markdown_code(one.label)}"
        + (f", step {one.step:,}" if one.step is not None else "")
        + f", digest {one.digest}."
        for index, one in enumerate(report.checkpoints, start=1)
    ]
    rows = tuple(
        (
            one.about,
            str(one.variants),
            "-" if one.seconds is None else number(one.seconds, 0),
        )
        for one in report.passes
    )
    table = Table(("forward pass", "post-processings", "seconds"), rows, numeric_from=1)
    listed = markdown_list((*checkpoints, *report.notes))
    return f"## How the detections were made\n\n{listed}\n\n{table.markdown()}"


def _caveats(report: PostHocReport) -> list[str]:
    caveats = [
        "That another training would show the same: all levels were measured on one checkpoint"
        " (or on those named), and the intervals hold the sampling of the"
        f" {report.num_images:,} images, not the noise between trainings.",
        "That a level chosen here for its AP keeps all of it: the best of several on these images"
        " is flattered by them. Choose on one set and report on another.",
    ]
    if report.scale == "proxy":
        caveats.insert(
            0,
            "How large an effect is on COCO. A proxy's AP is not COCO's; only differences are"
            " read, and a weak detector answers otherwise than a strong one.",
        )
    if any(row.verdict == "unresolved" for row in report.effects if row.metric == "AP"):
        caveats.append("That an `unresolved` level has no effect.")
    return [*caveats, *report.caveats]


def _cost(report: PostHocReport) -> str:
    devices = sorted({str(device) for device in report.table["device"].dropna()} - {""})
    minutes = sum(one.seconds or 0.0 for one in report.passes) / 60
    now = sum(one.ran_now for one in report.passes)
    lines = [
        f"Cells: {len(report.table)}.",
        f"Forward passes: {len(report.passes)}, {minutes:.1f} minutes in all; the last command ran"
        f" {now} of them.",
        f"Images: {report.num_images:,} each.",
    ]
    if devices:
        lines.append(f"Device: {'; '.join(devices)}.")
    if report.versions:
        lines.append(f"Versions: {', '.join(f'{k} {v}' for k, v in report.versions.items())}.")
    return f"## What it cost\n\n{markdown_list(lines)}"


def _list(title: str, lines: Collection[str]) -> str:
    return f"## {title}\n\n{markdown_list(lines)}" if lines else ""


def _value(row: pd.Series, name: str) -> float:
    value = row.get(name)
    return math.nan if value is None else float(value)


def _difference(effect: ImageEffect | None) -> str:
    return signed(effect.delta) if effect else ""


def _ends(effect: ImageEffect | None) -> str:
    if effect is None or math.isnan(effect.low):
        return ""
    return f"{signed(effect.low)} to {signed(effect.high)}"
