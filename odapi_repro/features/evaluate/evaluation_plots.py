"""The plots of an evaluation: precision against recall, and what mending each error brings."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odapi_repro.evaluation.breakdown import Breakdown
from odapi_repro.features.evaluate.evaluation_report import EvaluationReport
from odapi_repro.features.evaluate.evaluation_tables import TYPE_TITLES
from odapi_repro.features.evaluate.mask_chain_plot import render_chain
from odapi_repro.page.numbers import number
from odapi_repro.page.plot_style import INK, MUTED, drawing, legible
from odapi_repro.page.results_folder import Drawing

_CURVES = (("at_50", "IoU .50", "#0072b2"), ("at_75", "IoU .75", "#d55e00"), ("mean", "mean", INK))
_CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_AP50, _AP = "#0072b2", "#9ecae1"
_MOST_LETTERS = 40


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
        axes.set_xlabel("points gained if mended, all else as it is")
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
