"""The report of an explanation as a page: what explains the gap, how far it holds, how to again."""

from __future__ import annotations

import math

from odapi_repro.features.explain.explanation import UNVARIED_KINDS, UnvariedDeviation
from odapi_repro.features.explain.report.advice import Advice, change_lines, run_lines
from odapi_repro.features.explain.report.effect_tables import (
    cells_table,
    effect_table,
    estimands_table,
    parts_table,
)
from odapi_repro.features.explain.report.effect_wording import headline
from odapi_repro.features.explain.report.explanation_notes import (
    caveats,
    design_notes,
    fewer_images_section,
    shares_notes,
)
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.features.explain.report.interactions import (
    interaction_lines,
    interaction_table,
    path_table,
)
from odapi_repro.features.report_sections import (
    again_section,
    caveats_section,
    cost_section,
    held_section,
    reported_section,
    scale_section,
)
from odapi_repro.foreign_text import command_line
from odapi_repro.page.blocks import (
    BREAK,
    Bullets,
    Code,
    Figure,
    Headline,
    Page,
    Paragraph,
    Section,
    Table,
    code,
    link,
    marked,
)
from odapi_repro.page.numbers import count_of, duration


def explanation_page(report: ExplanationReport) -> Page:
    """Gives the whole report; a terminal shows it as far as what to run next."""
    record, advice = report.explanation, Advice(report)
    held = tuple(f"{code(one.factor)}: {marked(one.holds)}" for one in record.mapped if one.holds)
    images = (
        f"Images: {record.num_train_images:,} to train, {record.num_eval_images:,} to evaluate."
    )
    proxy = "Proxy scale: read the differences only; its AP is not COCO's."
    blocks = (
        Headline(headline(report)),
        _parts(report),
        _shares(report),
        _estimands(report),
        _interactions(report),
        Section("What to change first", [Bullets(tuple(change_lines(report, advice)))]),
        Section("What to run next", [Bullets(tuple(run_lines(report, advice)))]),
        Section("", [Paragraph(proxy) if record.scale == "proxy" else None], "terminal"),
        _unvaried(record.unvaried),
        fewer_images_section(report),
        _mapping(report),
        scale_section(record.scale, record.scale_notes),
        held_section(held),
        reported_section(record.reference, record.reported, scale=record.scale),
        Section("How it was measured", [Bullets(tuple(design_notes(report)))], "file"),
        _cells(report),
        caveats_section(_warnings(report)),
        again_section(
            record.command,
            Paragraph("From the files of this folder, without training:"),
            Code(report_command(report)),
        ),
        cost_section(
            _cost(report),
            report.table,
            [images],
            {
                name: ", ".join(found)
                for name in ("tensorflow", "odapi_repro")
                if (found := _told(report, name))
            },
        ),
    )
    return Page(record.study, blocks)


def report_command(report: ExplanationReport) -> str:
    """Gives the command that reports again from the committed files, and trains nothing."""
    folder = f"results/{report.explanation.study}"
    return command_line(["python", "-m", "odapi_repro.explain", "--from", folder])


def _parts(report: ExplanationReport) -> Section:
    record = report.explanation
    text = (
        f"From the number published for {code(record.reference)} to the one got with "
        f"{code(record.pipeline)}, in {record.metric} lost on the way. Only {code('config')} is "
        "shared out among deviations below."
    )
    if record.scale != "full":
        text += (
            f" It was measured at {record.scale} scale, on {record.data}, and is not "
            "comparable with the other parts."
        )
    return Section("The gap in four parts", [parts_table(report), Paragraph(text)])


def _shares(report: ExplanationReport) -> Section:
    figures = (
        Figure("waterfall.png", "From the user's config to the reference"),
        Figure("effects.png", "Each level against the reference's"),
    )
    if not report.shares:
        unknown = "No share of the gap is known yet; see the cells below."
        return Section("What the deviations cost", [*figures, Paragraph(unknown)])
    levels = [one for one in report.others if one.row.kind == "main_effect"]
    beside = f"All effects are in {link('effects.csv')}, all trials in {link('trials.csv')}."
    return Section(
        "What the deviations cost",
        [
            *figures,
            effect_table(report, report.shares, summed=True),
            Paragraph("Levels beside yours:") if levels else None,
            effect_table(report, levels),
            Paragraph(" ".join([*shares_notes(report), beside])),
        ],
    )


