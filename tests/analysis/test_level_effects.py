"""Contrasts compare the right cells, and verdicts say no more than the runs show."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from odapi_repro.analysis.effect import effects_frame
from odapi_repro.analysis.level_effects import (
    EFFECTS_COLUMNS,
    Contrast,
    contrasts,
    summarize_levels,
)
from odapi_repro.analysis.trial_table import BOX_METRICS, LEADING_COLUMNS, order_columns, points
from odapi_repro.factors.axes import Axis
from odapi_repro.features.ablate.study_page import diverged_text, study_headline

BATCH = Axis("batch_size", "16", ("2", "8", "16"))


def table(cells: dict[tuple[str, ...], list[float]], factors: tuple[str, ...]) -> pd.DataFrame:
    """One trial a value; NaN is a diverged trial."""
    return pd.DataFrame(
        {
            "trial_id": f"{'-'.join(labels)}-s{seed}",
            "seed": seed,
            "status": "diverged" if math.isnan(ap) else "succeeded",
            **dict(zip(factors, labels, strict=True)),
            "AP": ap,
            "final_loss": 1.0 + seed / 100,
        }
        for labels, values in cells.items()
        for seed, ap in enumerate(values)
    )


def batch_trials(two: list[float], eight: list[float], sixteen: list[float]) -> pd.DataFrame:
    return table({("2",): two, ("8",): eight, ("16",): sixteen}, ("batch_size",))


def ap_rows(trials: pd.DataFrame, *axes: Axis, margin: float = 0.5) -> list[Contrast]:
    return contrasts(trials, axes or (BATCH,), metrics=["AP"], margin=margin)


def test_a_clear_loss_and_a_difference_within_noise() -> None:
    two, eight = ap_rows(batch_trials([18, 17, 19], [26, 28, 27.5], [27, 28, 26.5]))
    assert (two.verdict, two.from_level, two.to_level, two.n) == ("loss", "16", "2", 3)
    assert two.delta == pytest.approx(18 - 81.5 / 3)
    assert two.low < two.delta < two.high < 0
    assert eight.verdict == "unresolved"


def test_equivalence_needs_an_interval_within_the_margin() -> None:
    trials = batch_trials([18, 17, 19], [27.0, 27.1, 26.9], [27.05, 26.95, 27.02])
    assert ap_rows(trials, margin=0.5)[1].verdict == "equivalent"
    assert ap_rows(trials, margin=0.05)[1].verdict == "unresolved"


def test_an_effect_that_shows_alone_may_not_show_among_many() -> None:
    trials = batch_trials([26.0, 26.8, 25.4], [27.5, 26.4, 26.0], [27.2, 28.2, 27.3])
    alone = ap_rows(trials, Axis("batch_size", "16", ("2", "16")))[0]
    others = {(name,): [27.2, 28.3, 27.4] for name in ("4", "32", "64", "128", "256", "512")}
    levels = ("2", "16", *(name for (name,) in others))
    many = pd.concat([trials, table(others, ("batch_size",))])
    two = ap_rows(many, Axis("batch_size", "16", levels))[0]
    raw = 2 * float(stats.t.sf(abs(two.delta) / two.se, two.df))
    assert (alone.verdict, two.verdict) == ("loss", "unresolved")
    assert two.high < 0
    assert two.p_holm == pytest.approx(7 * raw)
    assert not two.simultaneous


def test_one_seed_gives_single_run_without_an_interval() -> None:
    for row in ap_rows(batch_trials([18], [26], [27])):
        assert row.verdict == "single_run"
        assert math.isnan(row.low)
        assert math.isnan(row.se)


def test_a_diverged_run_counts_as_zero_and_the_rest_is_labelled() -> None:
    rows = ap_rows(batch_trials([math.nan, 17, 19], [26, 28, 27.5], [27, 28, 26.5]))
    assert [row.estimand for row in rows] == ["ap_or_0"] * 2 + ["given_convergence"] * 2
    assert rows[0].delta == pytest.approx(12 - 81.5 / 3)
    assert rows[2].delta == pytest.approx(18 - 81.5 / 3)
    assert rows[0].p_diverged_to == rows[2].p_diverged_to == pytest.approx(1 / 3)
    assert rows[0].method == "welch"
    assert rows[1].method == "pooled"
    assert (rows[0].n_to, rows[2].n_to) == (3, 2)


def test_levels_that_all_diverge_are_not_called_equivalent() -> None:
    trials = batch_trials([math.nan] * 3, [27, 28, 27.5], [math.nan] * 3)
    row = ap_rows(trials)[0]
    assert (row.delta, row.verdict, row.method) == (0, "unresolved", "no_spread")


def test_a_diverged_run_has_no_loss_to_count() -> None:
    trials = batch_trials([math.nan, 17, 19], [26, 28, 27], [27, 28, 26])
    rows = contrasts(trials, [BATCH], metrics=["final_loss"], margin={})
    assert {row.estimand for row in rows} == {"given_convergence"}
    assert rows[0].n_to == 2


def test_nothing_to_score_stays_empty_even_where_a_run_diverged() -> None:
    trials = batch_trials([math.nan, 17], [26, 28], [27, 28]).assign(APl=np.nan)
    rows = contrasts(trials, [BATCH], metrics=["APl"], margin=0.5)
    assert all(math.isnan(row.delta) and row.method == "no_data" for row in rows)


def test_trials_that_did_not_finish_are_left_out_and_counted() -> None:
    trials = batch_trials([18, 17, 0.1], [26, 28, 27], [27, 28, 26])
    trials.loc[trials["AP"] == 0.1, "status"] = "failed"
    row = ap_rows(trials)[0]
    assert (row.n, row.left_out) == (2, 1)
    assert row.delta == pytest.approx(17.5 - 27)


def test_a_factor_is_studied_where_it_is_held() -> None:
    scaling = Axis("lr_scaling", "none", ("none", "linear"), at={"batch_size": "2"})
    batch = Axis("batch_size", "16", ("2", "16"))
    cells = {("16", "none"): [27, 28.0], ("2", "none"): [18, 19.0], ("2", "linear"): [22, 23.5]}
    rows = ap_rows(table(cells, ("batch_size", "lr_scaling")), batch, scaling)
    assert [row.delta for row in rows] == pytest.approx([-9.0, 4.25])
    assert [row.held for row in rows] == ["", "batch_size=2"]


def test_a_grid_averages_the_simple_effects() -> None:
    rng = np.random.default_rng(0)
    cells = {
        (b, s): list(base + rng.normal(0, 0.5, 3))
        for (b, s), base in {
            ("16", "none"): 27,
            ("2", "none"): 18,
            ("16", "linear"): 27,
            ("2", "linear"): 23,
        }.items()
    }
    axes = (
        Axis("batch_size", "16", ("2", "16"), design="grid"),
        Axis("lr_scaling", "none", ("none", "linear"), design="grid"),
    )
    row = ap_rows(table(cells, ("batch_size", "lr_scaling")), *axes)[0]
    means = {key: np.mean(values) for key, values in cells.items()}
    simple = [means["2", s] - means["16", s] for s in ("none", "linear")]
    assert row.delta == pytest.approx(np.mean(simple))
    pooled = np.mean([np.var(values, ddof=1) for values in cells.values()])
    assert row.method == "pooled"
    assert row.se == pytest.approx(math.sqrt(4 * 0.25 * pooled / 3))
    assert (row.n, row.combinations, row.df) == (6, 2, 8)


def test_effects_csv_begins_with_its_contract() -> None:
    columns = list(effects_frame(ap_rows(batch_trials([18], [26], [27])), EFFECTS_COLUMNS).columns)
    contract = "factor from to metric delta se low high n verdict"
    assert " ".join(columns[:10]) == contract


def test_the_same_replicate_twice_is_refused() -> None:
    trials = batch_trials([18, 17], [26, 27], [27, 28])
    trials.loc[1, "seed"] = 0
    with pytest.raises(ValueError, match="same cell and seed twice"):
        ap_rows(trials)


def test_columns_come_in_the_documented_order_and_masks_only_where_there_are_any() -> None:
    trials = batch_trials([18], [26], [27]).assign(spec_hash="abc", mask_AP=np.nan)
    ordered = order_columns(trials, ["batch_size"])
    assert tuple(ordered.columns[:7]) == (*LEADING_COLUMNS, "batch_size")
    assert list(ordered.columns[12:24]) == list(BOX_METRICS)
    assert "mask_AP" not in ordered.columns
    assert ordered.columns[-1] == "spec_hash"
    masks = order_columns(trials.assign(mask_AP=12.0), ["batch_size"])
    assert masks.columns[24] == "mask_AP"


def test_points_are_percent_and_cocos_minus_one_is_nothing() -> None:
    assert points(0.454) == pytest.approx(45.4)
    assert math.isnan(points(-1))
    assert math.isnan(points(None))


def test_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="'64' is not one of"):
        Axis("batch_size", "64", ("2", "16"))


def test_a_level_summary_counts_what_diverged() -> None:
    trials = batch_trials([math.nan, 17, 19], [26, 28, 27], [27, 28, 26])
    two = summarize_levels(trials, BATCH, [BATCH])[0]
    assert (two.level, two.values, two.diverged, two.mean) == ("2", (17, 19), 1, 12)


def test_runs_that_diverged_are_counted_over_combinations_that_one_side_alone_has() -> None:
    nan = math.nan
    cells: dict[tuple[str, ...], list[float]] = {
        ("16", "x"): [20.0, 20.5], ("16", "y"): [],
        ("2", "x"): [nan, 20.0, 20.1, 20.2], ("2", "y"): [nan, nan, 20.0, 20.3],
    }  # fmt: skip
    axes = (
        Axis("batch_size", "16", ("2", "16"), design="grid"),
        Axis("rule", "x", ("x", "y"), design="grid"),
    )
    rows = contrasts(table(cells, ("batch_size", "rule")), axes, metrics=["AP"], margin=0.5)
    for row in rows:
        if row.factor == "batch_size":
            assert (row.finished_from, row.finished_to) == (2, 8)
            assert row.p_diverged_to == 3 / 8
            assert diverged_text(row) == "0 of 2 and 3 of 8 diverged"
    assert study_headline(rows).startswith("batch_size 2: 3 of 8 runs diverged (at 16: 0 of 2)")


@pytest.mark.parametrize("seed", range(150))
def test_the_headline_of_any_study_says_no_more_than_its_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = tuple(str(level) for level in range(rng.integers(1, 5)))
    chance, spread, size = (
        rng.choice([0, 0, 0.5, 1]),
        rng.choice([0, 1, 5]),
        rng.choice([0, 0.02, 9]),
    )
    cells: dict[tuple[str, ...], list[float]] = {
        (level,): [
            math.nan if rng.random() < chance else 20 + size * (level == "1") + spread * draw
            for draw in rng.normal(size=rng.integers(0, 4)).tolist()
        ]
        for level in levels
    }
    if not any(cells.values()):
        return
    rows = ap_rows(table(cells, ("batch_size",)), Axis("batch_size", "0", levels))
    told = study_headline(rows)
    verdicts = {row.verdict for row in rows if not math.isnan(row.delta)}
    assert "nan" not in told
    assert " 0.0 AP" not in told
    assert "1 runs" not in told
    assert " gains " not in told or "gain" in verdicts
    assert " costs " not in told or "loss" in verdicts
    if "no gain or loss in AP is resolved" in told:
        assert not verdicts & {"gain", "loss"}
