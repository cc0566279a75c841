"""The picture of the chain of recall: how the objects become fewer from stage to stage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from odapi_repro.evaluation.mask_chain.chain import SIZES, ChainReport
from odapi_repro.evaluation.scoring.matching import IOU_THRESHOLDS
from odapi_repro.page.plot_style import INK, MUTED, drawing, legible
from odapi_repro.page.results_folder import Drawing

_SIZE_COLOURS = dict(zip(SIZES[1:], ("#d55e00", "#e69f00", "#0072b2"), strict=True))
_PANELS = ((0.5, "IoU 0.5"), (None, "average of IoU 0.5 to 0.95"))
# Below this share (in percent) a number beside a bar would say nothing.
_LEAST_TOLD = 0.05


def render_chain(report: ChainReport, formats: Sequence[str] = ("png", "svg")) -> Drawing:
    """Gives the drawing of recall_chain.png and recall_chain.svg."""
    return drawing("recall_chain", partial(chain_figure, report), formats)


def chain_figure(report: ChainReport) -> Figure:
    """A waterfall: all objects, what each stage loses, by size, and what is found; two panels.

    Every bar is a share of all objects, cut into small, medium and large ones, so the bars of the
    stages and the last one sum to the first.
    """
    rows = len(report.stages) + 2
    figure = Figure(figsize=(11, 0.42 * rows + 1.6), layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (iou, title) in zip(panels, _PANELS, strict=True):
        _waterfall(axes, report, iou)
        axes.set_title(title)
    names = ["objects", *(legible(stage.name) for stage in report.stages), "found"]
    panels[0].set_yticks(range(rows), names)
    panels[0].set_ylim(rows - 0.5, -0.9)
    panels[0].legend(loc="lower right", fontsize=9, title="size of the objects", title_fontsize=9)
    _owners(panels[-1], report)
    return figure


def _waterfall(axes: Axes, report: ChainReport, iou: float | None) -> None:
    total = int(report.objects[0]) or 1
    shares = np.array([_by_size(report, counts, iou) for counts in report.lost]) / total * 100
    found = _by_size(report, report.found, iou) / total * 100
    objects = report.objects[1:] / total * 100
    left = 100.0
    _bar(axes, 0, 0.0, objects, told=f"{int(report.objects[0]):,}")
    for row, lost in enumerate(shares, start=1):
        left -= lost.sum()
        told = f"-{lost.sum():.1f}" if lost.sum() >= _LEAST_TOLD else "0"
        _bar(axes, row, left, lost, told=told)
        axes.plot([left, left], [row - 0.4, row + 1.4], color=MUTED, lw=0.8, zorder=1)
    _bar(axes, len(shares) + 1, 0.0, found, told=f"{found.sum():.1f}")
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("% of all objects")
    axes.grid(visible=False, axis="y")


def _by_size(
    report: ChainReport, counts: NDArray[np.int64], iou: float | None
) -> NDArray[np.float64]:
    """Gives small, medium and large of [T, Z], at a threshold or on average."""
    if iou is None:
        return np.asarray(counts[:, 1:].mean(axis=0))
    place = int(np.argmin(np.abs(IOU_THRESHOLDS - iou)))
    return np.asarray(counts[place, 1:], np.float64)


def _bar(axes: Axes, row: int, start: float, parts: NDArray[np.float64], *, told: str) -> None:
    for (size, colour), part in zip(_SIZE_COLOURS.items(), parts, strict=True):
        axes.barh(
            row, part, left=start, height=0.72, color=colour, label=size if row == 0 else None
        )
        start += part
    axes.annotate(
        told,
        (start, row),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=INK,
    )


def _owners(axes: Axes, report: ChainReport) -> None:
    """Names, at the right edge, what sets each stage; what takes a training in grey."""
    told = [(-0.65, "set by (grey: by training)", False)]
    told += [
        (row, legible(stage.owner), stage.owned_by_training)
        for row, stage in enumerate(report.stages, start=1)
    ]
    for height, text, by_training in told:
        axes.annotate(
            text,
            (1.02, height),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=MUTED if by_training else INK,
        )
