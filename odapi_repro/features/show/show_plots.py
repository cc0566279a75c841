"""The plots of `data show`: objects by class and by size, with the pipeline's anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from odapi_repro.features.show.show_report import (
    AnchorReport,
    ClassRow,
    LevelRow,
    SplitReport,
    size_name,
)
from odapi_repro.page.numbers import percent
from odapi_repro.page.plot_style import INK, encode, legible, plot_style
from odapi_repro.pipeline.anchors import Matcher

# --- How many objects each class has, and what the anchors reach of them: as many rows as classes
# ---


MOST_CLASSES: Final = 120
_BARS: Final = "#56b4e9"
_FORCED, _LOST = "#e69f00", "#d55e00"
_ROW_INCHES: Final = 0.2
_MOST_LETTERS: Final = 28


def classes_png(report: SplitReport) -> bytes:
    """Gives the classes as PNG, the most frequent first; 120 at most, the last ones left out."""
    rows = report.classes[:MOST_CLASSES]
    columns = 1 if report.anchors is None else 2
    with plot_style():
        height = 1.5 + _ROW_INCHES * len(rows)
        figure = Figure(figsize=(5.5 + 4 * (columns - 1), max(height, 2.6)), layout="constrained")
        axes = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
        _draw_counts(axes[0], report, rows)
        if report.anchors is not None:
            _draw_unreached(axes[1], report, rows)
            if axes[1].get_legend_handles_labels()[0]:
                figure.legend(loc="outside lower right", ncols=2, fontsize=8)
        return encode(figure, "png")


def _draw_counts(axes: Axes, report: SplitReport, rows: tuple[ClassRow, ...]) -> None:
    left_out = len(report.classes) - len(rows)
    more = f" ({left_out} more classes are not shown)" if left_out else ""
    axes.set_title(f"{report.split}: objects by class{more}", fontsize=10)
    places = np.arange(len(rows))
    counts = np.array([row.objects for row in rows], float)
    axes.barh(places, counts, color=_BARS, height=0.75)
    axes.set_yticks(places, [legible(row.name, _MOST_LETTERS) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    most = max(float(counts.max(initial=0)), 1.0)
    present = counts[counts > 0]
    if len(present) and most / present.min() > 100:
        axes.set_xscale("log")
        axes.set_xlim(max(float(present.min()) / 2, 0.5), most * 4)
        axes.set_xlabel("objects, logarithmic")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, most * 1.18)
        axes.set_xlabel("objects")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    edge = axes.get_xlim()[0]
    for place, count in zip(places, counts, strict=True):
        axes.annotate(
            f"{count:,.0f}" if count else "none", (max(count, edge), place), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=8,
            color=INK if count else _LOST,
        )  # fmt: skip
    axes.grid(axis="y", visible=False)


def _draw_unreached(axes: Axes, report: SplitReport, rows: tuple[ClassRow, ...]) -> None:
    assert report.anchors is not None
    matcher = report.anchors.fit.matcher
    axes.set_title(f"of them no anchor reaches at {matcher.matched or 0:g}", fontsize=10)
    low = np.array([row.reached.share_below_unmatched if row.reached else 0.0 for row in rows])
    both = np.array([row.reached.share_below_matched if row.reached else 0.0 for row in rows])
    places = np.arange(len(rows))
    below = f"best IoU below {matcher.unmatched:g}"
    axes.barh(places, low, color=_LOST, height=0.75, label=below)
    if matcher.matched is not None and matcher.unmatched < matcher.matched:
        between = f"{matcher.unmatched:g} to {matcher.matched:g}"
        axes.barh(places, both - low, left=low, color=_FORCED, height=0.75, label=between)
    axes.set_xlabel("share of its objects")
    axes.set_xlim(0, max(float(both.max(initial=0)), 0.04) * 1.2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    for place, share, row in zip(places, both, rows, strict=True):
        if row.objects:
            axes.annotate(
                percent(float(share)), (share, place), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=8, color=INK,
            )  # fmt: skip
    axes.grid(axis="y", visible=False)


# --- Histograms of a split, with the pipeline's anchors laid over them ---


_GOOD = "#009e73"
_MARKS: Final = "#8250df"
_MOST_BOXES: Final = 60
_RATIO_LIMIT: Final = 8.0


def histograms_png(report: SplitReport) -> bytes:
    """Gives the page of histograms as PNG: six with anchors, four without."""
    anchors = report.anchors
    with plot_style():
        figure = Figure(figsize=(12.5, 13.6 if anchors else 9.2), layout="constrained")
        axes = figure.subplots(3 if anchors else 2, 2)
        figure.suptitle(_heading(report), x=0.01, ha="left", fontsize=13, fontweight="bold")
        _draw_sizes(axes[0, 0], report)
        _draw_ratios(axes[0, 1], report)
        _draw_shapes(axes[1, 0], report)
        _draw_size_counts(axes[1, 1], report)
        if anchors is not None:
            _draw_overlaps(axes[2, 0], anchors)
            _draw_by_size(axes[2, 1], report, anchors)
        for one in (axes[0, 0], axes[0, 1], axes[1, 1], *axes[2:, 0]):
            one.yaxis.set_major_locator(MaxNLocator(integer=True))
            one.yaxis.set_major_formatter(FuncFormatter(_plain_number))
        return encode(figure, "png")


def _heading(report: SplitReport) -> str:
    table = report.table
    return f"{report.split}: {table.num_images:,} images, {table.num_objects:,} objects"


def _pixels(report: SplitReport) -> str:
    scaled = report.max_number_of_boxes is not None
    return "pixels of the network's input" if scaled else "pixels of the image"


def _title(axes: Axes, text: str, report: SplitReport) -> None:
    """A title with room for the anchors' marks between it and the axes."""
    if report.anchors is None:
        axes.set_title(text)
    else:
        axes.set_title(f"{text}, with the anchors", pad=40)


