"""README.md of results/<study>/: what explains the gap, how far that holds, how to get it again."""

from __future__ import annotations

from collections.abc import Collection

from odapi_repro.features.explain.pages.advice import Advice
from odapi_repro.features.explain.pages.cells import cells_table
from odapi_repro.features.explain.pages.changes import change_lines
from odapi_repro.features.explain.pages.content import ExplanationReport
from odapi_repro.features.explain.pages.fewer_images import section as fewer_images_section
from odapi_repro.features.explain.pages.interactions import (
    interaction_lines,
    interaction_table,
    path_table,
)
from odapi_repro.features.explain.pages.next_steps import run_lines
from odapi_repro.features.explain.pages.notes import caveats, design_notes, shares_notes
from odapi_repro.features.explain.pages.setup_sections import (
    cost_section,
    held_lines,
    mapping_section,
    reported_section,
    scale_section,
    unvaried_section,
)
from odapi_repro.features.explain.pages.tables import (
    effect_table,
    estimands_table,
    parts_table,
)
from odapi_repro.features.explain.pages.wording import headline
from odapi_repro.foreign_text import (
    command_line,
    fenced,
    markdown,
    markdown_code,
    markdown_list,
    markdown_sentence,
)

__all__ = ["readme_text", "report_command"]


def readme_text(report: ExplanationReport, *, files: Collection[str]) -> str:
    """The whole README; `files` are the names of those beside it."""
    advice = Advice(report)
    sections = [
        f"# {markdown(report.explanation.study)}\n\n**{markdown_sentence(headline(report))}**",
        _parts(report),
        _shares(report, files),
        _estimands(report),
        _interactions(report, files),
        _list("What to change first", change_lines(report, advice)),
        _list("What to run next", run_lines(report, advice)),
        unvaried_section(report),
        fewer_images_section(report),
        mapping_section(report),
        scale_section(report),
        _list("What was held constant", held_lines(report)),
        reported_section(report),
        _list("How it was measured", design_notes(report)),
        _cells(report),
        _list("What may not be concluded", caveats(report)),
        _again(report),
        cost_section(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def report_command(report: ExplanationReport) -> str:
    """The command that reports again from the committed files, and trains nothing."""
    folder = f"results/{report.explanation.study}"
    return command_line(["python", "-m", "odapi_repro.explain", "--from", folder])


def _parts(report: ExplanationReport) -> str:
    record = report.explanation
    text = (
        f"From the number published for {markdown_code(record.reference)} to the one got with "
        f"{markdown_code(record.pipeline)}, in {record.metric} lost on the way. Only `config` is "
        "shared out among deviations below."
    )
    if record.scale != "full":
        text += (
            f" It was measured at {record.scale} scale, on {markdown(record.data)}, and is not "
            "comparable with the other parts."
        )
    return f"## The gap in four parts\n\n{parts_table(report).markdown()}\n\n{text}"


def _shares(report: ExplanationReport, files: Collection[str]) -> str:
    parts = ["## What the deviations cost"]
    if "waterfall.png" in files:
        parts.append("![From the user's config to the reference](waterfall.png)")
    elif "effects.png" in files:
        parts.append("![Each level against the reference's](effects.png)")
    if not report.shares:
        return "\n\n".join([*parts, "No share of the gap is known yet; see the cells below."])
    parts.append(effect_table(report, report.shares, summed=True).markdown())
    levels = [one for one in report.others if one.row.kind == "main_effect"]
    if levels:
        parts += ["Levels beside yours:", effect_table(report, levels).markdown()]
    beside = [
        "All effects are in [effects.csv](effects.csv), all trials in [trials.csv](trials.csv)."
    ]
    if "waterfall.svg" in files:
        beside.append("The figure is there as [SVG](waterfall.svg), too.")
    parts.append(" ".join([*shares_notes(report), *beside]))
    return "\n\n".join(parts)


def _estimands(report: ExplanationReport) -> str:
    if not report.diverged:
        return ""
    shown = (*report.shares, *([report.rest] if report.rest else []), report.gap)
    return (
        "## The same given convergence\n\n"
        f"{estimands_table(report, shown).markdown()}\n\n"
        "Two estimands. A diverged run as 0 (`ap_or_0`) is what a user gets, and sums to the gap; "
        "given convergence (`given_convergence`) is what a deviation does where training works at "
        "all, and is read with the share that diverged beside it: trainings that converged are a "
        "choice of the luckier ones."
    )


def _interactions(report: ExplanationReport, files: Collection[str]) -> str:
    table, lines = interaction_table(report), interaction_lines(report)
    paths = path_table(report)
    parts = ["## Interactions"]
    if "interactions.png" in files:
        parts.append("![Interactions](interactions.png)")
    if table is not None:
        parts.append(table.markdown())
    if paths is not None:
        parts += [
            paths.markdown(),
            "Where the two paths give a deviation another share, it depends on what was moved "
            "before it.",
        ]
    if lines:
        parts.append(markdown_list(lines))
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _cells(report: ExplanationReport) -> str:
    text = "Means over replicates"
    text += ", a diverged run counting as 0." if report.diverged else "."
    same = len(report.explanation.same)
    if same:
        text += f" {same} further cells come to the training of one of these and were not repeated."
    return f"## Cells\n\n{cells_table(report).markdown()}\n\n{text}"


def _again(report: ExplanationReport) -> str:
    return (
        f"## Run it again\n\n{fenced(report.explanation.command)}\n\n"
        "From the files of this folder, without training:\n\n"
        f"{fenced(report_command(report))}"
    )


def _list(title: str, lines: Collection[str]) -> str:
    return f"## {title}\n\n{markdown_list(lines)}" if lines else ""
