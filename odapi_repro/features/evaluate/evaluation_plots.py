"""The plots of an evaluation: precision against recall, and what mending each error brings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.evaluation.mask_chain.recall_chain import SIZES, ChainReport
from odapi_repro.evaluation.scoring.detection_matching import IOU_THRESHOLDS
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport
from odapi_repro.features.evaluate.evaluation_tables import TYPE_TITLES
from odapi_repro.page.numbers import number
from odapi_repro.page.plot_style import INK, MUTED, drawing, legible
from odapi_repro.page.results_folder import Drawing

_CURVES = (("at_50", "IoU .50", "#0072b2"), ("at_75", "IoU .75", "#d55e00"), ("mean", "mean", INK))
_CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_AP50, _AP = "#0072b2", "#9ecae1"
_MOST_LETTERS = 40


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


def render_evaluation_plots(report: EvaluationReport) -> tuple[Drawing, ...]:
    """Gives the drawings of pr_curves.svg, error_types.svg and, of a chain, recall_chain.svg."""
    return (
        drawing("pr_curves", partial(precision_recall_figure, report), ("svg",)),
        drawing("error_types", partial(error_figure, report), ("svg",)),
        *(() if report.model.chain is None else (render_chain(report.model.chain, ("svg",)),)),
    )


def precision_recall_figure(report: EvaluationReport) -> Figure:
    """On the left the mean over the classes, on the right the classes at IoU 0.5; a row a type.

    What it is compared with is dashed. Of more than six classes, the three best and the three
    worst have a colour and a name.
    """
    rows = len(report.iou_types)
    figure = Figure(figsize=(10.5, 4.4 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False, sharex=True, sharey=True)
    for (left, right), iou_type in zip(grid, report.iou_types, strict=True):
        own = report.model.breakdowns[iou_type]
        against = None if report.against is None else report.against.breakdowns[iou_type]
        _mean_curves(left, own, against)
        left.set_title(f"{TYPE_TITLES[iou_type]}: mean over the classes")
        _class_curves(right, own)
        right.set_title(f"{TYPE_TITLES[iou_type]}: classes at IoU .50")
        left.set_ylabel("precision")
        for axes in (left, right):
            axes.set_xlabel("recall")
            axes.tick_params(labelbottom=True)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1.02)
    if report.against is not None:
        figure.suptitle(
            f"solid: {legible(report.model.label)}; dashed: {legible(report.against.label)}",
            x=0.01,
            ha="left",
            fontsize=9.5,
            color=MUTED,
        )
    return figure


def error_figure(report: EvaluationReport) -> Figure:
    """A bar a kind of error: what AP50, and AP, would gain without it; a panel a type."""
    types = report.iou_types
    figure = Figure(figsize=(5.4 * max(len(types), 1.35), 3.9), layout="constrained")
    panels = figure.subplots(1, len(types), squeeze=False, sharex=True)[0]
    for axes, iou_type in zip(panels, types, strict=True):
        errors = report.model.breakdowns[iou_type].errors
        names = [one.kind for one in errors.types]
        places = list(range(len(names)))
        for shift, colour, label, gains in (
            (-0.19, _AP50, "AP50", [one.gain_ap50 for one in errors.types]),
            (0.19, _AP, "AP", [one.gain_ap for one in errors.types]),
        ):
            at = [place + shift for place in places]
            axes.barh(at, gains, height=0.36, color=colour, label=label)
            for place, gain in zip(at, gains, strict=True):
                axes.annotate(
                    f"+{gain:.1f}" if gain >= 0.05 else "0",
                    (gain, place),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8.5,
                )
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.14)
        axes.set_xlim(left=0)
        axes.set_xlabel("points gained if fixed, all else as it is")
        axes.set_title(
            f"{TYPE_TITLES[iou_type]}: AP50 {number(errors.ap50)}, AP {number(errors.ap)}"
        )
    panels[-1].legend(loc="lower right", fontsize=9)
    return figure


def _mean_curves(axes: Axes, own: Breakdown, against: Breakdown | None) -> None:
    if not own.curves:
        _say_nothing_there(axes)
        return
    for name, label, colour in _CURVES:
        curve = own.curves[0]
        precision = getattr(curve, name)
        text = f"{label}: AP {100 * float(precision.mean()):.1f}"
        axes.plot(curve.recalls, precision, color=colour, lw=2, label=text)
        if against is not None and against.curves:
            other = getattr(against.curves[0], name)
            text = f"{label}: AP {100 * float(other.mean()):.1f}"
            axes.plot(curve.recalls, other, color=colour, lw=1.4, ls=(0, (4, 2)), label=text)
    axes.legend(loc="upper right", fontsize=9)


def _class_curves(axes: Axes, own: Breakdown) -> None:
    if not own.curves:
        _say_nothing_there(axes)
        return
    ranked = sorted(own.curves[1:], key=lambda curve: -float(curve.at_50.mean()))
    named = ranked if len(ranked) <= 6 else [*ranked[:3], *ranked[-3:]]
    for curve in ranked[3:-3] if len(ranked) > 6 else []:
        axes.plot(curve.recalls, curve.at_50, color="#c9ced3", lw=0.8, zorder=1)
    for colour, curve in zip(_CLASS_COLOURS, named, strict=False):
        label = f"{legible(curve.name, _MOST_LETTERS)}: {100 * float(curve.at_50.mean()):.1f}"
        axes.plot(curve.recalls, curve.at_50, color=colour, lw=1.6, label=label, zorder=2)
    title = "AP50" if len(ranked) <= 6 else f"AP50, best and worst 3 of {len(ranked)}"
    axes.legend(loc="upper right", fontsize=9, title=title, title_fontsize=9)


def _say_nothing_there(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no object to find", ha="center", va="center", color=MUTED)
