"""How many objects each class has, and what the anchors reach of them: as many rows as classes."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from odapi_repro.features.show.show_report import ClassRow, SplitReport
from odapi_repro.page.numbers import percent
from odapi_repro.page.plot_style import INK, encode, legible, plot_style

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
