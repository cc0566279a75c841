"""What `data show` found as a page: the numbers of each split, its anchors, its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from odapi_repro.features.show.show_report import AnchorReport, Reached, ShowReport, SplitReport
from odapi_repro.features.show.show_sentences import (
    anchor_sentences,
    count_sentences,
    draw_sentences,
)
from odapi_repro.features.show.show_words import listed, size_name
from odapi_repro.page.blocks import Bullets, Code, Facts, Figure, Note, Page, Section, Table
from odapi_repro.page.numbers import percent

_MOST_CLASSES: Final = 10
"""On a terminal; a file has them all."""
_WIDEST: Final = 60


def show_page(report: ShowReport, pictures: Mapping[str, Sequence[str]]) -> Page:
    """Gives the page; `pictures` are the names of the PNGs that are to be drawn, by split."""
    return Page(
        report.data,
        (
            Section("", [Code(report.command)], "file"),
            Facts(tuple(_facts(report))),
            *(Note("note", note) for note in report.notes),
            *(_of_split(split, pictures.get(split.split, ())) for split in report.splits),
        ),
    )


def _facts(report: ShowReport) -> Iterator[tuple[str, str]]:
    yield "data", report.data
    yield "label map", report.label_map
    if report.pipeline:
        yield "pipeline", f"{report.pipeline}: {report.model}, images {report.resized}"
    if report.only:
        yield "images shown", f"only {report.only}"
    yield "seed", str(report.seed)


def _of_split(split: SplitReport, pictures: Sequence[str]) -> Section:
    stops = anchors = None
    if split.draws is not None:
        title = f"Training would stop at {split.draws.refused} of these draws"
        stops = Section(title, [Bullets(split.draws.messages)])
    if split.anchors is not None:
        said = Bullets(tuple(anchor_sentences(split.anchors)))
        anchors = Section("Anchors", [said, *_anchor_tables(split.anchors, split)])
    return Section(
        split.split,
        [
            Bullets((*count_sentences(split), *draw_sentences(split))),
            stops,
            *(Note("note", note) for note in split.notes),
            anchors,
            *_classes(split),
            *(Figure(name, name.removesuffix(".png").replace("_", " ")) for name in pictures),
        ],
    )


def _anchor_tables(anchors: AnchorReport, split: SplitReport) -> Iterator[Table]:
    compared = len(anchors.fit.index)
    yield Table(
        ("feature map", "stride", "sides in pixels", "best for"),
        tuple(
            (
                f"{level.grid[1]} x {level.grid[0]}",
                f"{level.stride[0]:.3g}",
                listed(level.sides),
                percent(level.best_for / compared),
            )
            for level in anchors.levels
        ),
    )
    yield _counted(
        "side in pixels",
        [(size_name(row.low, row.high), row.objects, row.reached) for row in split.sizes],
        _thresholds(split),
    )


def _classes(split: SplitReport) -> Iterator[Table | Section]:
    whole = _counted(
        "class",
        [(row.name, row.objects, row.reached) for row in split.classes],
        _thresholds(split),
    )
    rest = len(whole.rows) - _MOST_CLASSES
    if rest <= 0:
        yield whole
        return
    more = (f"... {rest} more", *[""] * (len(whole.header) - 1))
    first = Table(whole.header, (*whole.rows[:_MOST_CLASSES], more), widest=_WIDEST)
    yield Section("", [first], "terminal")
    yield Section("", [whole], "file")


def _counted(
    what: str, rows: Sequence[tuple[str, int, Reached | None]], thresholds: Sequence[float]
) -> Table:
    """Gives objects by `what`, and which share of them is below the matcher's thresholds."""
    return Table(
        (what, "objects", *(f"below {threshold:g}" for threshold in thresholds)),
        tuple(
            (name, f"{objects:,}", *_shares(reached)[: len(thresholds)])
            for name, objects, reached in rows
        ),
        widest=_WIDEST,
    )


def _thresholds(split: SplitReport) -> tuple[float, ...]:
    """Gives the matcher's thresholds that say something; the lower one where it is another."""
    if split.anchors is None or split.anchors.fit.matcher.matched is None:
        return ()
    matched, unmatched = split.anchors.fit.matcher.matched, split.anchors.fit.matcher.unmatched
    return (matched, unmatched) if unmatched < matched else (matched,)


def _shares(reached: Reached | None) -> tuple[str, str]:
    if reached is None or not reached.compared:
        return "", ""
    return percent(reached.share_below_matched), percent(reached.share_below_unmatched)
