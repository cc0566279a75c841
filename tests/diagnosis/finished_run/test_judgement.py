"""What a history says: plateau, divergence, wrong rates, best and last, steps that are missing."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_writers import write_training, write_training_checkpoint

from odapi_repro.diagnosis.finished_run import (
    Evaluation,
    RunHistory,
    applied_lr_mismatch,
    best_and_last,
    divergence,
    loss_plateau,
    read_run,
    steps_missing,
    steps_not_saved,
)
from odapi_repro.pipeline import parse_pipeline, read_schedule

COSINE = """
model { ssd {} }
train_config { optimizer { momentum_optimizer { learning_rate { cosine_decay_learning_rate {
  learning_rate_base: 0.2 total_steps: 220 warmup_learning_rate: 0.0025 warmup_steps: 22 } } } } }
"""
# The rates that the OD API itself logged for this schedule, every twenty steps (TensorFlow 2.20).
LOGGED = (
    (20, 0.18204544484615326), (40, 0.19594930112361908), (60, 0.18236766755580902),
    (80, 0.1605609655380249), (100, 0.13270680606365204), (120, 0.10158659517765045),
    (140, 0.07030796259641647), (160, 0.041994303464889526), (180, 0.01947297528386116),
    (200, 0.004992890637367964), (220, 0.0),
)  # fmt: skip
# Classification losses of two real trainings of the embedded shapes, every twenty steps.
TRAINED = (1.12, 0.92, 0.76, 0.70, 0.63, 0.55, 0.59, 0.55, 0.56, 0.54, 0.55)
HARDLY_TRAINED = (
    1.14, 0.97, 0.84, 0.97, 1.07, 0.76, 1.04, 0.82, 1.01, 0.86, 0.85, 0.82, 0.73, 1.07, 0.95, 0.81,
    0.77, 0.69, 0.71, 0.73, 0.67, 0.70,
)  # fmt: skip


def history(
    losses: Sequence[float] = (),
    *,
    name: str = "classification_loss",
    rates: tuple[tuple[int, float], ...] = (),
    evaluations: Sequence[Evaluation] = (),
    nonfinite: int | None = None,
) -> RunHistory:
    points = tuple((100 * place, value) for place, value in enumerate(losses, start=1))
    return RunHistory(
        path=Path("run"),
        steps_reached=100 * len(losses) or None,
        learning_rates=rates,
        losses={name: points} if points else {},
        first_nonfinite_step=nonfinite,
        first_nonfinite_losses=(name,) if nonfinite else (),
        steps_per_second=None,
        evaluations=tuple(evaluations),
        images_evaluated=None,
        images_evaluated_bounds=None,
        evaluation_stopped_by="",
        checkpoints=(),
        restarts=0,
        config_path=None,
        damage=(),
    )


def evaluation(step: int, ap: float | None, reader: str = "") -> Evaluation:
    return Evaluation(step, {} if ap is None else {"AP": ap}, {}, {}, reader)


@pytest.mark.parametrize("losses", [TRAINED, HARDLY_TRAINED])
def test_trainings_that_learnt_something_have_left_the_plateau(losses: Sequence[float]) -> None:
    assert loss_plateau(history(losses)) is None


def test_a_loss_that_stays_around_one_is_a_plateau() -> None:
    noise = random.Random(0)
    flat = [1.1 - 0.1 * place / 300 + noise.uniform(-0.3, 0.3) for place in range(300)]
    plateau = loss_plateau(history(flat))
    assert plateau is not None
    assert plateau.loss == "classification_loss"
    assert plateau.start_level == pytest.approx(1.1, abs=0.25)
    assert 0 <= plateau.fall < 0.25
    assert (plateau.first_step, plateau.last_step, plateau.reports) == (100, 30_000, 300)


@given(
    st.lists(st.floats(0.01, 10.0), min_size=6, max_size=40),
    st.floats(1e-3, 1e3),
)
def test_the_plateau_does_not_depend_on_the_scale_of_the_loss(
    losses: list[float], scale: float
) -> None:
    one, other = loss_plateau(history(losses)), loss_plateau(history([scale * x for x in losses]))
    if one is None or other is None:
        # Exactly on the limit, rounding decides.
        near = one or other
        assert near is None or near.fall == pytest.approx(0.25, abs=1e-6)
    else:
        assert one.fall == pytest.approx(other.fall, abs=1e-6)


def test_a_late_fall_leaves_the_plateau_and_a_single_low_report_does_not() -> None:
    assert loss_plateau(history([1.0] * 40 + [0.5] * 10)) is None
    assert loss_plateau(history([1.0] * 40 + [0.1] + [1.0] * 10)) is not None


def test_too_few_reports_tell_nothing() -> None:
    assert loss_plateau(history([1.0] * 5)) is None
    assert loss_plateau(history([1.0] * 5 + [math.nan] * 9)) is None
    assert loss_plateau(history()) is None


def test_the_total_is_judged_without_the_regularisation(tmp_path: Path) -> None:
    weights = [9.0 * 0.5**place for place in range(15)]
    reports = [
        (100 * place, 0.1, {"total_loss": 2.0 + decay, "regularization_loss": decay})
        for place, decay in enumerate(weights, start=1)
    ]
    write_training(tmp_path, reports)
    plateau = loss_plateau(read_run(tmp_path))
    assert plateau is not None
    assert plateau.loss == "total_loss"
    assert plateau.start_level == pytest.approx(2.0)


def test_the_rates_that_the_od_api_logged_are_the_schedule_s_at_the_same_step() -> None:
    schedule = read_schedule(parse_pipeline(COSINE).proto)
    run = history(rates=LOGGED)
    assert applied_lr_mismatch(run, schedule.at, tolerance=1e-5) is None
    # One step earlier is another rate: this is what the index means.
    assert applied_lr_mismatch(run, lambda step: schedule.at(step - 1), tolerance=1e-5) is not None


def test_the_largest_difference_of_the_rates_is_told_with_its_step() -> None:
    found = applied_lr_mismatch(
        history(rates=((100, 0.1), (200, 0.05), (300, 0.1))), lambda step: 0.1
    )
    assert found is not None
    assert (found.step, found.logged, found.expected) == (200, 0.05, 0.1)
    assert found.relative == pytest.approx(0.5)
    assert (found.reports_off, found.reports) == (1, 3)


@pytest.mark.parametrize("rates", [(), ((1, 0.0),), ((1, math.nan),)])
def test_without_a_rate_to_compare_nothing_differs(rates: tuple[tuple[int, float], ...]) -> None:
    assert applied_lr_mismatch(history(rates=rates), lambda step: 0.0) is None
    assert applied_lr_mismatch(history(rates=rates), lambda step: math.nan) is None


def test_a_nan_is_a_divergence_between_two_reports() -> None:
    found = divergence(history([1.0, 0.9, math.nan], nonfinite=300))
    assert found is not None
    assert (found.kind, found.step, found.last_good_step) == ("not_finite", 300, 200)


def test_a_total_loss_that_stays_high_to_the_end_has_exploded() -> None:
    found = divergence(history([1.0] * 10 + [50.0, 80.0, 1e6], name="total_loss"))
    assert found is not None
    assert (found.kind, found.step, found.last_good_step) == ("exploded", 1100, 1000)


@pytest.mark.parametrize(
    "losses",
    [
        [1.0] * 10 + [8.17, 0.96],  # a spike of a real training, at batch 2
        [1.0] * 10 + [0.9, 50.0],
        [9.0, 8.0, 7.0, 3.0, 1.0, 0.9, 0.8, 3.0, 3.1, 3.0],  # worse again, below its start
        list(TRAINED),
        [],
    ],
)
def test_spikes_and_setbacks_are_no_divergence(losses: list[float]) -> None:
    assert divergence(history(losses, name="total_loss")) is None


def test_best_and_last_are_of_the_reader_that_was_evaluated_last() -> None:
    run = history(
        evaluations=[
            evaluation(100, 20.0, "val"),
            evaluation(200, 30.0, "val"),
            evaluation(300, 99.0, "train"),
            evaluation(400, 25.0, "val"),
            evaluation(500, None, "val"),
        ]
    )
    found = best_and_last(run)
    assert found is not None
    assert (found.best.step, found.last.step, found.lost) == (200, 400, 5.0)
    other = best_and_last(run, reader="train")
    assert other is not None
    assert other.lost == 0.0
    assert best_and_last(run, "mask_AP") is None
    assert best_and_last(run, reader="absent") is None


def test_missing_and_unsaved_steps_are_counted(tmp_path: Path) -> None:
    write_training(tmp_path, [(1500, 0.1, {"total_loss": 1.0})])
    assert steps_not_saved(read_run(tmp_path)) == 1500
    write_training_checkpoint(tmp_path, 2, 1000)
    run = read_run(tmp_path)
    assert steps_not_saved(run) == 500
    assert steps_missing(run, 2000) == 500
    assert steps_missing(run, 1500) == 0
    assert steps_missing(history(), 10) == 10
