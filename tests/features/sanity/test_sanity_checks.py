"""Which trainings a sanity run takes, in what order, and what is left when one ends early."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_trials import EFFICIENTDET, small_data
from run_writers import write_training_checkpoint

from odapi_repro.evaluation.inference.evaluation_job import PLAIN
from odapi_repro.factors import factor_named
from odapi_repro.features.sanity import sanity_checks as scores
from odapi_repro.features.sanity.sanity_checks import SanityChecks
from odapi_repro.features.sanity.sanity_inputs import few_images
from odapi_repro.features.sanity.sanity_record import SanityJob
from odapi_repro.features.sanity.sanity_trainings import SanityTrainings
from odapi_repro.features.sanity.sanity_verdict import judge
from odapi_repro.files import write_json
from odapi_repro.pipeline import load_pipeline
from odapi_repro.trials.evaluations.evaluation_spec import EvaluationRequest
from odapi_repro.trials.groundwork import TrialConditions, lay_groundwork
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_loop import Course, OneSlot, TrialLoop
from odapi_repro.trials.trial_store import TrialState, TrialStore

SUPPORT = Path(__file__).parents[2] / "support"
FAKE_CHILD = (sys.executable, str(SUPPORT / "fake_evaluation_child.py"))
CONDITIONS = TrialConditions(
    scale="proxy",
    num_steps=None,
    num_replicas=1,
    device="cpu",
    deterministic=True,
    checkpoint=None,
    sample_1_of_n_eval_examples=None,
)


class FakeExecutor:
    """Leaves what a training leaves: state, metrics, detections, losses and checkpoints.

    Args:
        store: of the trials.
        endings: check -> AP after it, or the state it ends in instead.
    """

    def __init__(self, store: TrialStore, endings: Mapping[str, float | str]) -> None:
        self.store = store
        self.endings = endings
        self.ran: list[str] = []

    def run(self, trial: Trial, on_event: Any) -> TrialState:
        check = trial.cell["check"]
        self.ran.append(check)
        ending = self.endings.get(check, 60.0)
        folder = self.store.prepare(trial).folder
        if ending == "interrupt":
            self.store.set_state(trial.trial_id, TrialState("interrupted", "by the user"))
            raise KeyboardInterrupt
        (folder / "losses.csv").write_text("step,total_loss\n10,2.5\n20,1.5\n")
        if isinstance(ending, str):
            state = TrialState(ending, "loss nan at step 7", 7)
        else:
            state = TrialState("succeeded", step=trial.num_steps)
            for number, step in enumerate((0, trial.num_steps // 2, trial.num_steps), start=1):
                write_training_checkpoint(folder, number, step)
            metrics = {"metrics": {"AP": ending}, "num_images": 6}
            write_json(folder / "metrics.json", metrics)
            (folder / "detections.json.gz").write_bytes(EMPTY_RESULTS)
        self.store.set_state(trial.trial_id, state)
        return state


EMPTY_RESULTS = b"[]"


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "RESAMPLES", 20)


@pytest.fixture
def child_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialStore:
    """A store whose checkpoints are evaluated by a fake child process."""
    monkeypatch.setenv("FAKE_EVALUATION_LOG", str(tmp_path / "made.txt"))
    return TrialStore(tmp_path / "runs")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialStore:
    """A store whose checkpoints find the first object of each image, in no time."""

    def evaluate(request: EvaluationRequest, on_event: Any) -> Any:
        truth = request.data.truth
        first = {int(image): row for row, image in reversed(list(enumerate(truth.images)))}
        found = [
            {
                "image_id": truth.image_ids[image],
                "category_id": truth.category_ids[truth.categories[row]],
                "bbox": truth.boxes[row].tolist(),
                "score": 0.5,
            }
            for image, row in sorted(first.items())
        ]
        path = tmp_path / f"found-{request.data.digest}.json"
        path.write_text(json.dumps(found))
        return SimpleNamespace(detections={(one.name, PLAIN): path for one in request.passes})

    monkeypatch.setattr(scores, "evaluate_checkpoint", evaluate)
    return TrialStore(tmp_path / "runs")


def job(tmp_path: Path, *, reference: bool = True, **at: str) -> SanityJob:
    pipeline, data = load_pipeline(EFFICIENTDET), small_data()
    setting = lay_groundwork(pipeline, data, CONDITIONS).setting
    levels = {name: factor_named(name).parse_level(at[name], setting) for name in at}
    return SanityJob(
        trainings=SanityTrainings(pipeline, CONDITIONS, levels),
        data=data,
        few=few_images(data, cache=tmp_path),
        source=None,
        reference_data=data if reference else None,
        no_hold="" if reference else "no checkpoint",
    )


def runner(
    todo: SanityJob, store: TrialStore, executor: FakeExecutor, **options: Any
) -> tuple[SanityChecks, Callable[[], Any]]:
    """The checks, and what runs them."""
    checks = SanityChecks(todo, store, lambda _: None, worker=FAKE_CHILD, **options)
    design = Course(checks.steps(), store)
    return checks, TrialLoop(design, store, OneSlot(executor.run), lambda *_: None).run


def made(tmp_path: Path) -> int:
    log = tmp_path / "made.txt"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_a_good_set_is_trained_on_three_times_and_gives_curves(
    tmp_path: Path, store: TrialStore
) -> None:
    executor = FakeExecutor(store, {"overfit": 95.0})
    one, run = runner(job(tmp_path), store, executor)
    run()
    assert executor.ran == ["reference", "hold", "overfit"]
    outcome = one.outcome
    assert outcome.hold is not None
    assert outcome.overfit is not None
    assert [point.step for point in outcome.hold.points] == [0, 30, 60]
    assert [point.step for point in outcome.overfit.points] == [0, 40, 80]
    assert outcome.overfit.points[-1].ap == 95.0
    assert outcome.on_eval is not None
    assert outcome.on_train is not None
    assert outcome.on_train.ap > 10
    assert outcome.overfit.losses == ((10, 2.5), (20, 1.5))
    assert outcome.own_ap == 60.0


def test_a_schedule_that_diverges_is_tried_at_a_known_rate(
    tmp_path: Path, store: TrialStore
) -> None:
    executor = FakeExecutor(store, {"overfit": "diverged", "overfit_safe": 95.0})
    asked_for_more: list[int] = []
    more = functools.partial(asked_for_more.append, 1)
    one, run = runner(job(tmp_path, learning_rate="20x"), store, executor, on_more=more)
    assert run() == "done"
    assert executor.ran[-2:] == ["overfit", "overfit_safe"]
    assert asked_for_more == [1]
    assert "schedule" in judge(one.outcome).causes


def test_nothing_is_trained_or_evaluated_twice(tmp_path: Path, child_store: TrialStore) -> None:
    store, alone = child_store, job(tmp_path, reference=False)
    first, run = runner(alone, store, FakeExecutor(store, {"overfit": 95.0}))
    run()
    evaluated = made(tmp_path)
    assert evaluated == 2  # at step 0 and half way; the end is the trial's own
    again = FakeExecutor(store, {})
    second, run = runner(alone, store, again)
    run()
    assert again.ran == []
    assert made(tmp_path) == evaluated
    assert second.outcome == first.outcome


def test_the_schedule_under_test_does_not_repeat_what_is_about_data(
    tmp_path: Path, store: TrialStore
) -> None:
    runner(job(tmp_path), store, FakeExecutor(store, {"overfit": 95.0}))[1]()
    executor = FakeExecutor(store, {"overfit": "diverged", "overfit_safe": 95.0})
    runner(job(tmp_path, learning_rate="20x"), store, executor)[1]()
    assert executor.ran == ["overfit", "overfit_safe"]


def test_an_interrupted_run_keeps_what_is_finished_and_goes_on_there(
    tmp_path: Path, store: TrialStore
) -> None:
    cut, run = runner(job(tmp_path), store, FakeExecutor(store, {"overfit": "interrupt"}))
    with pytest.raises(KeyboardInterrupt):
        run()
    assert cut.outcome.hold is not None
    assert cut.outcome.hold.status == "succeeded"
    assert cut.outcome.overfit is not None
    assert cut.outcome.overfit.status == "interrupted"
    assert judge(cut.outcome).causes != ("sound",)
    executor = FakeExecutor(store, {"overfit": 95.0})
    runner(job(tmp_path), store, executor)[1]()
    assert executor.ran == ["overfit"]


def test_a_reference_that_fails_leaves_the_overfit_and_the_reason(
    tmp_path: Path, store: TrialStore
) -> None:
    executor = FakeExecutor(store, {"reference": "failed", "overfit": 95.0})
    one, run = runner(job(tmp_path), store, executor)
    run()
    assert executor.ran == ["reference", "overfit"]
    assert "failed" in one.outcome.no_hold
    assert store.state(one.trial_ids[0]).state == "failed"


def test_without_a_checkpoint_only_the_overfit_runs(tmp_path: Path, store: TrialStore) -> None:
    executor = FakeExecutor(store, {"overfit": 95.0})
    one, run = runner(job(tmp_path, reference=False), store, executor)
    run()
    assert executor.ran == ["overfit"]
    assert (one.outcome.on_eval, one.outcome.hold) == (None, None)
    assert judge(one.outcome).causes == ("undecided",)


def test_a_checkpoint_that_finds_nothing_is_not_held(
    tmp_path: Path, store: TrialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference says that it had AP 900 on its own images: what it finds here is nothing."""
    executor = FakeExecutor(store, {"reference": 900.0, "overfit": 95.0})
    one, run = runner(job(tmp_path), store, executor)
    run()
    assert executor.ran == ["reference", "overfit"]
    assert judge(one.outcome).causes == ("evaluation_data", "training_data")


def test_a_checkpoint_is_evaluated_on_the_images_that_the_hold_is(
    tmp_path: Path, store: TrialStore
) -> None:
    whole = job(tmp_path)
    conditions = dataclasses.replace(CONDITIONS, sample_1_of_n_eval_examples=3)
    trainings = dataclasses.replace(whole.trainings, conditions=conditions)
    one, run = runner(
        dataclasses.replace(whole, trainings=trainings),
        store,
        FakeExecutor(store, {"overfit": 95.0}),
    )
    run()
    assert one.outcome.on_eval is not None
    assert one.outcome.on_eval.num_images == 2  # of 6


def test_an_outcome_is_plain_enough_for_json(tmp_path: Path, store: TrialStore) -> None:
    one, run = runner(job(tmp_path), store, FakeExecutor(store, {"overfit": 95.0}))
    run()
    assert json.loads(json.dumps(dataclasses.asdict(one.outcome)))["scale"] == "proxy"
