"""Explanations run, stop, go on and price themselves; the worker is fake, the store is real."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_trials import fake_executor, plan_of, run_trials, small_data
from issue_10530 import REFERENCE, issue_10530

from odapi_repro.analysis.attribution import ATTRIBUTION_COLUMNS
from odapi_repro.analysis.effect import effects_frame
from odapi_repro.features.explain.designs import attribute
from odapi_repro.features.explain.explain_plan import (
    ExplainRequest,
    ExplanationPlan,
    plan_explanation,
)
from odapi_repro.features.explain.explain_plan_page import price_explanation, replicate_spread
from odapi_repro.features.explain.explain_trials import ExplanationTrials, subset_table
from odapi_repro.trials.trial_loop import OneSlot, TrialLoop

# Two deviations, so that trials are few: the batch and the rate.
HELD = ("train_shards", "schedule_length", "warmup")


def planned(**changes: Any) -> ExplanationPlan:
    fields: dict[str, Any] = {
        "study": "mine",
        "command": "explain",
        "reference_name": "efficientdet_d3",
        "reported": (),
        "metric": "AP",
        "design": "shapley",
        "seeds": 2,
        "held": HELD,
        "scale": "proxy",
        "num_steps": None,
        "num_replicas": 1,
        "device": "cpu",
        "deterministic": True,
        "checkpoint": None,
        "sample_1_of_n_eval_examples": None,
        **changes,
    }
    request = ExplainRequest(**fields)
    return plan_explanation(issue_10530(), REFERENCE.pipeline(), small_data(), request)


def trials_in(runs_dir: Path, **changes: Any) -> ExplanationTrials:
    return ExplanationTrials(planned(**changes), fake_executor(runs_dir).store)


def run(trials: ExplanationTrials, **options: Any) -> tuple[str, int]:
    """Runs what is left and gives why it stopped and how many trials it started."""
    started = []

    def on_event(trial: Any, event: dict[str, Any]) -> None:
        if event["event"] == "trial_started":
            started.append(trial.trial_id)

    executor = fake_executor(trials.store.runs_dir)
    loop = TrialLoop(trials, trials.store, OneSlot(executor.run), on_event, **options)
    return loop.run(), len(started)


def effects(trials: ExplanationTrials) -> pd.DataFrame:
    return effects_frame(attribute(trials.plan.design, trials.outcomes).rows, ATTRIBUTION_COLUMNS)


def test_a_design_is_run_to_its_end_and_never_again(tmp_path: Path) -> None:
    assert run(trials_in(tmp_path)) == ("done", 8)
    assert run(trials_in(tmp_path)) == ("done", 0)


def test_another_design_and_another_study_reuse_the_trials(tmp_path: Path) -> None:
    executor = fake_executor(tmp_path)
    trials = plan_of("batch_size", seeds=2).trials
    run_trials(trials, executor.store, executor, lambda *_: None)
    # The study of one factor has run the reference and the batch of 2 (of 16, 4 and 2).
    assert run(trials_in(tmp_path)) == ("done", 4)
    assert run(trials_in(tmp_path, design="both_ends")) == ("done", 0)


@pytest.mark.parametrize("design", ["shapley", "bisection"])
def test_stopped_after_any_trial_it_goes_on_to_the_same_attribution(
    tmp_path: Path, design: str
) -> None:
    whole = trials_in(tmp_path / "whole", design=design, seeds=3)
    assert run(whole)[0] == "done"
    stops = 0
    while True:
        pieces = trials_in(tmp_path / "pieces", design=design, seeds=3)
        stop, _ = run(pieces, max_trials=1)
        if stop == "done":
            break
        assert stop == "budget"
        stops += 1
    assert stops >= 3
    pd.testing.assert_frame_equal(effects(pieces), effects(whole))


def test_a_deleted_trial_is_run_again_to_the_same_numbers(tmp_path: Path) -> None:
    first = trials_in(tmp_path)
    run(first)
    victim = first.plan.trial(first.plan.design.user, 2)
    shutil.rmtree(first.store.folder(victim.trial_id))
    again = trials_in(tmp_path)
    assert run(again) == ("done", 1)
    pd.testing.assert_frame_equal(effects(again), effects(first))


def test_failed_trials_end_the_run_and_are_retried_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WORKER", '{"2": "fail"}')
    trials = trials_in(tmp_path)
    assert run(trials) == ("failed", 8), "one that fails does not keep the next from running"
    states = [trials.store.state(name).state for name in trials.trial_ids]
    assert states.count("failed") == 4
    assert list(trials.table["status"]).count("failed") == 4
    monkeypatch.delenv("FAKE_WORKER")
    assert run(trials_in(tmp_path)) == ("failed", 0), "nor is it run again unasked"
    assert run(trials_in(tmp_path), retry_failed=True) == ("done", 4)


def test_divergence_is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_WORKER", '{"1": "diverge"}')
    trials = trials_in(tmp_path)
    assert run(trials) == ("done", 8)
    assert trials.outcomes.diverged(trials.plan.design.user) == 1
    rows = effects(trials)
    assert set(rows["estimand"]) == {"ap_or_0", "given_convergence"}


def test_the_price_counts_what_has_run(tmp_path: Path) -> None:
    trials = trials_in(tmp_path)
    before = price_explanation(trials)
    assert (before.left_min, before.left_max, before.finished) == (8, 8, 0)
    assert before.seconds_each
    assert replicate_spread(trials.plan, trials.store) is None
    run(trials, max_trials=5)
    after = price_explanation(trials_in(tmp_path))
    assert (after.left_min, after.finished) == (3, 5)


def test_the_spread_between_seeds_is_pooled_over_cells_of_the_same_training(
    tmp_path: Path,
) -> None:
    trials = trials_in(tmp_path, seeds=3)
    run(trials)
    spread = replicate_spread(trials.plan, trials.store)
    assert spread is not None
    # The fake AP is 20 + batch / 10 + seed / 100: 0.01 between seeds 1, 2 and 3 of each cell.
    assert spread.sd == pytest.approx(0.01)
    assert (spread.df, spread.cells) == (8, 4)


def test_a_race_adds_replicates_only_within_its_trials(tmp_path: Path) -> None:
    trials = trials_in(tmp_path, race=True, race_trials=0)
    assert run(trials) == ("done", 8)


def test_the_users_share_of_the_evaluation_images_is_scored_without_training(
    tmp_path: Path,
) -> None:
    trials = trials_in(tmp_path)
    assert subset_table(trials) is None, "nothing has run"
    run(trials)
    table = subset_table(trials)
    assert table is not None
    assert list(table["cell"]) == ["reference", "reference", "user", "user"]
    # Six images: fewer than the twenty that parts have at least.
    assert set(table["images"]) == {6}
    # The fake worker detects nothing.
    assert set(table["mean_delta"]) == {0.0}
