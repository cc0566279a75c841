"""README.md beside the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from odapi_repro.features.show.show_report import ShowReport, SplitReport
from odapi_repro.features.show.show_sentences import (
    anchor_sentences,
    count_sentences,
    draw_sentences,
)
from odapi_repro.features.show.show_text import tables_of
from odapi_repro.foreign_text import fenced, markdown

__all__ = ["show_readme"]


def show_readme(report: ShowReport) -> str:
    """Gives the page: what was shown, the numbers, the pictures."""
    lines = [f"# {markdown(report.data)}", "", fenced(report.command), ""]
    lines.append(f"Label map {markdown(report.label_map)}, seed {report.seed}.")
    if report.pipeline:
        made = f"{report.pipeline}: {report.model}, images {report.resized}"
        lines.append(f"Pipeline {markdown(made)}.")
    if report.only:
        lines.append(f"Images shown: only {markdown(report.only)}.")
    lines += [f"\nNote: {markdown(note)}." for note in report.notes]
    for split in report.splits:
        lines += ["", f"## {split.split}", "", *_of_split(split)]
    return "\n".join(lines) + "\n"


def _of_split(split: SplitReport) -> Iterator[str]:
    yield from (f"- {markdown(sentence)}" for sentence in count_sentences(split))
    yield from (f"- {markdown(sentence)}" for sentence in draw_sentences(split))
    yield from (f"- {markdown(note)}" for note in split.notes)
    if split.anchors is not None:
        yield from ("", "### Anchors", "")
        yield from (f"- {markdown(sentence)}" for sentence in anchor_sentences(split.anchors))
    for headings, rows in tables_of(split, most_classes=len(split.classes)):
        yield ""
        yield from _table(headings, rows)
    for name in split.files_written:
        yield from ("", f"![{name.removesuffix('.png').replace('_', ' ')}]({name})")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"| --- |{' ---: |' * (len(headings) - 1)}"
    for row in rows:
        yield f"| {' | '.join(markdown(cell) for cell in row[: len(headings)])} |"
