"""The waterfall: from the user's AP to the reference's, a bar for what mending each returns."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odapi_repro.analysis.attribution import Combination
from odapi_repro.analysis.trial_table import GIVEN_CONVERGENCE
from odapi_repro.features.explain.report.effect_wording import (
    SHARE_KINDS,
    change_text,
    returned_text,
    verdict_of_mending,
)
from odapi_repro.features.explain.report.explanation_report import (
    ExplainedEffect,
    ExplanationReport,
)
from odapi_repro.page.numbers import joined, number, signed
from odapi_repro.page.plot_style import INK, MUTED, captioned, legible

# A difference in the share of diverged trainings that is worth a mark.
_MARKED_SHARE: Final = 0.1


@dataclass(frozen=True)
class WaterfallBar:
    """One row of the figure.

    Attributes:
        title: what it is called; an end or deviations.
        detail: its levels, or how an end was measured.
        start, stop: where the bar begins and ends; NaN where it is not measured.
        low, high: ends of the interval of `stop`, NaN where there is none.
        value: the number in words, with its interval.
        verdict: in words; empty for an end.
        style: `end`, `resolved`, `equivalent`, `unresolved`, `single_run` or `rest`.
        seeds: the replicates of an end that converged.
        diverged: how many trainings diverged, in words; empty for none.
    """

    title: str
    detail: str
    stop: float
    value: str
    style: str
    start: float = math.nan
    low: float = math.nan
    high: float = math.nan
    verdict: str = ""
    seeds: tuple[float, ...] = ()
    diverged: str = ""


def has_waterfall(report: ExplanationReport) -> bool:
    """Whether both ends are measured, a share is known, and every deviation has two levels."""
    two_levels = all(len(one.levels) == 2 for one in report.explanation.deviations)
    known = [one for one in report.shares if not math.isnan(one.returned)]
    return two_levels and bool(known) and not math.isnan(report.gap.row.delta)


def waterfall_bars(report: ExplanationReport) -> tuple[WaterfallBar, ...]:
    """The rows from top to bottom: the user's end, the deviations, the rest, the reference."""
    record = report.explanation
    user, reference = report.ends
    bars = [_end(report, record.pipeline, report.design.user, user)]
    at = user
    for one in report.shares:
        bars.append(_step(report, one, at))
        at += 0.0 if math.isnan(one.returned) else one.returned
    if any(math.isnan(one.returned) for one in report.shares):
        bars.append(_unknown(report, at, reference))
    elif report.rest is not None:
        bars.append(_step(report, report.rest, at))
    bars.append(_end(report, record.reference, report.design.reference, reference))
    return tuple(bars)


def _end(report: ExplanationReport, title: str, cell: Combination, mean: float) -> WaterfallBar:
    values = report.counted.sample(cell, report.estimand)
    converged = report.counted.sample(cell, GIVEN_CONVERGENCE)
    diverged = report.counted.diverged(cell)
    runs = f"n = {len(values)}" if len(values) > 1 else "one run"
    is_user = cell == report.design.user
    return WaterfallBar(
        title,
        f"{'as it is' if is_user else 'the reference'}, trained here, {runs}",
        mean,
        f"{number(mean, report.digits)} {report.explanation.metric}",
        "end",
        seeds=converged if len(values) > 1 else (),
        diverged=f"{diverged} of {len(values)} diverged, counted as 0" if diverged else "",
    )


def _step(report: ExplanationReport, effect: ExplainedEffect, at: float) -> WaterfallBar:
    """A share, or what the shares leave of the gap."""
    row, (low, high) = effect.row, effect.ends
    names = [one for one in effect.definition.deviations if row.kind != "rest"]
    moved = [one for one in report.explanation.deviations if one.name in names]
    detail = change_text(report, moved[0]) if len(moved) == 1 else "fixed together"
    diverged = ""
    if names and row.p_diverged_to - row.p_diverged_from >= _MARKED_SHARE:
        diverged = f"{row.p_diverged_to:.0%} diverged, {row.p_diverged_from:.0%} when fixed"
    verdict = "" if math.isnan(row.delta) else verdict_of_mending(row)
    style = "resolved" if row.verdict in ("loss", "gain") else row.verdict
    return WaterfallBar(
        joined(names) if names else "interactions",
        detail if names else "not shared out",
        at + effect.returned,
        returned_text(effect, report.digits),
        style if names else "rest",
        start=at,
        low=at + low,
        high=at + high,
        verdict=verdict if names else verdict.partition(": fixing")[0],
        diverged=diverged,
    )


