"""An attribution says no more than the replicates show, and says where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from response_surface import ResponseSurface
from scipy import stats

from odapi_repro.analysis.attribution import (
    ATTRIBUTION_COLUMNS,
    Attribution,
    Combination,
    EffectDefinition,
    Outcome,
    Outcomes,
    StudiedDeviation,
    attributions,
    both_ends_effects,
    corners,
    factorial_effects,
    gap_effect,
    sampled_orders,
    sampled_shapley_effects,
    shapley_effects,
)
from odapi_repro.analysis.attribution.estimates import (
    cells_at_risk,
    degrees_of_freedom,
    variances_at_risk,
)
from odapi_repro.analysis.effect import effects_frame
from odapi_repro.analysis.level_effects import EFFECTS_COLUMNS

A, B, C = (StudiedDeviation.of(name, "reference", "user") for name in ("a", "b", "c"))


def outcomes(
    deviations: Sequence[StudiedDeviation], cells: Mapping[Combination, Sequence[float]]
) -> Outcomes:
    """One trial a value; NaN is a diverged trial."""
    return Outcomes(
        tuple(deviations),
        {
            cell: {
                seed: Outcome(0.0, True) if math.isnan(ap) else Outcome(ap)
                for seed, ap in enumerate(values)
            }
            for cell, values in cells.items()
        },
    )


TWO = {
    (0, 0): (40.1, 39.6, 40.4),
    (1, 0): (34.0, 34.9, 34.2),
    (0, 1): (39.0, 39.5, 39.9),
    (1, 1): (30.2, 29.1, 29.6),
}


def rows(
    definitions: Sequence[EffectDefinition], found: Outcomes, margin: float = 0.5, **more
) -> dict[tuple[str, str], Attribution]:
    made = attributions(definitions, found, margin=margin, **more)
    return {(row.kind, row.factor): row for row in reversed(made)}


def test_a_factorial_effect_has_the_t_interval_of_its_linear_model() -> None:
    # The regression on +-1 codes with an intercept, both effects and their product.
    row = rows(factorial_effects([A, B]), outcomes([A, B], TWO))["main_effect", "a"]
    codes = [[1, 2 * c[0] - 1, 2 * c[1] - 1, (2 * c[0] - 1) * (2 * c[1] - 1)] for c in TWO]
    x = np.repeat(np.array(codes, float), 3, axis=0)
    y = np.array([value for values in TWO.values() for value in values])
    beta = np.linalg.solve(x.T @ x, x.T @ y)
    residual = y - x @ beta
    variance = residual @ residual / (len(y) - 4)
    se = 2 * math.sqrt(variance * np.linalg.inv(x.T @ x)[1, 1])
    half = stats.t.ppf(0.975, len(y) - 4) * se
    assert row.method == "pooled"
    assert row.delta == pytest.approx(2 * beta[1])
    assert (row.se, row.df) == (pytest.approx(se), 8)
    assert (row.low, row.high) == pytest.approx((2 * beta[1] - half, 2 * beta[1] + half))


def test_a_gap_of_noisier_cells_than_the_others_keeps_their_own_variances() -> None:
    noisy = {**TWO, (1, 1): (33.2, 26.1, 29.6)}
    row = rows([gap_effect([A, B])], outcomes([A, B], noisy))["gap", "a + b"]
    theirs = stats.ttest_ind(noisy[1, 1], noisy[0, 0], equal_var=False)
    assert row.method == "welch"
    assert row.delta / row.se == pytest.approx(theirs.statistic)
    # Between Welch's degrees of freedom, which are too few, and those of two alike cells.
    assert theirs.df < row.df < 4


def test_pooling_does_not_hide_a_noisy_cell_that_bartletts_test_overlooks() -> None:
    alike = dict.fromkeys(corners(3), (30.0, 31.0, 32.0))
    found = outcomes([A, B, C], {**alike, (1, 1, 1): (28.0, 31.0, 32.5)})
    made = rows([gap_effect([A, B, C]), *both_ends_effects([A, B, C])], found)
    assert made["gap", "a + b + c"].method == "welch"
    assert made["from_user", "a"].method == "welch"
    assert made["from_reference", "a"].method == "pooled"


@pytest.mark.parametrize("df", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 2, 16])
def test_degrees_of_freedom_lie_between_those_of_one_cell_and_of_the_whole_correction(
    df: int, count: int
) -> None:
    alike = degrees_of_freedom([(3.0, df)] * count)
    assert count * df <= alike <= count * (df + 2) - 2 or count == 1
    assert degrees_of_freedom([(3.0, df)] * count + [(1e-9, 50)]) == pytest.approx(alike)
    if count == 1:
        assert alike == pytest.approx(df)


def test_shapley_values_of_a_study_sum_to_its_gap() -> None:
    found = outcomes([A, B], TWO)
    made = attributions([gap_effect([A, B]), *shapley_effects([A, B])], found, margin=0.5)
    values = [row.delta for row in made if row.kind == "shapley_value"]
    assert math.fsum(values) == pytest.approx(made[0].delta)
    assert made[0].delta == pytest.approx(np.mean(TWO[1, 1]) - np.mean(TWO[0, 0]))


def test_without_two_replicates_there_is_no_interval_and_the_table_says_so() -> None:
    one = {cell: values[:1] for cell, values in TWO.items()}
    row = rows(factorial_effects([A, B]), outcomes([A, B], one))["main_effect", "a"]
    assert (row.verdict, row.method, row.replicates) == ("single_run", "single_run", 1)
    assert math.isnan(row.low)
    assert not math.isnan(row.delta)


def test_two_replicates_are_noted_as_few() -> None:
    three = rows(factorial_effects([A, B]), outcomes([A, B], TWO))["main_effect", "a"]
    fewer = outcomes([A, B], {cell: values[:2] for cell, values in TWO.items()})
    two = rows(factorial_effects([A, B]), fewer)["main_effect", "a"]
    assert three.note == ""
    assert two.note.startswith("two replicates: if one cell is much noisier")


def test_a_cell_that_was_not_run_leaves_only_its_effects_without_an_estimate() -> None:
    three = {cell: values for cell, values in TWO.items() if cell != (0, 1)}
    made = rows(both_ends_effects([A, B]), outcomes([A, B], three))
    assert made["from_reference", "b"].method == "no_data"
    assert math.isnan(made["both_ends", "b"].delta)
    assert made["from_reference", "a"].delta == pytest.approx(34.3667 - 40.0333, abs=1e-3)


def test_verdicts_follow_holm_within_a_family_and_intervals_are_for_one_effect() -> None:
    made = attributions(factorial_effects([A, B]), outcomes([A, B], TWO), margin=0.5)
    main = [row for row in made if row.kind == "main_effect"]
    crossed = [row for row in made if row.kind == "interaction"]
    smaller, larger = sorted(main, key=lambda row: row.p_value)
    assert smaller.p_holm == pytest.approx(2 * smaller.p_value)
    assert larger.p_holm == pytest.approx(max(larger.p_value, smaller.p_holm))
    assert crossed[0].p_holm == crossed[0].p_value
    assert all(row.verdict == "loss" and not row.simultaneous for row in main)


def test_simultaneous_intervals_are_wider_and_say_so() -> None:
    found = outcomes([A, B], TWO)
    alone = rows(factorial_effects([A, B]), found)["main_effect", "b"]
    joint = rows(factorial_effects([A, B]), found, simultaneous=True)["main_effect", "b"]
    half = stats.t.ppf(1 - 0.05 / 2 / 2, joint.df) * joint.se
    assert joint.simultaneous
    assert (joint.high - joint.low) / 2 == pytest.approx(half)
    assert joint.high - joint.low > alone.high - alone.low


def test_no_effect_needs_an_interval_within_the_margin() -> None:
    cells = dict.fromkeys(corners(2), (30.0, 30.2, 29.8))
    found = outcomes([A, B], {**cells, (1, 1): (30.1, 30.3, 29.7)})
    wide = rows(factorial_effects([A, B]), found, margin=0.5)["main_effect", "a"]
    narrow = rows(factorial_effects([A, B]), found, margin=0.1)["main_effect", "a"]
    assert (wide.verdict, narrow.verdict) == ("equivalent", "unresolved")


def test_a_deviation_that_trains_the_same_has_exactly_no_effect() -> None:
    cells = {(0, 0): (40.0, 41.0), (1, 0): (30.0, 31.5)}
    same = {(0, 1): (0, 0), (1, 1): (1, 0)}
    found = Outcomes((A, B), outcomes([A, B], cells).by_cell, same)
    made = rows([gap_effect([A, B]), *factorial_effects([A, B])], found)
    inert = made["main_effect", "b"]
    assert (inert.delta, inert.low, inert.high) == (0, 0, 0)
    assert (inert.verdict, inert.method) == ("equivalent", "same_training")
    # The other effect is that of two cells, not of four with half the variance.
    a, gap = made["main_effect", "a"], made["gap", "a + b"]
    assert (a.delta, a.se, a.n, a.cells) == (gap.delta, gap.se, 2, 2)
    assert made["interaction", "a x b"].method == "same_training"


def test_divergence_is_an_outcome_with_two_labelled_estimands() -> None:
    nan = math.nan
    cells = {**TWO, (1, 0): (34.0, nan, 34.2), (1, 1): (nan, 29.1, 29.6)}
    found = outcomes([A, B], cells)
    made = attributions([gap_effect([A, B]), *shapley_effects([A, B])], found, margin=0.5)
    zero = [row for row in made if row.estimand == "ap_or_0"]
    converged = [row for row in made if row.estimand == "given_convergence"]
    assert len(zero) == len(converged) == len(made) / 2
    assert zero[0].delta == pytest.approx(58.7 / 3 - np.mean(TWO[0, 0]))
    assert converged[0].delta == pytest.approx(58.7 / 2 - np.mean(TWO[0, 0]))
    assert (zero[0].p_diverged_from, zero[0].p_diverged_to) == (0, pytest.approx(1 / 3))
    assert zero[0].method == "divergence"
    assert converged[0].method != "divergence"
    values = [row.delta for row in zero if row.kind == "shapley_value"]
    assert math.fsum(values) == pytest.approx(zero[0].delta)


def test_a_cell_is_at_risk_when_it_holds_one_of_the_fewest_levels_that_explain_all_divergence() -> (
    None
):
    fine, nan = (30.0, 31.0), math.nan
    cells = dict.fromkeys(corners(3), fine)

    def at_risk(*diverged: Combination) -> set[Combination]:
        found = outcomes([A, B, C], {**cells, **dict.fromkeys(diverged, (30.0, nan))})
        return set(cells_at_risk(found))

    assert at_risk() == set()
    assert at_risk((1, 0, 1), (1, 1, 0)) == {cell for cell in cells if cell[0]}
    # One of the two, or both: nobody knows.
    assert at_risk((1, 0, 1)) == {cell for cell in cells if cell[0] or cell[2]}
    # No level is in both: it takes two causes, and the reference holds neither.
    assert at_risk((1, 0, 0), (0, 1, 0)) == {cell for cell in cells if cell[0] or cell[1]}
    # The reference itself diverged: nothing is safe.
    assert at_risk((0, 0, 0), (1, 0, 0)) == set(cells)


def test_cells_at_risk_share_what_they_show_unless_they_plainly_differ() -> None:
    nan = math.nan
    risky = [cell for cell in corners(3) if cell[0]]

    def spreads(*diverged: int) -> list[float]:
        """p (1 - p) as the variance of the mean of six trainings of AP 30 or 0 has it."""
        cells = dict.fromkeys(corners(3), (30.0,) * 6)
        for cell, count in zip(risky, diverged, strict=True):
            cells[cell] = (nan,) * count + (30.0,) * (6 - count)
        found = outcomes([A, B, C], cells)
        variances = variances_at_risk(found, cells, cells_at_risk(found), found)
        assert {cell for cell in cells if variances[cell].variance} == set(risky)
        return [variances[cell].variance * 6 / 30**2 for cell in risky]

    # 3 of 24 together, half a one of each added: two parts of that, one of the cell's own.
    together = 3.5 / 25
    expected = [(share + 2 * together) / 3 for share in (1 / 6, 0.0, 1 / 6, 1 / 6)]
    assert spreads(1, 0, 1, 1) == pytest.approx([p * (1 - p) for p in expected])
    # Always here and never there: each for itself.
    assert spreads(6, 0, 6, 0) == pytest.approx([0.5 / 7 * 6.5 / 7] * 4)


def test_an_unlucky_cell_does_not_pass_for_a_certain_one() -> None:
    # Three replicates of each diverged cell's neighbour converged by luck: an interval from their
    # spread alone would be narrower than a point.
    nan = math.nan
    cells = {(0, 0): TWO[0, 0], (1, 0): TWO[1, 0], (0, 1): TWO[0, 1], (1, 1): (nan, nan, 29.0)}
    found = outcomes([A, B], cells)
    row = rows(both_ends_effects([A, B]), found)["from_reference", "a"]
    assert row.method == "divergence"
    assert row.low < -20


def test_where_no_effect_holds_a_cell_at_risk_the_divergence_of_others_does_not_matter() -> None:
    nan = math.nan
    cells = {cell: TWO[cell[:2]] for cell in corners(3)}
    cells |= {cell: (nan, 30.0, nan) for cell in corners(3) if cell[2]}
    row = rows(both_ends_effects([A, B, C]), outcomes([A, B, C], cells))["from_reference", "a"]
    assert row.method in ("pooled", "welch")
    assert row.high - row.low < 5


def test_a_loss_is_known_given_convergence_only() -> None:
    cells = outcomes([A], {(0,): (1.0, 1.1, 1.2), (1,): (2.0, 2.1, 2.4)}).by_cell
    found = Outcomes((A,), {**cells, (1,): {**cells[1,], 3: Outcome(math.nan, True)}})
    made = attributions(
        [gap_effect([A])],
        Outcomes(found.deviations, found.by_cell, metric="final_loss"),
        margin=0.1,
    )
    assert [(row.estimand, row.verdict) for row in made] == [("given_convergence", "loss")]


def test_sampled_orders_add_their_own_error() -> None:
    # Three deviations that act only together: what one gets depends on the order.
    surface = ResponseSurface((0.0, 0.0, 0.0, 0.0), {(0, 1, 2): -9.0}, sd=lambda _: 1e-3)
    found = surface.draw(np.random.default_rng(1), (1, 2, 3))
    orders = sampled_orders(4, 6, seed=2)
    made = attributions(sampled_shapley_effects(surface.deviations, orders), found, margin=0.5)
    first = made[0]
    shares = [
        np.mean([-9.0 * (max(order.index(i) for i in (0, 1, 2)) == order.index(0)) for order in p])
        for p in orders
    ]
    expected = np.std(shares, ddof=1) / math.sqrt(6) * math.sqrt(1 - 6 / 12)
    assert first.se_sampling == pytest.approx(expected, rel=1e-3)
    assert first.se == pytest.approx(expected, rel=1e-2)
    assert first.low <= -3 <= first.high


def test_replicate_noise_alone_is_not_taken_for_the_error_of_orders() -> None:
    # Nothing interacts, so that every order gives the same but for noise.
    surface = ResponseSurface((-5.0, -3.0, -2.0, -1.0, 0.0))
    orders = sampled_orders(5, 8, seed=4)
    rng = np.random.default_rng(6)
    definitions = sampled_shapley_effects(surface.deviations, orders)
    shares = []
    for _ in range(60):
        made = attributions(definitions, surface.draw(rng, (1, 2, 3)), margin=0.5)
        shares += [row.se_sampling**2 / row.se**2 for row in made]
    assert np.mean(shares) < 0.15


def test_the_table_begins_with_the_columns_of_effects_csv() -> None:
    assert ATTRIBUTION_COLUMNS[:10] == EFFECTS_COLUMNS[:10]
    made = attributions(factorial_effects([A, B]), outcomes([A, B], TWO), margin=0.5)
    table = effects_frame(made, ATTRIBUTION_COLUMNS)
    assert tuple(table.columns) == ATTRIBUTION_COLUMNS
    assert list(table["factor"]) == ["a", "b", "a x b"]