def _estimands(report: ExplanationReport) -> Section:
    shown = (*report.shares, *([report.rest] if report.rest else []), report.gap)
    text = marked(
        "Two estimands. A diverged run as 0 (`ap_or_0`) is what a user gets, and sums to the gap; "
        "given convergence (`given_convergence`) is what a deviation does where training works at "
        "all, and is read with the share that diverged beside it: trainings that converged are a "
        "choice of the luckier ones."
    )
    table = estimands_table(report, shown)
    return Section(
        "The same given convergence", [table, Paragraph(text)] if report.diverged else []
    )


def _interactions(report: ExplanationReport) -> Section:
    paths = path_table(report)
    text = (
        "Where the two paths give a deviation another share, it depends on what was moved before "
        "it."
    )
    return Section(
        "Interactions",
        [
            Figure("interactions.png", "Interactions"),
            interaction_table(report),
            paths,
            Paragraph(text) if paths else None,
            Bullets(tuple(interaction_lines(report))),
        ],
    )


def _unvaried(found: tuple[UnvariedDeviation, ...]) -> Section:
    order = list(UNVARIED_KINDS)
    rows = tuple(
        (
            one.factor,
            UNVARIED_KINDS[one.kind],
            BREAK.join(
                f"{code(field.path)}: {_value(field.user)} (reference: {_value(field.reference)})"
                for field in one.fields
            )
            or "-",
            one.why,
        )
        for one in sorted(found, key=lambda one: order.index(one.kind))
    )
    table = Table(("deviation", "kind", "yours", "why"), rows, numeric_from=4)
    return Section("Deviations that were not varied", [table], "file")


def _mapping(report: ExplanationReport) -> Section:
    """The levels of the configs and of the trials, with what was kept and what clipped."""
    record = report.explanation
    rows = tuple(
        (
            one.factor,
            f"{one.full_reference} → {one.full_user}",
            f"{one.reference} → {one.user}" if one.reference != one.user else "not varied",
            f"{'clipped' if one.clipped else 'kept'}: {one.kept}",
            one.why,
        )
        for one in record.mapped
    )
    header = ("factor", "in the configs, reference → yours", "here", "relation", "why")
    groups = [
        Paragraph(f"{code(one.name)} moves {', '.join(one.factors)} together, as one deviation.")
        for one in record.deviations
        if len(one.factors) > 1
    ]
    title = "Levels of the configs and of these trials"
    return Section(title, [Table(header, rows, numeric_from=5), *groups], "file")


def _cells(report: ExplanationReport) -> Section:
    """A path or a bisection that is still looking for its way shows what it has seen."""
    text = "Means over replicates"
    text += ", a diverged run counting as 0." if report.diverged else "."
    same = len(report.explanation.same)
    if same:
        text += f" {same} more cells amount to the training of one of these and were not repeated."
    return Section(
        "Cells",
        [cells_table(report), Paragraph(text)],
        place="file" if report.shares else "everywhere",
    )


def _warnings(report: ExplanationReport) -> list[str]:
    return [f"Do not conclude {one[0].lower()}{one[1:]}" for one in caveats(report)]


def _cost(report: ExplanationReport) -> list[str]:
    """Trials by status, wall time."""
    record, counts = report.explanation, report.status_counts
    trials = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
    lines = [f"Trials: {len(report.table)} ({trials})."]
    wanted = sum(len(one.seeds) for one in report.result.wanted)
    if wanted:
        lines.append(f"Still to run: {count_of(wanted, 'trial')}.")
    seconds = report.wall_seconds
    if math.isfinite(seconds):
        text = f"Wall time of these trainings and evaluations: {duration(seconds)}"
        if record.cost_per_hour is not None:
            money = record.cost_per_hour * seconds / 3600
            text += f", {money:.2f} at {record.cost_per_hour:g} an hour"
        lines.append(f"{text}.")
    return lines


def _told(report: ExplanationReport, column: str) -> list[str]:
    return sorted({str(value) for value in report.table[column].dropna()} - {""})


def _value(text: str) -> str:
    return code(text) if text else "not set"