def _unknown(report: ExplanationReport, at: float, reference: float) -> WaterfallBar:
    what = "what the missing ones return, and interactions"
    told = signed(reference - at, report.digits)
    return WaterfallBar("not known yet", what, reference, told, "rest", start=at)


_RETURNS: Final = "#0072b2"
_TAKES: Final = "#d55e00"
_DIVERGED: Final = "#b3261e"
_WIDTH_OF_NAMES: Final = 37
_MOST_LETTERS: Final = 4 * _WIDTH_OF_NAMES
_SOFT_BREAK: Final = "\u200b"
_HALF: Final = 0.31
# Where everything lies above this share of the largest AP, an axis from 0 would leave slivers.
_CUT_ABOVE: Final = 0.4


def draw_waterfall(report: ExplanationReport) -> Figure:
    """The figure; see `has_waterfall` for when there is one."""
    bars = waterfall_bars(report)
    left = [_label(bar) for bar in bars]
    right = [_beside_text(bar) for bar in bars]
    lines = [
        max(2, text.count("\n") + 1, len(beside)) for text, beside in zip(left, right, strict=True)
    ]
    figure = Figure(figsize=(8.4, 1.5 + 0.235 * sum(lines)), layout="constrained")
    axes = figure.add_subplot()
    # A row is as high as its label has lines.
    centers: list[float] = []
    at = 0.0
    for count in lines:
        centers.append(at + count / 4)
        at += count / 2
    low, high, cut = _limits(bars)
    for center, bar, beside in zip(centers, bars, right, strict=True):
        _draw(axes, center, bar, low)
        _write_beside(axes, center, beside)
    known = [(y, bar) for y, bar in zip(centers, bars, strict=True) if not math.isnan(bar.stop)]
    for (y, bar), (y_next, _) in itertools.pairwise(known):
        axes.plot([bar.stop] * 2, [y + _HALF, y_next - _HALF], color=MUTED, lw=0.8, zorder=1)
    axes.set_ylim(at, 0)
    axes.set_xlim(low, high)
    axes.set_yticks(centers, left)
    axes.tick_params(axis="y", length=0, pad=8, labelsize=9.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(not cut)
    if cut:
        _mark_cut(axes, (centers[0], centers[-1]))
    axes.set_xlabel(_axis_text(report, cut), loc="left")
    captioned(figure, _title(report), _note(report))
    return figure


def _look(style: str, colour: str) -> dict[str, Any]:
    """How a bar of a verdict is drawn: told by fill, hatching and edge, not by colour alone."""
    look: dict[str, Any] = {"facecolor": "white", "edgecolor": colour, "linewidth": 1.0}
    changes: dict[str, dict[str, Any]] = {
        "end": {"facecolor": "#d7dce1", "edgecolor": INK},
        "resolved": {"facecolor": colour},
        "equivalent": {"linewidth": 1.2},
        "unresolved": {"hatch": "/////"},
        "single_run": {"linewidth": 1.2, "linestyle": (0, (3, 2))},
        "rest": {"edgecolor": MUTED, "hatch": "....."},
    }
    return look | changes[style]


def _label(bar: WaterfallBar) -> str:
    # A name may break after an underscore.
    name = legible(bar.title, _MOST_LETTERS).replace("_", f"_{_SOFT_BREAK} ")
    lines = textwrap.wrap(name, _WIDTH_OF_NAMES)
    for text in (legible(one, _MOST_LETTERS) for one in bar.detail.split("; ")):
        # The levels of the trials go below those of the configs where both do not fit.
        fits = len(text) <= _WIDTH_OF_NAMES
        parts = [text] if fits else text.replace(" (here ", "\n(here ").split("\n")
        lines += [line for part in parts for line in textwrap.wrap(part, _WIDTH_OF_NAMES)]
    return "\n".join(lines).replace(f"_{_SOFT_BREAK} ", "_").replace(_SOFT_BREAK, "")


def _limits(bars: Sequence[WaterfallBar]) -> tuple[float, float, bool]:
    """Where the axis begins and ends, and whether it is cut above 0."""
    told = [
        value
        for bar in bars
        for value in (bar.start, bar.stop, bar.low, bar.high, *bar.seeds)
        if not math.isnan(value)
    ]
    low, high = min(told), max(told)
    if low > _CUT_ABOVE * high:
        room = max(high - low, 0.01 * high)
        return low - 0.2 * room, high + 0.05 * room, True
    low = min(0.0, low)
    return low - (0.03 * (high - low) if low < 0 else 0), high + 0.05 * (high - low), False


def _draw(axes: Axes, y: float, bar: WaterfallBar, low: float) -> None:
    if math.isnan(bar.stop):
        return
    start = low if bar.style == "end" else bar.start
    colour = _RETURNS if bar.stop >= start else _TAKES
    axes.barh(y, bar.stop - start, 2 * _HALF, left=start, zorder=3, **_look(bar.style, colour))
    if not math.isnan(bar.low):
        ends = [[bar.stop - bar.low], [bar.high - bar.stop]]
        axes.errorbar(
            bar.stop, y, xerr=ends, fmt="none", ecolor=INK, elinewidth=1.3, capsize=3, zorder=5
        )
    if bar.seeds:
        axes.plot(bar.seeds, [y] * len(bar.seeds), "o", ms=4, mfc="white", mec=INK, zorder=5)
    if bar.style == "end" and bar.diverged:
        axes.plot(low, y, "x", color=_DIVERGED, ms=8, mew=2.2, zorder=6, clip_on=False)


def _beside_text(bar: WaterfallBar) -> list[tuple[str, str]]:
    """The lines to the right of a row, each with its colour."""
    told = [(bar.value, INK), (bar.verdict, MUTED), (bar.diverged, _DIVERGED)]
    return list(dict.fromkeys((text, colour) for text, colour in told if text))


def _write_beside(axes: Axes, y: float, lines: Sequence[tuple[str, str]]) -> None:
    beside = axes.get_yaxis_transform()
    for index, (text, colour) in enumerate(lines):
        at = y + 0.34 * (index - (len(lines) - 1) / 2)
        size = 9.5 if index == 0 else 8.5
        axes.text(1.02, at, text, transform=beside, va="center", fontsize=size, color=colour)


def _mark_cut(axes: Axes, centers: Sequence[float]) -> None:
    """Two strokes through the ends' bars: they do not begin at 0."""
    low, high = axes.get_xlim()
    span = high - low
    for y in centers:
        for shift in (0.020, 0.032):
            x = low + shift * span
            axes.plot(
                [x - 0.006 * span, x + 0.006 * span],
                [y + _HALF + 0.06, y - _HALF - 0.06],
                color="white",
                lw=2.2,
                zorder=4,
            )


def _axis_text(report: ExplanationReport, cut: bool) -> str:
    record = report.explanation
    unit = f" ({report.unit})" if report.unit else ""
    text = f"{record.metric} on {legible(record.data)}{unit}"
    return f"{text}; the axis does not begin at 0" if cut else text


def _title(report: ExplanationReport) -> list[str]:
    record = report.explanation
    ends = f"From {legible(record.pipeline, _MOST_LETTERS)} to {legible(record.reference)}"
    return [*textwrap.wrap(f"{ends}: what fixing each deviation returns", 92), *report.scale_lines]


def _note(report: ExplanationReport) -> str:
    shares = [one for one in report.shares if not math.isnan(one.returned)]
    replicates = sorted({one.row.replicates for one in shares if one.row.replicates})
    text = f"shares: {SHARE_KINDS[report.shares[0].row.kind]}"
    if replicates and replicates[-1] > 1:
        low, high = replicates[0], replicates[-1]
        told = f"{low}" if low == high else f"{low} to {high}"
        text += (
            f"; whiskers: 95 % intervals of the noise between trainings, {told} a cell; filled: "
            "resolved, hatched: unresolved"
        )
    else:
        text += "; one training a cell: no intervals"
    if report.diverged:
        text += "; a diverged training counts as 0"
    return textwrap.fill(text[0].upper() + text[1:] + ".", 118)
