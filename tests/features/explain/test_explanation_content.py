"""What a report follows from: shares that sum, ends from the trials that count, known parts."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from fake_explanation import CASE, cell_rows, grid_record, raced, record, report, two
from response_surface import ResponseSurface

from odapi_repro.features.explain.report.explanation_report import ExplanationReport


def returned(found: ExplanationReport) -> dict[str, float]:
    return {one.row.factor: one.returned for one in found.shares}


def test_shapley_values_are_those_computed_by_hand_and_sum_to_the_gap() -> None:
    found = two()
    assert returned(found) == pytest.approx({"train_shards": 11.0, "batch_size": 3.5})
    assert found.gap.returned == pytest.approx(14.5)
    assert found.rest is None
    assert [one.row.delta for one in found.interactions] == pytest.approx([-3.0])


def test_what_the_shares_of_both_ends_leave_of_the_gap_is_its_own_effect() -> None:
    found = two("both_ends")
    # With two deviations the mean of both ends is the Shapley value: nothing is left.
    assert found.rest is None
    three = report(record(3, "both_ends"), ResponseSurface((-3.0, -2.0, -1.0), {(0, 1, 2): -4.0}))
    assert three.rest is not None
    left = three.gap.row.delta - sum(one.row.delta for one in three.shares)
    assert three.rest.row.delta == pytest.approx(left)
    assert three.rest.row.low < three.rest.row.delta < three.rest.row.high


@pytest.mark.parametrize(
    ("design", "options"),
    [
        ("shapley", {}),
        ("both_ends", {}),
        ("factorial", {}),
        ("fractional", {}),
        ("sampled_shapley", {"orders": 3}),
        ("path", {"order_seeds": (9,)}),
        ("bisection", {"order_seeds": (9,), "margin": 2.0}),
        ("grid", {}),
    ],
)
def test_the_shares_and_the_rest_always_sum_to_the_gap(design: str, options: dict) -> None:
    found = report(record(4, design, **options))
    rest = found.rest.row.delta if found.rest else 0.0
    assert sum(one.row.delta for one in found.shares) + rest == pytest.approx(found.gap.row.delta)
    user, reference = found.ends
    assert user - reference == pytest.approx(found.gap.row.delta)
    assert found.complete


def test_shares_come_with_the_largest_return_first_and_a_path_in_its_order() -> None:
    values = list(returned(report()).values())
    assert values == sorted(values, reverse=True)
    # The second deviation only acts where the first is mended, so that it is found later.
    surface = ResponseSurface((-2.0, -9.0, -1.0), {(0, 1): 8.5}, sd=lambda _: 0.01)
    path = report(record(3, "path", order_seeds=(9,)), surface)
    state = path.design.state(path.outcomes, "from_user")
    names = [one.name for one in path.explanation.deviations]
    steps = [tuple(names[index] for index in step) for step in state.steps]
    assert [one.definition.deviations for one in path.shares] == steps


def test_the_ends_are_means_of_the_replicates_that_effects_are_estimated_from() -> None:
    explanation = record(1, "path", seeds=(2, 3), order_seeds=(1,))
    # Seed 1 decides the order and is left out of the estimates.
    rows = cell_rows(explanation, {(0,): (99, 30, 32), (1,): (77, 20, 24)})
    found = ExplanationReport(explanation, pd.DataFrame(rows))
    assert found.ends == (22.0, 31.0)
    assert found.gap.returned == pytest.approx(9.0)


def test_the_parts_are_told_where_both_numbers_are_known() -> None:
    found = two(scale="full", checkpoint=44.9)
    values = {part.name: part.value for part in found.parts.parts}
    expected = {"evaluation": 0.5, "environment": 14.4, "config": 14.5, "theirs": 2.0}
    assert values == pytest.approx(expected)
    assert found.parts.total == pytest.approx(31.4)
    config = found.parts.part("config")
    assert (config.low, config.high) == pytest.approx((-found.gap.row.high, -found.gap.row.low))


def test_a_proxy_enters_no_sum_and_unknown_parts_say_why() -> None:
    parts = two().parts
    assert parts.part("config").value == pytest.approx(14.5)
    assert parts.part("config").summed is None
    assert "published checkpoint" in parts.part("evaluation").unknown
    assert "scale" in parts.part("theirs").unknown


def test_the_order_and_the_last_digits_of_the_trials_do_not_matter() -> None:
    found = report()
    shuffled = found.trials.sample(frac=1.0, random_state=3)
    shuffled["AP"] += 1e-13
    again = ExplanationReport(found.explanation, shuffled)
    pd.testing.assert_frame_equal(found.table, again.table)
    assert repr(found.result.rows) == repr(again.result.rows)


def test_a_race_estimates_from_the_replicates_that_it_gave() -> None:
    surface = ResponseSurface((-3.0, -0.9))
    found = report(record(2, seeds=(1, 2), race=raced()), surface)
    assert found.result.race is not None
    assert found.result.race.added > 0
    assert found.gap.row.n > 2


def test_diverged_trainings_give_both_estimands() -> None:
    explanation = record(1, "both_ends")
    rows = cell_rows(explanation, {(0,): (30, 31, 32), (1,): (24, None, 27)})
    found = ExplanationReport(explanation, pd.DataFrame(rows))
    assert found.diverged
    assert found.ends[0] == pytest.approx(17.0)
    assert found.gap.converged is not None
    assert found.gap.converged.delta == pytest.approx(25.5 - 31)


def test_a_study_without_a_trial_still_has_its_effects_and_says_what_it_wants() -> None:
    found = report(rows=[])
    assert math.isnan(found.gap.returned)
    assert all(math.isnan(value) for value in found.ends)
    assert len(found.shares) == 4
    assert sum(len(one.seeds) for one in found.result.wanted) == 48
    assert not found.complete


def test_of_a_grid_with_more_levels_the_shares_are_those_of_the_user() -> None:
    found = report(grid_record(), ResponseSurface((-3.0, -1.0)))
    assert [one.row.to_level for one in found.shares] == ["2", "0.02"]
    assert [one.row.to_level for one in found.others] == ["4"]


def test_cells_that_come_to_the_same_training_share_its_trials() -> None:
    # The second deviation is inert where the first stands at the user's level.
    explanation = record(2, same=(((1, 1), (1, 0)),), seeds=(1, 2))
    rows = cell_rows(explanation, {(0, 0): (30, 31), (1, 0): (20, 22), (0, 1): (28, 29)})
    found = ExplanationReport(explanation, pd.DataFrame(rows))
    assert found.complete
    assert found.ends == (21.0, 30.5)


def test_a_replicate_that_is_there_twice_is_refused() -> None:
    found = report()
    twice = pd.concat([found.trials, found.trials.iloc[:1].assign(trial_id="other")])
    with pytest.raises(ValueError, match="twice"):
        _ = ExplanationReport(found.explanation, twice).result


def test_the_noise_of_the_surface_is_what_the_intervals_are_made_of() -> None:
    found = report(record(4), CASE)
    widths = [one.row.high - one.row.low for one in found.shares]
    # 16 cells of 3: se is 0.8 * sqrt(sum of squared weights / 3), on 32 degrees of freedom.
    weights = found.shares[0].definition.weights.values()
    expected = 2 * 2.037 * 0.8 * math.sqrt(sum(w * w for w in weights) / 3)
    assert np.mean(widths) == pytest.approx(expected, rel=0.35)
