"""The advice follows from the intervals: what to change, what is open, what to run next."""

from __future__ import annotations

import pandas as pd
import pytest
from fake_explanation import (
    CASE,
    cell_rows,
    evaluation_table,
    grid_record,
    record,
    report,
    two,
)
from response_surface import ResponseSurface

from odapi_repro.features.explain.report.advice import Advice, change_lines, run_lines, seeds_for
from odapi_repro.features.explain.report.explanation_report import ExplanationReport
from odapi_repro.features.explain.report.interactions import interaction_lines, interaction_table
from odapi_repro.page.blocks import code


def changes(found: ExplanationReport) -> str:
    return "\n".join(change_lines(found, Advice(found)))


def runs(found: ExplanationReport) -> str:
    return "\n".join(run_lines(found, Advice(found)))


def one_deviation(reference: tuple, user: tuple, **options: object) -> ExplanationReport:
    explanation = record(1, "both_ends", seeds=tuple(range(1, len(user) + 1)), **options)
    rows = cell_rows(explanation, {(0,): reference, (1,): user})
    return ExplanationReport(explanation, pd.DataFrame(rows))


def test_resolved_losses_come_first_by_size_with_what_to_write() -> None:
    lines = changes(report()).splitlines()
    assert lines[0].startswith("Fix train_shards, 1/100 → 100/100 (here 1/8 → 8/8)")
    assert (
        code("train_input_reader.tf_record_input_reader.input_path: coco_train.record*") in lines[0]
    )
    assert lines[1].startswith("Fix batch_size")
    assert lines[2].startswith("Fix learning_rate")


def test_what_is_unresolved_is_not_recommended() -> None:
    text = changes(report())
    assert "Fix schedule_length" not in text
    assert "neither recommended nor cleared: schedule_length" in text


def test_what_helps_is_kept() -> None:
    text = changes(report(record(2), ResponseSurface((-4.0, 3.0))))
    assert "Keep your batch_size: fixing it returns -" in text


def test_mended_alone_is_the_difference_of_the_two_cells() -> None:
    found = two()
    change = {one.effect.row.factor: one for one in Advice(found).changes}["train_shards"]
    assert change.alone is not None
    # 16 with both at the user's level, 28.5 with the first mended.
    assert change.alone.delta == pytest.approx(16 - 28.5)


def test_what_all_changes_leave_is_measured_where_that_cell_has_run() -> None:
    found = report()
    after = Advice(found).after
    assert after is not None
    left = found.counted.mean((0, 0, 0, 1), (1, 2, 3)) - found.counted.mean((0,) * 4, (1, 2, 3))
    assert after.delta == pytest.approx(left)


def test_cohens_table_says_how_many_replicates_decide() -> None:
    # d = 1 takes 17 a group for 80 % power at 0.05, two-sided (Cohen 1988, table 2.4.1).
    found = one_deviation((22, 24, 26), (20, 22, 24), margin=0.5)
    (needed,) = Advice(found).replicates
    assert needed.replicates == 17
    assert needed.trials == 2 * (17 - 3)
    assert "--seeds 17" in runs(found)


def test_an_effect_that_would_take_too_many_replicates_is_left_open() -> None:
    # d = 0.5 takes 64.
    found = one_deviation((22, 24, 26), (21, 23, 25), margin=0.5)
    assert Advice(found).replicates[0].replicates is None
    assert "more than 50 replicates" in runs(found)


def test_a_path_needs_more_seeds_than_replicates() -> None:
    path = report(record(2, "path", order_seeds=(9,)), ResponseSurface((-4.0, -2.0)))
    assert seeds_for(two(), 5) == 5
    # Of seven seeds a third, two, decide the order: five are left.
    assert seeds_for(path, 5) == 7


def test_single_runs_ask_for_a_second_seed() -> None:
    found = report(record(2, "both_ends", seeds=(1,)), ResponseSurface((-4.0, -2.0)))
    assert "--seeds 2" in runs(found)
    assert "Mend" not in changes(found)


def test_the_cause_of_divergence_is_what_all_diverged_cells_have_in_common() -> None:
    explanation = record(2)
    values = {
        (0, 0): (30, 31, 32),
        (1, 0): (20, 22, 21),
        (0, 1): (None, 29, None),
        (1, 1): (None, None, 17),
    }
    found = ExplanationReport(explanation, pd.DataFrame(cell_rows(explanation, values)))
    assert Advice(found).causes_of_divergence == ("batch_size",)
    assert "4 trials diverged, all with your batch_size" in runs(found)


def test_missing_trials_and_failed_ones_are_named_first() -> None:
    explanation = record(2, "both_ends", seeds=(1,))
    rows = cell_rows(explanation, {(0, 0): (30,), (1, 1): (20,)})
    rows.append({**rows[0], "trial_id": "x", "batch_size": "2", "status": "failed"})
    found = ExplanationReport(explanation, pd.DataFrame(rows))
    lines = run_lines(found, Advice(found))
    assert lines[0].startswith("2 trials that the design still waits for")
    assert "1 failed trial again (--retry failed)" in lines[1]


def test_deviations_of_the_evaluation_get_their_command() -> None:
    assert (
        "python -m odapi_repro.run --pipeline my.config --ablate score_threshold "
        "--levels 1e-08,0.3 --checkpoint" in runs(two())
    )
    with_subsets = report(evaluation=evaluation_table())
    assert "See the section on fewer images" in runs(with_subsets)


def test_what_the_proxy_cannot_vary_asks_for_full_scale() -> None:
    assert "checkpoint: proxy scale cannot vary it; --scale full would." in runs(two())


def test_an_equivalent_deviation_needs_no_change() -> None:
    found = one_deviation((30.0, 30.1, 30.2), (30.0, 30.1, 30.19), margin=2.0)
    assert "No need to change (equivalent within ±2 points): train_shards." in changes(found)


def test_resolved_interactions_are_told_in_words() -> None:
    found = report(record(3), ResponseSurface((-6.0, -3.0, -2.0), {(0, 1): 5.0}))
    assert "train_shards and batch_size together cost" in interaction_lines(found)[0]
    assert "less than the sum of both" in interaction_lines(found)[0]


def test_both_ends_tell_that_a_deviation_interacts_and_what_would_tell_with_which() -> None:
    found = report(record(4, "both_ends"), ResponseSurface((-6.0, -3.0, -2.0, 0.0), {(0, 1): 6.0}))
    lines = interaction_lines(found)
    assert {line.split(" does not act alone")[0] for line in lines[:2]} == {
        *("train_shards", "batch_size"),
    }
    # Of 16 cells both ends have run 10, so that 6 cells of 3 seeds are left.
    assert "--design shapley would show it, for 18 more trials (of 48; 30 have run)" in lines[-1]


def test_a_grid_of_the_corners_tells_interactions_without_a_new_trial() -> None:
    found = report(grid_record(), ResponseSurface((-3.0, -1.0)))
    assert interaction_table(found) is None
    assert "--design shapley would show it, without a new trial" in interaction_lines(found)[-1]


def test_a_fraction_names_what_it_cannot_tell_apart() -> None:
    surface = ResponseSurface((*CASE.main, -1.0, 0.0), {(0, 1): 6.0}, sd=lambda _: 0.3)
    lines = interaction_lines(report(record(6, "fractional"), surface))
    assert "(or " in lines[0]
    assert "which this fraction cannot tell from it" in lines[0]
