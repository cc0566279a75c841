"""Which trials are cells of a study of deviations, and what they count for."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from odapi_repro.analysis.attribution import (
    Outcome,
    Outcomes,
    StudiedDeviation,
    check_deviations,
    corners,
    labels_of,
    outcomes_of,
)
from odapi_repro.analysis.trial_table import GIVEN_CONVERGENCE

BATCH = StudiedDeviation.of("batch_size", "128", "2")
SCHEDULE = StudiedDeviation(
    "schedule",
    (
        {"schedule_length": "300k", "warmup": "2500"},
        {"schedule_length": "20k", "warmup": "0"},
    ),
)


def trials(*rows: tuple[str, str, str, int, str, float]) -> pd.DataFrame:
    columns = ["batch_size", "schedule_length", "warmup", "seed", "status", "AP"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(trial_id=[f"t{row}" for row in range(len(table))])


def test_a_group_is_one_deviation_whose_factors_move_together() -> None:
    assert labels_of([BATCH, SCHEDULE], (0, 1)) == {
        "batch_size": "128",
        "schedule_length": "20k",
        "warmup": "0",
    }
    assert (BATCH.label(1), SCHEDULE.label(0), SCHEDULE.label(1)) == ("2", "reference", "user")


def test_trials_of_other_studies_count_where_they_are_a_cell_and_are_passed_over_elsewhere() -> (
    None
):
    found = outcomes_of(
        trials(
            ("128", "300k", "2500", 1, "succeeded", 40.0),
            ("2", "20k", "0", 1, "succeeded", 14.0),
            ("2", "300k", "0", 1, "succeeded", 99.0),  # half of the group has moved: no cell
            ("64", "300k", "2500", 1, "succeeded", 99.0),  # no level of this study
        ),
        [BATCH, SCHEDULE],
    )
    assert {cell: dict(seeds) for cell, seeds in found.by_cell.items()} == {
        (0, 0): {1: Outcome(40.0)},
        (1, 1): {1: Outcome(14.0)},
    }


def test_a_diverged_trial_counts_for_0_or_is_left_out_and_a_failed_one_is_no_outcome() -> None:
    found = outcomes_of(
        trials(
            ("2", "20k", "0", 1, "succeeded", 14.0),
            ("2", "20k", "0", 2, "diverged", math.nan),
            ("2", "20k", "0", 3, "failed", math.nan),
        ),
        [BATCH, SCHEDULE],
    )
    assert found.sample((1, 1)) == (14.0, 0.0)
    assert found.sample((1, 1), GIVEN_CONVERGENCE) == (14.0,)
    assert (found.diverged((1, 1)), found.left_out[1, 1]) == (1, 1)
    assert found.missing((1, 1), (1, 2, 3)) == (3,)


def test_columns_that_are_held_decide_which_trials_count() -> None:
    table = trials(
        ("128", "300k", "2500", 1, "succeeded", 40.0),
        ("2", "300k", "2500", 1, "succeeded", 30.0),
    ).assign(scale=["proxy", "full"])
    found = outcomes_of(table, [BATCH], held={"scale": "proxy"})
    assert list(found.by_cell) == [(0,)]


def test_cells_that_come_to_the_same_training_have_the_same_replicates() -> None:
    found = Outcomes((BATCH, SCHEDULE), {(0, 0): {1: Outcome(40.0)}}, same={(0, 1): (0, 0)})
    assert found.sample((0, 1)) == (40.0,)
    assert not found.missing((0, 1), [1])


def test_restricted_outcomes_know_nothing_else() -> None:
    found = Outcomes((BATCH,), {(0,): {1: Outcome(40.0), 2: Outcome(41.0)}, (1,): {1: Outcome(9)}})
    kept = found.restricted({(0,): (2, 3)})
    assert dict(kept.by_cell) == {(0,): {2: Outcome(41.0)}}


def test_there_are_2_to_the_k_corners_from_the_reference_to_the_user() -> None:
    cells = corners(3)
    assert len(set(cells)) == 8
    assert (cells[0], cells[-1]) == ((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("levels", "found"),
    [
        (({"a": "1"},), "needs the reference's and the user's level"),
        (({"a": "1"}, {"b": "2"}), "name different factors"),
        (({"a": "1"}, {"a": "1"}), "a level appears twice"),
    ],
)
def test_a_deviation_that_does_not_deviate_is_refused(levels, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        StudiedDeviation("a", levels)


def test_a_factor_moves_with_one_deviation_only() -> None:
    with pytest.raises(ValueError, match=r"the same factor twice: \['warmup'\]"):
        check_deviations([SCHEDULE, StudiedDeviation.of("warmup", "2500", "0")])
    with pytest.raises(ValueError, match="no deviations"):
        check_deviations([])