def _draw_sizes(axes: Axes, report: SplitReport) -> None:
    _title(axes, "Size", report)
    axes.set(xlabel=f"square root of the area, {_pixels(report)}", ylabel="objects")
    sides = report.objects.sides
    if not len(sides):
        return
    marked = [side for level in _levels(report) for side in level.sides]
    low, high = _octaves([sides.min(), sides.max(), *marked])
    edges = 2.0 ** np.arange(low, high + 0.01, 0.25)
    axes.hist(np.clip(sides, edges[0], edges[-1]), edges.tolist(), color=_BARS, edgecolor="white")
    _log2_axis(axes, "x")
    if report.anchors is None:
        return
    levels = _levels(report)
    for index, level in enumerate(levels):
        y = 1.03 + 0.045 * (index % 2)
        _marks(axes, list(level.sides), y, _level_colour(index, len(levels)))
        middle = float(np.exp(np.mean(np.log(level.sides))))
        axes.text(
            middle, y + 0.02, _level_name(level), ha="center", va="bottom", fontsize=8,
            color=_level_colour(index, len(levels)), transform=axes.get_xaxis_transform(),
        )  # fmt: skip


def _draw_ratios(axes: Axes, report: SplitReport) -> None:
    _title(axes, "Aspect ratio", report)
    axes.set(xlabel="width over height", ylabel="objects")
    ratios = report.objects.ratios
    if not len(ratios):
        return
    edges = 2.0 ** np.linspace(-np.log2(_RATIO_LIMIT), np.log2(_RATIO_LIMIT), 37)
    axes.hist(np.clip(ratios, edges[0], edges[-1]), edges.tolist(), color=_BARS, edgecolor="white")
    axes.set_xscale("log", base=2)
    axes.set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], ["≤1/8", "1/4", "1/2", "1", "2", "4", "≥8"])
    axes.minorticks_off()
    if report.anchors is None:
        return
    every = sorted({ratio for level in report.anchors.levels for ratio in level.ratios})
    shown = [ratio for ratio in every if edges[0] <= ratio <= edges[-1]]
    for ratio in shown:
        axes.axvline(ratio, color=_MARKS, linestyle=(0, (3, 3)), linewidth=1.2)
    _marks(axes, shown, 1.03, _MARKS)
    for ratio in shown:
        axes.text(
            ratio, 1.05, f"{ratio:.3g}", ha="center", va="bottom", fontsize=8, color=_MARKS,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip


def _draw_shapes(axes: Axes, report: SplitReport) -> None:
    axes.set_title("Width and height" + (", with the anchors" if report.anchors else ""))
    axes.set(xlabel=f"width, {_pixels(report)}", ylabel=f"height, {_pixels(report)}")
    boxes = report.objects.boxes
    if not len(boxes):
        return
    height, width = (np.maximum(boxes[:, i + 2] - boxes[:, i], 0.5) for i in (0, 1))
    drawn = [] if report.anchors is None else report.anchors.fit.anchors.levels
    lengths = [height, width, *(one for level in drawn for one in (level.heights, level.widths))]
    low, high = _octaves([limit(one) for one in lengths for limit in (np.min, np.max)])
    edges = 2.0 ** np.linspace(low - 0.25, high + 0.25, 49)
    counts, _, _ = np.histogram2d(width, height, bins=[edges, edges])
    mesh = axes.pcolormesh(
        edges, edges, np.ma.masked_equal(counts.T, 0), cmap="Blues", rasterized=True,
        norm=LogNorm(vmin=0.5, vmax=max(counts.max(), 2)),
    )  # fmt: skip
    bar = axes.figure.colorbar(mesh, ax=axes, label="objects", format=FuncFormatter(_plain_number))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    for axis in ("x", "y"):
        _log2_axis(axes, axis)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(edges[0], edges[-1]))
    if report.anchors is None:
        return
    for index, level in enumerate(drawn):
        axes.plot(
            level.widths, level.heights, linestyle="none", marker="x", markersize=6,
            markeredgewidth=1.6, color=_level_colour(index, len(drawn)),
            label=_level_name(report.anchors.levels[index]),
        )  # fmt: skip
    axes.legend(loc="upper left", fontsize=8, title="anchors, by stride", title_fontsize=8)


