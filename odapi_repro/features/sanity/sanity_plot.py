"""The curves of a sanity run: AP of the hold, AP of the overfit, and its loss."""

from __future__ import annotations

from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from odapi_repro.features.sanity.sanity_trainings import HOLD, OVERFIT, OVERFIT_SAFE, TITLES
from odapi_repro.features.sanity.sanity_verdict import Outcome, Run
from odapi_repro.page.plot_style import INK, MUTED, drawing
from odapi_repro.page.results_folder import Drawing

_COLOURS = {HOLD: "#0072b2", OVERFIT: "#d55e00", OVERFIT_SAFE: "#009e73"}
_LEAST_TOP = 10.0
_HEADROOM = 1.06
# A loss axis that is wider has a label a power of ten.
_WIDE = 50.0
# Of the losses of runs that did not diverge.
_MOST_ABOVE = 30.0


def render_curves(outcome: Outcome) -> tuple[Drawing, ...]:
    """Gives the drawing of curves.png; no file where nothing was measured."""
    return (drawing("curves", partial(_figure, outcome), ("png",)),)


def _figure(outcome: Outcome) -> Figure | None:
    panels: list[Any] = []
    if outcome.hold is not None and (outcome.hold.points or outcome.hold.losses):
        panels.append(_hold)
    overfits = [run for run in (outcome.overfit, outcome.overfit_safe) if run is not None]
    if any(run.points for run in overfits):
        panels.append(_overfit_ap)
    if any(run.losses for run in overfits):
        panels.append(_overfit_loss)
    if not panels:
        return None
    figure = Figure(figsize=(3.9 * len(panels), 3.4), layout="constrained")
    for index, draw in enumerate(panels):
        draw(figure.add_subplot(1, len(panels), index + 1), outcome)
    return figure


def _hold(axes: Axes, outcome: Outcome) -> None:
    assert outcome.hold is not None
    axes.set_title("hold: evaluation images")
    _ap_curve(axes, outcome.hold)
    if outcome.on_train is not None:
        axes.plot(
            [0], [outcome.on_train.ap], marker="s", color=MUTED, linestyle="none", clip_on=False,
            label="the checkpoint on training images",
        )  # fmt: skip
    _finish_ap(axes)


def _overfit_ap(axes: Axes, outcome: Outcome) -> None:
    axes.set_title("overfit: the few images")
    for run in (outcome.overfit, outcome.overfit_safe):
        if run is not None and run.points:
            _ap_curve(axes, run)
    _finish_ap(axes)


def _overfit_loss(axes: Axes, outcome: Outcome) -> None:
    axes.set_title("overfit: training loss")
    for run in (outcome.overfit, outcome.overfit_safe):
        if run is None or not run.losses:
            continue
        steps, losses = zip(*run.losses, strict=True)
        colour = _COLOURS[run.name]
        axes.plot(steps, losses, color=colour, marker=".", label=_label(run))
        if run.status == "diverged":
            axes.axvline(run.steps_done, color=colour, linestyle=":")
    axes.set_yscale("log")
    bottom, top = _loss_range(outcome)
    axes.set_ylim(bottom, top)
    subs = (1.0, 2.0, 5.0) if top / bottom < _WIDE else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("step")
    axes.set_ylabel("total loss")
    axes.legend(fontsize=8)


def _loss_range(outcome: Outcome) -> tuple[float, float]:
    """Gives the ends of the axis; a loss on its way to infinity must not press the rest flat."""
    runs = [run for run in (outcome.overfit, outcome.overfit_safe) if run is not None]
    losses = [loss for run in runs for _, loss in run.losses]
    calm = [loss for run in runs if run.status != "diverged" for _, loss in run.losses]
    top = max(losses)
    if calm:
        top = min(top, _MOST_ABOVE * max(calm))
    return 0.8 * min(losses), 1.25 * top


def _ap_curve(axes: Axes, run: Run) -> None:
    axes.plot(
        [point.step for point in run.points],
        [point.ap for point in run.points],
        color=_COLOURS[run.name],
        marker="o",
        clip_on=False,
        label=_label(run),
    )
    if run.status == "diverged" and run.points:
        # What is left of a diverged model detects nothing.
        end = run.points[-1]
        axes.plot(
            [end.step, run.steps_done],
            [end.ap, 0.0],
            color=_COLOURS[run.name],
            linestyle=":",
            marker="x",
            markevery=[1],
            markersize=10,
            markeredgewidth=2,
            clip_on=False,
        )


def _finish_ap(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.set_ylabel("AP")
    axes.set_ylim(0, max(_LEAST_TOP, _HEADROOM * axes.get_ylim()[1]))
    axes.legend(fontsize=8, labelcolor=INK)


def _label(run: Run) -> str:
    end = ", diverged" if run.status == "diverged" else ""
    return f"{TITLES[run.name]} ({run.peak_rate:.3g}{end})"
