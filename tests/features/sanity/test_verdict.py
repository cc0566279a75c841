"""What sanity training says of what it has seen: every verdict, and what tips it."""

from __future__ import annotations

import dataclasses

import pytest

from odapi_repro.features.sanity.sanity_verdict import (
    Change,
    Outcome,
    Point,
    Run,
    Score,
    judge,
    learned,
    needs_safe_rate,
    nothing_to_hold,
)


def run(name: str, *aps: float, status: str = "succeeded", rate: float = 0.2) -> Run:
    steps = 60
    points = tuple(Point(round(steps * i / max(1, len(aps) - 1)), ap) for i, ap in enumerate(aps))
    return Run(
        name=name,
        trial_id="0" * 12,
        status=status,
        message="loss nan at step 7 of 60" if status == "diverged" else "",
        steps_done=steps,
        num_steps=steps,
        global_batch_size=16,
        peak_rate=rate,
        known_rate=0.2,
        rate_note="",
        points=points,
    )


def outcome(**changes: object) -> Outcome:
    """A run in which all is well."""
    good = Outcome(
        scale="proxy",
        checkpoint="the proxy reference",
        own_ap=25.0,
        on_eval=Score(25.0, 1.5, 160),
        on_train=Score(27.0, 1.5, 160),
        hold=run("hold", 25.0, 25.5, 26.0, rate=0.002),
        hold_change=Change(1.0, -0.3, 2.3),
        overfit=run("overfit", 30.0, 45.0, 70.0),
    )
    return dataclasses.replace(good, **changes)


def test_good_data_and_a_schedule_that_learns_are_sound() -> None:
    verdict = judge(outcome())
    assert verdict.causes == ("sound",)
    assert not verdict.is_fault
    assert len(verdict.reasons) == 4


def test_a_checkpoint_that_nothing_to_hold_in_training_records_only_blames_their_labels() -> None:
    verdict = judge(outcome(on_train=Score(0.4, 0.1, 160)))
    assert verdict.causes == ("training_data",)
    assert verdict.is_fault
    assert any("0.4" in reason for reason in verdict.reasons)
    assert any("data check" in step for step in verdict.next_steps)


def test_labels_that_agree_a_little_less_decide_nothing() -> None:
    verdict = judge(outcome(on_train=Score(18.0, 1.5, 160)))
    assert verdict.causes == ("undecided",)
    assert "training labels" in verdict.headline


def test_a_checkpoint_that_nothing_to_hold_in_evaluation_records_only_blames_those() -> None:
    verdict = judge(
        outcome(on_eval=Score(0.3, 0.1, 160), hold=None, hold_change=None, no_hold="nothing there")
    )
    assert verdict.causes == ("evaluation_data",)


def test_a_checkpoint_known_to_be_good_that_nothing_to_hold_anywhere_blames_what_both_share() -> (
    None
):
    nothing = Score(0.3, 0.1, 160)
    verdict = judge(outcome(on_eval=nothing, on_train=nothing, hold=None, hold_change=None))
    assert verdict.causes == ("evaluation_data", "training_data")
    assert any("label map" in reason for reason in verdict.reasons)


def test_a_checkpoint_of_unknown_quality_that_nothing_to_hold_anywhere_decides_nothing() -> None:
    nothing = Score(0.3, 0.1, 160)
    verdict = judge(
        outcome(own_ap=None, on_eval=nothing, on_train=nothing, hold=None, hold_change=None)
    )
    assert verdict.causes == ("undecided",)
    assert any("`evaluate`" in step for step in verdict.next_steps)


def test_labels_of_swapped_classes_leave_some_ap_and_are_told_all_the_same() -> None:
    """A quarter of the AP was left in the embedded set when every class was drawn anew."""
    left = Score(6.5, 0.3, 160)
    assert judge(outcome(on_train=left)).causes == ("training_data",)
    assert judge(outcome(on_eval=left)).causes == ("evaluation_data",)


def test_a_checkpoint_of_unknown_quality_that_knows_its_training_images_best_decides_nothing() -> (
    None
):
    verdict = judge(outcome(own_ap=None, on_eval=Score(10.0, 1.0, 160)))
    assert verdict.causes == ("undecided",)
    assert any("by heart" in reason for reason in verdict.reasons)


