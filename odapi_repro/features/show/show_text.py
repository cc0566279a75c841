"""What `data show` prints."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.features.show.show_report import Reached, ShowReport, SplitReport
from odapi_repro.features.show.show_sentences import (
    anchor_sentences,
    count_sentences,
    draw_sentences,
)
from odapi_repro.features.show.show_words import listed, size_name
from odapi_repro.foreign_text import shortened_name, shown
from odapi_repro.page.numbers import percent

__all__ = ["render_show", "tables_of"]

_MOST_CLASSES = 10
_WIDEST_CELL = 60

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def render_show(report: ShowReport, folder: str) -> str:
    """Gives the text, ending with the files."""
    lines = [f"{report.data}, label map {report.label_map}"]
    if report.pipeline:
        lines.append(f"{report.pipeline}: {report.model}, images {report.resized}")
    lines += [f"note: {note}" for note in report.notes]
    for split in report.splits:
        lines += ["", split.split]
        lines += [f"  {sentence}" for sentence in _sentences(split)]
        lines += [f"  note: {note}" for note in split.notes]
        for headings, rows in tables_of(split, most_classes=_MOST_CLASSES):
            lines += ["", *(f"  {line}" for line in _aligned(headings, rows))]
    files = [name for split in report.splits for name in split.files_written]
    lines += ["", f"{folder}/: {', '.join([*files, 'README.md', 'show.json'])}"]
    return "\n".join(map(shown, lines)) + "\n"


def _sentences(split: SplitReport) -> Iterator[str]:
    yield from count_sentences(split)
    yield from draw_sentences(split)
    if split.anchors is not None:
        yield from anchor_sentences(split.anchors)


def tables_of(split: SplitReport, *, most_classes: int) -> list[Table]:
    """Gives the tables of a split: levels and sizes where there are anchors, and classes."""
    tables: list[Table] = []
    if split.anchors is not None:
        best = len(split.anchors.fit.index)
        levels: list[tuple[str, ...]] = [
            (
                f"{level.grid[1]} x {level.grid[0]}",
                f"{level.stride[0]:.3g}",
                listed(level.sides),
                percent(level.best_for / best),
            )
            for level in split.anchors.levels
        ]
        tables.append((("feature map", "stride", "sides in pixels", "best for"), levels))
        sizes = [
            (size_name(row.low, row.high), f"{row.objects:,}", *_reached(row.reached))
            for row in split.sizes
        ]
        tables.append((("side in pixels", "objects", *_headings(split)), sizes))
    shown = split.classes[:most_classes]
    classes = [(row.name, f"{row.objects:,}", *_reached(row.reached)) for row in shown]
    if len(shown) < len(split.classes):
        rest = len(split.classes) - len(shown)
        empty = ("",) * (len(classes[0]) - 1)
        classes.append((f"... {rest} more", *empty))
    tables.append((("class", "objects", *_headings(split)), classes))
    return tables


def _headings(split: SplitReport) -> tuple[str, ...]:
    if split.anchors is None:
        return ()
    matcher = split.anchors.fit.matcher
    if matcher.matched is None:
        return ()
    if matcher.unmatched < matcher.matched:
        return f"below {matcher.matched:g}", f"below {matcher.unmatched:g}"
    return (f"below {matcher.matched:g}",)


def _reached(reached: Reached | None) -> tuple[str, ...]:
    if reached is None:
        return ()
    if not reached.compared:
        return "", ""
    return percent(reached.share_below_matched), percent(reached.share_below_unmatched)


def _aligned(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    cells = [
        [shortened_name(cell, _WIDEST_CELL) for cell in row[: len(headings)]]
        for row in (headings, *rows)
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = []
    for row in cells:
        numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
    return lines
