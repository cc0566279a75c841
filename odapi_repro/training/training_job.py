"""What the child process is told: one training and its evaluation, as JSON on disk."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.files import write_json


@dataclass(frozen=True)
class Job:
    """One training and its evaluation.

    Attributes:
        pipeline_path: a pipeline.config whose paths exist on this machine.
        model_dir: where checkpoints and events go, as for `model_main_tf2`.
        num_steps: steps to train; a multiple of `steps_per_iteration`.
        steps_per_iteration: steps in one call of the compiled function (the OD API's
            `NUM_STEPS_PER_ITERATION` is 100); losses are reported once a call.
        checkpoint_every_n: steps between checkpoints, a multiple of `steps_per_iteration`; the
            last step is saved, too.
        checkpoint_max_to_keep: how many checkpoints stay in `model_dir`.
        seed: for Python, NumPy and TensorFlow, set before anything is built.
        deterministic: same seed, same bits; slower (docs/reproducibility.md has the price).
        device: `cpu`, `gpu` or `tpu`.
        num_replicas: replicas that share the global batch; 0 takes every device there is.
        use_tpu, tpu_name, num_workers: as the OD API's flags of these names.
        record_summaries: images and intermediate tensors into the events, too.
        fast_tracing: keep AutoGraph away from the OD API's own modules, see `training.tracing`.
        train, evaluate: which of the two halves to do.
        with_masks: whether instance masks are detected and scored.
        extensions: training extensions to switch on.
        results_path: where detections go (COCO results format, gzipped json).
    """

    pipeline_path: str
    model_dir: str
    num_steps: int
    steps_per_iteration: int
    checkpoint_every_n: int
    checkpoint_max_to_keep: int
    seed: int
    deterministic: bool
    device: str
    num_replicas: int
    use_tpu: bool = False
    tpu_name: str | None = None
    num_workers: int = 1
    record_summaries: bool = False
    fast_tracing: bool = False
    train: bool = True
    evaluate: bool = True
    with_masks: bool = False
    results_path: str = ""
    extensions: tuple[str, ...] = ()

    @property
    def fixed_op_order(self) -> bool:
        """Whether ops run one by one; replicas wait for each other and must run side by side."""
        return self.deterministic and self.device == "cpu" and self.num_replicas == 1


def write_job(job: Job, path: Path) -> None:
    """Writes the job as JSON."""
    write_json(path, dataclasses.asdict(job))


def read_job(path: Path) -> Job:
    """Reads a job that `write_job` wrote."""
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    fields["extensions"] = tuple(fields["extensions"])
    return Job(**fields)


def is_chief(num_workers: int) -> bool:
    """Whether this worker of `TF_CONFIG` keeps the checkpoints (the OD API's others delete theirs).

    It is the only one that evaluates.
    """
    if num_workers == 1:
        return True
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    return task.get("type") == "chief" or (
        task.get("type") == "worker" and int(task.get("index", 0)) == 0
    )
