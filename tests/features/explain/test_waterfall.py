"""The waterfall has the bars that the attributions say, where they say."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import pandas as pd
import pytest
from fake_explanation import CASE, cell_rows, grid_record, record, report, two
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from response_surface import ResponseSurface

from odapi_repro.features.explain.report.explanation_figures import (
    draw_ends,
    draw_figures,
    draw_interactions,
)
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.features.explain.report.interactions import end_effects
from odapi_repro.features.explain.report.waterfall import (
    draw_waterfall,
    has_waterfall,
    waterfall_bars,
)
from odapi_repro.page.plot_style import encode, plot_style


def drawn(found: ExplanationReport) -> tuple[Axes, list[Rectangle]]:
    with plot_style():
        axes = draw_waterfall(found).axes[0]
    return axes, [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def svg_of(found: ExplanationReport) -> str:
    with plot_style():
        return encode(draw_waterfall(found), "svg").decode()


def texts(axes: Axes) -> str:
    return "\n".join([text.get_text() for text in (*axes.texts, *axes.get_yticklabels())])


def test_each_deviation_floats_from_where_the_one_above_ended() -> None:
    found = two()
    _, bars = drawn(found)
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    assert spans[1] == pytest.approx((16.0, 27.0))
    assert spans[2] == pytest.approx((27.0, 30.5))
    assert [end for _, end in spans] == pytest.approx([16.0, 27.0, 30.5, 30.5])


def test_it_goes_from_the_user_to_the_reference_over_the_rest() -> None:
    surface = ResponseSurface((-3.0, -2.0, -1.0), {(0, 1, 2): -4.0})
    found = report(record(3, "both_ends"), surface)
    bars = waterfall_bars(found)
    assert [bar.title for bar in (bars[0], bars[-2], bars[-1])] == [
        *("my.config", "interactions", "efficientdet_d3"),
    ]
    assert bars[-2].stop == pytest.approx(bars[-1].stop)
    assert bars[0].stop == pytest.approx(found.ends[0])


def test_the_verdict_is_told_by_words_and_by_hatching() -> None:
    found = report()
    axes, bars = drawn(found)
    verdicts = ["loss", "loss", "loss", "unresolved"]
    assert [one.row.verdict for one in found.shares] == verdicts
    assert [bool(bar.get_hatch()) for bar in bars[1:-1]] == [v == "unresolved" for v in verdicts]
    assert texts(axes).count("resolved: fixing it helps") == 3
    row = found.shares[0].row
    assert f"{-row.delta:+.1f} [{-row.high:+.1f} to {-row.low:+.1f}]" in texts(axes)


def test_a_single_run_has_no_whiskers_and_says_so() -> None:
    found = report(record(4, "both_ends", seeds=(1,)))
    axes, bars = drawn(found)
    assert not axes.containers or all(not one.lines for one in _errorbars(axes))
    assert "one run: no interval" in texts(axes)
    assert {bar.get_linestyle() for bar in bars[1:-2]} != {"solid"}


def _errorbars(axes: Axes) -> Sequence:
    return [one for one in axes.containers if type(one).__name__ == "ErrorbarContainer"]


def test_a_deviation_that_helps_goes_the_other_way() -> None:
    found = report(record(2), ResponseSurface((-4.0, 3.0)))
    bars = waterfall_bars(found)
    assert bars[1].stop > bars[1].start
    assert bars[2].stop < bars[2].start
    assert bars[2].verdict == "resolved: fixing it hurts"


def test_diverged_ends_and_what_made_them_diverge_are_marked() -> None:
    explanation = record(1, "both_ends")
    rows = cell_rows(explanation, {(0,): (30, 31, 32), (1,): (24, None, None)})
    axes, _ = drawn(ExplanationReport(explanation, pd.DataFrame(rows)))
    assert "2 of 3 diverged, counted as 0" in texts(axes)
    assert "67% diverged, 0% when fixed" in texts(axes)
    assert any(line.get_marker() == "x" for line in axes.lines)


def test_what_is_not_measured_is_one_bar_that_is_not_known_yet() -> None:
    found = report(record(4, "both_ends"), most=21)
    bars = waterfall_bars(found)
    assert [bar.value for bar in bars].count("not measured yet") == 3
    assert bars[-2].title == "not known yet"
    assert bars[-2].stop == pytest.approx(bars[-1].stop)


def test_without_ends_or_shares_or_with_more_levels_there_is_none() -> None:
    assert not has_waterfall(report(rows=[]))
    assert not has_waterfall(report(record(4, "both_ends"), most=17))
    grid = report(grid_record(), ResponseSurface((-3.0, -1.0)))
    assert not has_waterfall(grid)
    assert set(draw_figures(grid)) == {"effects"}


def test_scale_replicates_and_levels_stand_in_the_figure_as_text() -> None:
    svg = svg_of(two())
    told = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
    assert "proxy scale: differences only" in told
    assert "2 a cell" in told
    assert "(points)" in told
    assert "1/100 → 100/100 (here 1/8 → 8/8)" in told
    assert "proxy" not in svg_of(two(scale="full"))


@pytest.mark.parametrize("count", [1, 8])
def test_no_text_leaves_the_figure(count: int) -> None:
    surface = ResponseSurface(CASE.main + CASE.main if count == 8 else CASE.main[:1])
    with plot_style():
        figure = draw_waterfall(report(record(count, "both_ends"), surface))
        figure.draw_without_rendering()
        axes, frame = figure.axes[0], figure.bbox
        found = [*axes.texts, *axes.get_yticklabels(), axes.xaxis.label]
        found += [text for text in figure.texts if text.get_text()]
        assert len(found) > 2 * count
        for text in found:
            box = text.get_window_extent()
            assert box.x0 >= frame.x0 - 1, text.get_text()
            assert box.x1 <= frame.x1 + 1, text.get_text()
    rows = sorted(label.get_window_extent().y0 for label in axes.get_yticklabels())
    heights = [label.get_window_extent().height for label in axes.get_yticklabels()]
    assert min(high - low for low, high in itertools.pairwise(rows)) >= 0.9 * min(heights)


def test_the_map_of_interactions_has_a_square_a_pair_and_frames_the_resolved() -> None:
    found = report(record(3), ResponseSurface((-6.0, -3.0, -2.0), {(0, 1): 5.0}))
    with plot_style():
        axes = draw_interactions(found).axes[0]
    squares = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len(squares) == 3
    assert sum(square.get_edgecolor()[3] > 0 for square in squares) == 1
    resolved = [one for one in found.interactions if one.row.verdict == "gain"]
    assert [one.row.factor for one in resolved] == ["train_shards x batch_size"]


def test_of_both_ends_the_figure_sets_the_two_effects_against_each_other() -> None:
    found = report(record(3, "both_ends"), ResponseSurface((-6.0, -3.0, -2.0)))
    with plot_style():
        axes = draw_ends(found).axes[0]
    by_series = {line.get_marker(): line for line in axes.lines if len(line.get_xdata()) == 1}
    assert set(by_series) == {"o", "s"}
    low, high, _ = end_effects(found)[-1]
    assert by_series["o"].get_xdata()[0] == pytest.approx(low.row.delta)
    assert by_series["s"].get_xdata()[0] == pytest.approx(high.row.delta)
