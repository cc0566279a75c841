"""The expected time of a plan, from what trials in the runs folder took."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from fake_trials import fake_trial, plan_of

from odapi_repro.files import write_json, write_whole
from odapi_repro.pipeline import parse_pipeline
from odapi_repro.trials.trial_cost import _train_number, expected_cost, model_part
from odapi_repro.trials.trial_store import TrialStore

TRIAL = fake_trial()


def add(store: TrialStore, seed: int, **took: Any) -> Path:
    """A trial that ran for 100 seconds, 60 of them training."""
    trial = dataclasses.replace(TRIAL, spec=dataclasses.replace(TRIAL.spec, seed=seed))
    folder = store.folder(trial.trial_id)
    folder.mkdir(parents=True)
    write_whole(folder / "trial.json", trial.spec.to_json())
    provenance = {"wall_seconds": 100.0, "timings": {"train_seconds": 60.0}, "resumed": False}
    write_json(folder / "provenance.json", {**provenance, **took})
    return folder


def price(store: TrialStore) -> tuple[float | None, str, tuple[str, ...]]:
    cost, unread = expected_cost(store, [TRIAL], device="cpu", scale="full", family="ssd")
    return cost.seconds, cost.source, unread


def test_a_trial_is_expected_to_take_what_one_of_its_model_took(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    assert price(store)[0] is None
    add(store, 2)
    assert price(store) == (pytest.approx(100.0), "from trials of this model that ran here", ())


@pytest.mark.parametrize(
    "took",
    [
        {"wall_seconds": -3600.0},
        {"wall_seconds": 10.0},
        {"timings": {"train_seconds": -60.0}},
        {"timings": {"train_seconds": 0.0}},
        {"resumed": True},
        {"timings": {}},
        {"wall_seconds": None},
    ],
)
def test_a_clock_that_was_set_back_and_half_timings_tell_nothing(tmp_path: Path, took) -> None:
    store = TrialStore(tmp_path)
    add(store, 2, **took)
    assert price(store)[0] is None


@pytest.mark.parametrize("name", ["trial.json", "provenance.json"])
@pytest.mark.parametrize("content", ["", "[]", "null", '{"version": "1", "timings": 0}'])
def test_an_odd_file_of_another_trial_is_told_and_stops_nothing(tmp_path, name, content) -> None:
    store = TrialStore(tmp_path)
    add(store, 2)
    odd = add(store, 3) / name
    odd.write_text(content)
    seconds, _, unread = price(store)
    assert seconds == pytest.approx(100.0)
    assert len(unread) == 1
    assert str(odd) in unread[0]


def test_the_looked_up_parts_are_those_of_the_parsed_pipeline() -> None:
    for trial in plan_of("batch_size", "augmentation").trials:
        text = trial.spec.pipeline_text
        proto = parse_pipeline(text).proto
        alone = type(proto)(model=proto.model)
        assert parse_pipeline(model_part(text) + "\n}\n").proto == alone
        assert _train_number(text, "batch_size") == proto.train_config.batch_size
        assert _train_number(text, "num_steps") == proto.train_config.num_steps


def test_time_is_measured_by_a_clock_that_nobody_sets(tmp_path, monkeypatch) -> None:
    import itertools
    import time

    from fake_trials import fake_executor

    backwards = itertools.count(2e9, -3600.0)
    monkeypatch.setattr(time, "time", lambda: next(backwards))
    executor = fake_executor(tmp_path)
    executor.run(TRIAL, lambda *_: None)
    took = executor.store.provenance(TRIAL.trial_id)
    assert took is not None
    assert took.wall_seconds is not None
    assert 0 < took.wall_seconds < 600