def test_ap_that_falls_though_the_labels_agree_blames_what_training_makes_of_the_images() -> None:
    verdict = judge(outcome(hold_change=Change(-12.0, -14.0, -10.0)))
    assert verdict.causes == ("training_input",)
    assert any("batch-norm" in reason for reason in verdict.reasons)


def test_a_fall_that_the_images_cannot_tell_from_none_decides_nothing() -> None:
    verdict = judge(outcome(hold_change=Change(-6.0, -12.5, 0.5)))
    assert verdict.causes == ("undecided",)


def test_a_hold_that_diverges_blames_the_training_records() -> None:
    verdict = judge(outcome(hold=run("hold", status="diverged"), hold_change=None))
    assert verdict.causes == ("training_data",)


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(run("overfit", 30.0, status="diverged", rate=4.0), id="diverges"),
        pytest.param(run("overfit", 30.0, 5.0, 1.0, rate=4.0), id="falls"),
    ],
)
def test_a_rate_that_fails_where_a_lower_one_learns_blames_the_schedule(own: Run) -> None:
    safe = run("overfit_safe", 30.0, 50.0, 60.0, rate=0.05)
    verdict = judge(outcome(overfit=own, overfit_safe=safe))
    assert verdict.causes == ("schedule",)
    assert any(step.startswith("Lower the peak rate: 0.2") for step in verdict.next_steps)


def test_a_rate_too_low_to_learn_is_told_to_rise() -> None:
    own = run("overfit", 30.0, 30.5, 31.0, rate=0.0001)
    safe = run("overfit_safe", 30.0, 50.0, 60.0, rate=0.05)
    verdict = judge(outcome(overfit=own, overfit_safe=safe))
    assert verdict.causes == ("schedule",)
    assert any(step.startswith("Raise the peak rate") for step in verdict.next_steps)


def test_images_that_no_rate_learns_do_not_blame_the_schedule() -> None:
    own = run("overfit", 30.0, 31.0, 32.0)
    safe = run("overfit_safe", 30.0, 30.0, 31.0, rate=0.05)
    verdict = judge(outcome(overfit=own, overfit_safe=safe))
    assert verdict.causes == ("undecided",)
    assert any("Neither rate" in reason for reason in verdict.reasons)


def test_two_faults_are_both_named_data_first() -> None:
    own = run("overfit", 0.2, status="diverged", rate=4.0)
    safe = run("overfit_safe", 0.2, 20.0, 40.0, rate=0.05)
    verdict = judge(outcome(on_train=Score(0.4, 0.1, 160), overfit=own, overfit_safe=safe))
    assert verdict.causes == ("training_data", "schedule")


def test_without_a_checkpoint_the_labels_stay_untested_and_the_verdict_says_so() -> None:
    alone = Outcome(
        scale="proxy", no_hold="no checkpoint was named", overfit=run("overfit", 0.0, 20.0, 40.0)
    )
    verdict = judge(alone)
    assert verdict.causes == ("undecided",)
    assert "labels" in verdict.headline
    assert "Labels and hold: not tested, no checkpoint was named." in verdict.reasons


def test_nothing_yet_is_undecided_and_not_sound() -> None:
    assert judge(Outcome(scale="proxy")).causes == ("undecided",)


def test_a_smoke_run_decides_nothing_whatever_it_saw() -> None:
    assert judge(outcome(scale="smoke", on_train=Score(0.0, 0.0, 16))).causes == ("undecided",)


def test_a_training_that_failed_decides_nothing() -> None:
    failed = dataclasses.replace(run("overfit", status="failed"), message="out of memory")
    verdict = judge(outcome(overfit=failed))
    assert verdict.causes == ("undecided",)
    assert any("out of memory" in reason for reason in verdict.reasons)


def test_images_known_by_heart_from_the_start_count_as_learned() -> None:
    assert learned(run("overfit", 88.0, 91.0, 93.0)) is True


def test_a_known_rate_is_tried_only_where_the_own_one_failed() -> None:
    assert not needs_safe_rate(outcome())
    assert needs_safe_rate(outcome(overfit=run("overfit", 30.0, status="diverged")))
    assert not needs_safe_rate(outcome(overfit=run("overfit", status="failed")))


def test_a_checkpoint_far_below_its_own_score_nothing_to_hold() -> None:
    assert nothing_to_hold(outcome(own_ap=45.0, on_eval=Score(6.0, 1.0, 160)))
    assert not nothing_to_hold(outcome(own_ap=None, on_eval=Score(6.0, 1.0, 160)))
