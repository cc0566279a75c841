"""The pages of a sweep: its plan, and what it says in the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pandas as pd

from odapi_repro.analysis.effect import Verdict, effects_frame
from odapi_repro.analysis.level_effects import IMAGE_EFFECTS_COLUMNS, ImageEffect
from odapi_repro.factors import POST_HOC_FACTORS
from odapi_repro.features.report_sections import (
    again_section,
    caveats_section,
    common_caveats,
    cost_section,
    held_section,
)
from odapi_repro.features.sweep.sweep_plan import Sweep, checkpoint_label
from odapi_repro.features.sweep.sweep_record import SWEEP_FILE, SweepRecord
from odapi_repro.features.sweep.sweep_report import PostHocReport
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
    link,
    marked,
)
from odapi_repro.page.claims import finding, largest, verdict_counts
from odapi_repro.page.numbers import between, count_of, duration, level_of, number, signed
from odapi_repro.page.results_folder import Drawing, Results
from odapi_repro.page.study_tables import csv_bytes

# --- The plan of a sweep ---


def sweep_plan_page(sweep: Sweep, *, study: str, warnings: Sequence[str] = ()) -> Page:
    """Gives the plan of a sweep.

    Args:
        sweep: the plan and what it is to be run on.
        study: its name.
        warnings: what the user should know of the checkpoints.
    """
    plan = sweep.plan
    checkpoints = (
        (
            f"checkpoint {index}",
            checkpoint_label(source) + ("" if source.step is None else f", step {source.step:,}"),
        )
        for index, source in enumerate(sweep.sources, start=1)
    )
    axes = (
        Facts(
            (
                (axis.name, ", ".join(axis.levels)),
                ("held", marked(POST_HOC_FACTORS[axis.name].holds)),
            )
        )
        for axis in plan.axes
    )
    same = tuple(f"{_text(levels)} is the same as {_text(into)}" for levels, into in plan.merged)
    passes = tuple(
        f"{sweep.about(one)}: {count_of(len(one.variants), 'post-processing')}"
        for one in plan.passes
    )
    cells = count_of(len(plan.cells), "cell is", "cells are")
    price = (
        f"{count_of(len(plan.passes), 'forward pass', 'forward passes')} in one process, except "
        f"for those that earlier commands made; then {cells} scored and compared on the same "
        "images"
    )
    return Page(
        study,
        (
            Headline(f"study {study}: {count_of(len(plan.cells), 'cell')} without training"),
            Facts(
                (
                    ("pipeline", sweep.pipeline.path),
                    *checkpoints,
                    ("data", sweep.data.description),
                )
            ),
            *(Note("warning", warning) for warning in warnings),
            Section("Factors (the pipeline's own level first)", [*axes, Bullets(same)]),
            Section(
                f"Forward passes over {sweep.truth.num_images:,} images each", [Bullets(passes)]
            ),
            Section("Price", [Bullets((price,))]),
        ),
    )


def _text(levels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {label}" for name, label in levels.items())


# --- What a sweep says: its page, and the files beside it ---


_METRICS: Final = ("AP50", "AP75", "APs", "APm", "APl", "AR100")
_MASK_METRICS: Final = ("mask_AP", "mask_AR100")
_RESOLVED: Final[tuple[Verdict, ...]] = ("gain", "loss")


def sweep_page(report: PostHocReport) -> Page:
    """Gives the whole report; a terminal shows the levels."""
    return Page(
        report.study,
        (
            Headline(sweep_headline(report.effects, confidence=report.confidence)),
            Section("Levels", [levels_table(report), Section("", [_note(report)], "file")]),
            Section(
                "Effects", [Figure("effects.png", "Differences from the pipeline's own setting")]
            ),
            held_section(report.held),
            Section("How the detections were made", _made(report), "file"),
            caveats_section(_caveats(report)),
            again_section(report.command),
            cost_section(_cost(report), report.table, versions=report.versions),
        ),
    )


def sweep_results(report: PostHocReport, record: SweepRecord) -> Results:
    """Gives what results/<study>/ holds: sweep.json, trials.csv, effects.csv, the plot."""

    def drawings() -> Iterable[Drawing]:
        from odapi_repro.features.sweep.sweep_plot import (
            render_post_hoc_plots,  # imports matplotlib
        )

        return render_post_hoc_plots(report)

    return Results(
        sweep_page(report),
        tables={
            SWEEP_FILE.name: SWEEP_FILE.text(vars(record)),
            "trials.csv": csv_bytes(report.table),
            "effects.csv": csv_bytes(effects_frame(report.effects, IMAGE_EFFECTS_COLUMNS)),
        },
        drawings=drawings,
        earlier=("effects.png", "effects.svg"),
    )


def levels_table(report: PostHocReport) -> Table:
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


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] if sentence.startswith("no gain") else sentence


def _score_header(report: PostHocReport) -> tuple[str, ...]:
    masks = (
        ("mask AP", "difference of mask AP", "mask AR100", "difference of mask AR100")
        if report.has_masks
        else ()
    )
    return (
        "AP",
        "difference",
        level_of(report.confidence),
        "verdict",
        *_METRICS,
        *masks,
        "detections an image",
    )


def _scores(
    report: PostHocReport, row: pd.Series, level: tuple[str, str] | None
) -> tuple[str, ...]:
    """What a cell scores; `level` is the factor and level whose effect it is, if it is one."""
    effects = {m: report.effect(*level, m) if level else None for m in ("AP", *_MASK_METRICS)}
    effect = effects["AP"]
    cells = [
        number(_value(row, "AP"), 1),
        signed(effect.delta) if effect else "",
        between(effect.low, effect.high) if effect else "",
        effect.verdict if effect else "",
        *(number(_value(row, metric), 1) for metric in _METRICS),
    ]
    if report.has_masks:
        for metric in _MASK_METRICS:
            other = effects[metric]
            cells += [number(_value(row, metric)), signed(other.delta) if other else ""]
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


def _note(report: PostHocReport) -> Paragraph:
    note = (
        f"Pipeline {code(report.pipeline)}, {report.scale} scale. AP and AR in points, on "
        f"{report.data}. Differences are from the pipeline's own setting, on the same images; "
        f"{level_of(report.confidence)} intervals are those of a paired bootstrap over the images "
        f"({report.resamples:,} resamples), for one contrast each. Verdicts are adjusted for all "
        f"contrasts of a metric (Holm); {code('equivalent')} is within ±{report.margin:g} points, "
        f'and {code("unresolved")} is not "no effect". {code("n")} in {link("effects.csv")} is the '
        f"number of images, all metrics are there and in {link('trials.csv')}."
    )
    if report.design == "grid":
        note += " In a grid, differences are given where one factor alone is off the reference."
    return Paragraph(note)


def _made(report: PostHocReport) -> list[Bullets | Table]:
    """How detections came about: checkpoints, forward passes, remarks."""
    checkpoints = [
        f"Checkpoint {index}: {code(one.label)}"
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
    return [Bullets((*checkpoints, *report.notes)), table]


def _caveats(report: PostHocReport) -> list[str]:
    caveats = [
        "Do not conclude that another training would show the same: all levels were measured on "
        "one checkpoint (or on those named), and the intervals hold the sampling of the "
        f"{report.num_images:,} images, not the noise between trainings.",
        "Do not conclude that a level chosen here for its AP keeps all of it: the best of several "
        "levels looks better on the images it was chosen on. Choose on one set and report on "
        "another.",
    ]
    if report.scale == "proxy":
        caveats.insert(
            0,
            "Do not conclude how large an effect is on COCO. A proxy's AP is not COCO's; only "
            "differences are read, and a weak detector may respond differently from a strong one.",
        )
    verdicts = {row.verdict for row in report.effects if row.metric == "AP"}
    return [*caveats, *common_caveats("full", verdicts), *report.caveats]


def _cost(report: PostHocReport) -> list[str]:
    seconds = sum(one.seconds or 0.0 for one in report.passes)
    now = sum(one.ran_now for one in report.passes)
    return [
        f"Cells: {len(report.table)}.",
        f"Forward passes: {len(report.passes)}, {duration(seconds)} in all; the last command ran "
        f"{now} of them.",
        f"Images: {report.num_images:,} each.",
    ]


def _value(row: pd.Series, name: str) -> float:
    value = row.get(name)
    return math.nan if value is None else float(value)
