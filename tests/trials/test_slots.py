"""However many trials go on at once and in whatever order they end, a study comes to the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_trials import plan_of, small_data
from issue_10530 import REFERENCE, issue_10530

from odapi_repro.analysis.attribution import ATTRIBUTION_COLUMNS
from odapi_repro.analysis.effect import effects_frame
from odapi_repro.features.explain.designs import attribute
from odapi_repro.features.explain.explain_plan import ExplainRequest, plan_explanation
from odapi_repro.features.explain.explain_trials import ExplanationTrials
from odapi_repro.files import write_json
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_loop import Course, PlannedTrials, TrialLoop
from odapi_repro.trials.trial_store import TrialState, TrialStore

SLOTS = (1, 2, 3, 7)


class Slots:
    """Trials that end in any order, with an AP that follows from what they are.

    Args:
        store: keeps their states.
        slots: how many go on at once.
        seed: of the order.
    """

    def __init__(self, store: TrialStore, slots: int, seed: int) -> None:
        self.slots = slots
        self.started: list[str] = []
        self.most = 0
        self._store = store
        self._going: list[Trial] = []
        self._rng = random.Random(seed)

    def start(self, unit: Trial, on_event: Any) -> None:
        assert len(self._going) < self.slots
        self._going.append(unit)
        self.started.append(unit.trial_id)
        self.most = max(self.most, len(self._going))

    def wait(self) -> tuple[Trial, TrialState]:
        trial = self._going.pop(self._rng.randrange(len(self._going)))
        folder = self._store.folder(trial.trial_id)
        folder.mkdir(parents=True)
        ap = 40 * random.Random(trial.trial_id).random()
        write_json(folder / "metrics.json", {"metrics": {"AP": ap}, "num_images": 6})
        state = TrialState("succeeded", step=trial.num_steps)
        self._store.set_state(trial.trial_id, state)
        return trial, state


def end(design: Any, store: TrialStore, slots: int, seed: int) -> Slots:
    """Runs a design to its end; nothing is started twice, and no slot stays empty for nothing."""
    executor = Slots(store, slots, seed)
    loop = TrialLoop(design, store, executor, lambda *_: None)
    assert loop.run() == "done"
    assert len(set(executor.started)) == len(executor.started)
    return executor


def explanation(runs: Path, design: str, **changes: Any) -> ExplanationTrials:
    fields: dict[str, Any] = {
        "study": "mine",
        "command": "explain",
        "reference_name": "efficientdet_d3",
        "reported": (),
        "metric": "AP",
        "design": design,
        "seeds": 3,
        "scale": "proxy",
        "num_steps": None,
        "num_replicas": 1,
        "device": "cpu",
        "deterministic": True,
        "checkpoint": None,
        "sample_1_of_n_eval_examples": None,
        "held": ("schedule_length", "warmup"),
        **changes,
    }
    plan = plan_explanation(
        issue_10530(), REFERENCE.pipeline(), small_data(), ExplainRequest(**fields)
    )
    return ExplanationTrials(plan, TrialStore(runs))


@pytest.mark.parametrize(
    ("design", "changes"),
    [
        ("both_ends", {}),
        ("shapley", {}),
        ("sampled_shapley", {"orders": 2}),
        ("factorial", {}),
        ("fractional", {"resolution": 3}),
        ("grid", {}),
        ("path", {}),
        ("bisection", {}),
        ("both_ends", {"race": True}),
        ("path", {"race": True, "seeds": 4}),
    ],
)
def test_a_design_asks_for_the_same_cells_and_gives_the_same_estimates(
    tmp_path: Path, design: str, changes: dict[str, Any]
) -> None:
    found = []
    for slots in SLOTS:
        trials = explanation(tmp_path / str(slots), design, **changes)
        executor = end(trials, trials.store, slots, seed=slots)
        assert executor.most == min(slots, executor.most) > 0
        rows = effects_frame(
            attribute(trials.plan.design, trials.outcomes).rows, ATTRIBUTION_COLUMNS
        )
        found.append((sorted(executor.started), rows, sorted(trials.table["trial_id"])))
    for started, rows, table in found[1:]:
        assert started == found[0][0]
        assert table == found[0][2]
        pd.testing.assert_frame_equal(rows, found[0][1])


@pytest.mark.parametrize("slots", SLOTS)
def test_a_plain_study_fills_its_slots_in_the_order_of_its_plan(tmp_path: Path, slots: int) -> None:
    plan = plan_of("batch_size", seeds=3)
    executor = end(PlannedTrials(plan.trials), TrialStore(tmp_path), slots, seed=1)
    assert executor.started == [trial.trial_id for trial in plan.trials]
    assert executor.most == min(slots, len(plan.trials))


@pytest.mark.parametrize("slots", SLOTS)
def test_a_course_has_one_trial_at_a_time_however_many_slots_there_are(
    tmp_path: Path, slots: int
) -> None:
    trials = plan_of("batch_size", seeds=1).trials
    heard = []

    def steps() -> Any:
        for trial in trials:
            state = yield trial
            heard.append(state.state)

    store = TrialStore(tmp_path)
    executor = end(Course(steps(), store), store, slots, seed=1)
    assert executor.most == 1
    assert heard == ["succeeded"] * len(trials)


def test_a_decision_waits_for_all_that_it_rests_on(tmp_path: Path) -> None:
    """Of three slots two stay empty while the last trial of a round goes on."""
    trials = explanation(tmp_path, "path")
    first = {one.trial_id for one in trials.wanted()}
    executor = Slots(trials.store, 3, 5)
    wait: Callable[[], Any] = executor.wait

    def watched() -> Any:
        started = set(executor.started)
        settled = {name for name in first if trials.store.state(name).state == "succeeded"}
        assert started <= first or settled == first
        return wait()

    executor.wait = watched  # type: ignore[method-assign]
    assert TrialLoop(trials, trials.store, executor, lambda *_: None).run() == "done"
    assert set(executor.started) > first
