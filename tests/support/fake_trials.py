"""Small records, plans on them, and an executor whose worker is fake."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from odapi_repro.datasets.embedded import EmbeddedDataset, embedded_dataset
from odapi_repro.datasets.shapes_spec import ShapesSpec
from odapi_repro.datasets.source import DataFlags, resolve_data
from odapi_repro.factors import factor_named
from odapi_repro.features.ablate.study_plan import Plan, StudyData, StudyRequest, make_plan
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.trials.executors.local_executor import LocalExecutor, Runtime
from odapi_repro.trials.trial import Stack, Trial, TrialSpec
from odapi_repro.trials.trial_loop import OneSlot, PlannedTrials, TrialLoop
from odapi_repro.trials.trial_store import TrialStore

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
EFFICIENTDET, MASK_RCNN = PIPELINES / "effdet_d3.config", PIPELINES / "mask_rcnn.config"
FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
# As in tests/datasets/conftest.py.
SPEC = ShapesSpec(
    seed=7, train_images=12, val_images=6, train_shards=4, val_shards=2, crowd_share=0.4
)
RUNTIME = Runtime(steps_per_iteration=1, checkpoint_every_n=1000, checkpoint_max_to_keep=1)


def small_records() -> EmbeddedDataset:
    """12 training and 6 evaluation images, made once in the tests' own cache."""
    return embedded_dataset(spec=SPEC)


@functools.cache
def small_data() -> StudyData:
    made = small_records()
    label_map = str(made.label_map_path)
    flags = DataFlags("", made.train_pattern, made.val_pattern, label_map)
    return StudyData.of(resolve_data(flags))


def request(*factors: str, seeds: int = 1, **changes: Any) -> StudyRequest:
    fields: dict[str, Any] = {
        "factors": tuple(factor_named(name) for name in factors),
        "levels": {},
        "at": {},
        "design": "one_at_a_time",
        "seeds": tuple(range(1, seeds + 1)),
        "scale": "proxy",
        "num_steps": None,
        "num_replicas": 1,
        "device": "cpu",
        "deterministic": True,
        "checkpoint": None,
        "sample_1_of_n_eval_examples": None,
        **changes,
    }
    return StudyRequest(**fields)


def plan_of(
    *factors: str,
    pipeline: Path | Pipeline = EFFICIENTDET,
    levels: Mapping[str, Sequence[str]] | None = None,
    seeds: int = 1,
    **changes: Any,
) -> Plan:
    read = pipeline if isinstance(pipeline, Pipeline) else load_pipeline(pipeline)
    asked = request(*factors, seeds=seeds, levels=levels or {}, **changes)
    return make_plan(read, small_data(), asked)


def fake_executor(runs_dir: Path) -> LocalExecutor:
    return LocalExecutor(TrialStore(runs_dir), RUNTIME, worker=FAKE_WORKER)


def run_trials(
    trials: Sequence[Trial],
    store: TrialStore,
    executor: LocalExecutor,
    on_event: Any,
    **options: Any,
) -> str:
    """Runs trials to their ends as a study does."""
    loop = TrialLoop(PlannedTrials(trials), store, OneSlot(executor.run), on_event, **options)
    return loop.run()


def fake_trial(seed: int = 1, *, batch: int = 4, num_replicas: int = 1) -> Trial:
    """A trial that only the fake worker can run; its pipeline is the least that parses."""
    text = (
        f"model {{\n  ssd {{\n    num_classes: 3\n  }}\n}}\n"
        f"train_config {{\n  batch_size: {batch}\n  num_steps: 4\n}}\n"
    )
    spec = TrialSpec(
        pipeline_text=text,
        extensions=(),
        seed=seed,
        num_replicas=num_replicas,
        device="cpu",
        deterministic=True,
        train_records="t",
        eval_records="e",
        label_map="l",
        checkpoint="",
        stack=Stack("1", "2", "3"),
    )
    return Trial(spec, {"batch_size": str(batch)}, text, 4, batch, 0.01, False)