def _draw_size_counts(axes: Axes, report: SplitReport) -> None:
    axes.set_title("Objects in an image")
    axes.set(xlabel="objects", ylabel="images")
    counts = report.table.objects_per_image
    limit = report.max_number_of_boxes
    if not len(counts):
        return
    most = int(counts.max())
    width = max(1, -(-(most + 1) // _MOST_BOXES))
    edges = np.arange(0, most + width + 1, width) - 0.5
    axes.hist(counts, edges.tolist(), color=_BARS, edgecolor="white" if width == 1 else _BARS)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if limit is None:
        return
    if limit <= 2 * most:
        axes.axvline(limit + 0.5, color=_LOST, linewidth=1.6)
    cut = report.num_beyond_limit
    said = f"{cut:,} objects are cut off" if cut else "nothing is cut off"
    axes.text(
        0.98, 0.96, f"max_number_of_boxes {limit}:\n{said}", ha="right", va="top", fontsize=9,
        color=_LOST if cut else INK, transform=axes.transAxes,
    )  # fmt: skip


def _draw_overlaps(axes: Axes, anchors: AnchorReport) -> None:
    axes.set_title("Overlap with the best anchor")
    axes.set(xlabel="IoU", ylabel="objects")
    matcher = anchors.fit.matcher
    edges = np.linspace(0, 1, 41)
    counts, _ = np.histogram(anchors.fit.iou, edges)
    centres = (edges[:-1] + edges[1:]) / 2
    colours = [_overlap_colour(centre, matcher) for centre in centres]
    axes.bar(centres, counts, width=0.025, color=colours, edgecolor="white", linewidth=0.5)
    axes.set(xlim=(0, 1), ylim=(0, 1.25 * max(float(counts.max()), 1.0)))
    handles: list[Any] = []
    for colour, text in _overlap_legend(anchors):
        handles.append(axes.bar([0], [0], color=colour, label=text))
    axes.legend(handles=handles, loc="upper left", fontsize=9)


def _overlap_colour(iou: float, matcher: Matcher) -> str:
    if iou < (matcher.matched or 0.0):
        return _LOST if iou < matcher.unmatched else _FORCED
    return _GOOD


def _overlap_legend(anchors: AnchorReport) -> list[tuple[str, str]]:
    matcher, reached = anchors.fit.matcher, anchors.reached
    if matcher.matched is None:
        return [(_GOOD, "no threshold: every anchor is matched")]
    forced = "only by a forced match" if matcher.forced else "by no anchor"
    above = 1 - reached.share_below_matched
    entries = [(_GOOD, f"{percent(above)} matched (at least {matcher.matched:g})")]
    between = reached.share_below_matched - reached.share_below_unmatched
    if matcher.unmatched < matcher.matched:
        entries.append((_FORCED, f"{percent(between)} {forced}"))
        rest = f"below even {matcher.unmatched:g}"
    else:
        rest = forced
    return [*entries, (_LOST, f"{percent(reached.share_below_unmatched)} {rest}")]


def _draw_by_size(axes: Axes, report: SplitReport, anchors: AnchorReport) -> None:
    matched = anchors.fit.matcher.matched
    axes.set_title(f"Objects that no anchor reaches at {matched or 0:g}, by size")
    axes.set(xlabel=_pixels(report), ylabel="share of the objects of that size")
    rows = [row for row in report.sizes if row.reached is not None]
    places = np.arange(len(rows))
    low = np.array([row.reached.share_below_unmatched for row in rows if row.reached])
    both = np.array([row.reached.share_below_matched for row in rows if row.reached])
    axes.bar(places, low, color=_LOST, width=0.7)
    axes.bar(places, both - low, bottom=low, color=_FORCED, width=0.7)
    top = max(float(both.max(initial=0.0)), 0.04)
    for place, (row, share) in enumerate(zip(rows, both, strict=True)):
        axes.text(
            place, share + 0.02 * top, f"{percent(float(share))}\nof {row.objects:,}", ha="center",
            va="bottom", fontsize=7.5, color=INK,
        )  # fmt: skip
    names = [size_name(row.low, row.high).replace(" to ", "-") for row in rows]
    axes.set_xticks(places, names, fontsize=9)
    axes.set_ylim(0, top * 1.25)
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= min(1.0, top * 1.25)])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.grid(axis="x", visible=False)


def _levels(report: SplitReport) -> tuple[LevelRow, ...]:
    return () if report.anchors is None else report.anchors.levels


def _octaves(lengths: Sequence[float]) -> tuple[float, float]:
    """Gives the powers of 2 between which all lengths lie, a half octave and more apart."""
    low = float(np.floor(np.log2(max(min(lengths), 0.5))))
    return low, max(float(np.ceil(np.log2(max(lengths)))), low + 1)


def _marks(axes: Axes, values: list[float], y: float, colour: Any) -> None:
    axes.plot(
        values, [y] * len(values), linestyle="none", marker="v", markersize=5, color=colour,
        transform=axes.get_xaxis_transform(), clip_on=False,
    )  # fmt: skip


def _level_colour(index: int, count: int) -> Any:
    import matplotlib as mpl

    return mpl.colormaps["plasma"](0.05 + 0.75 * index / max(count - 1, 1))


def _level_name(level: LevelRow) -> str:
    return f"stride {level.stride[0]:.3g}"


def _log2_axis(axes: Axes, which: str) -> None:
    scale = axes.set_xscale if which == "x" else axes.set_yscale
    scale("log", base=2)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(_plain_number))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", length=0)


def _plain_number(value: float, _: object) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
