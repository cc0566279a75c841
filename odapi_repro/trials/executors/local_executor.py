"""Runs one trial in a child process on this machine and keeps its state."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from odapi_repro.datasets.record_damage import make_edited_records
from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.files.trial_files import DETECTIONS, FINISHED, TRAINED_ONLY, TrialState
from odapi_repro.packages import installed_version, object_detection_problem
from odapi_repro.signals import Ended, held
from odapi_repro.training.training_job import Job, is_chief, write_job
from odapi_repro.trials.child_process import ChildEnd, run_child
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_cost import memory_advice
from odapi_repro.trials.trial_loop import OnEvent
from odapi_repro.trials.trial_store import Attempt, TrialStore


@dataclass(frozen=True)
class Runtime:
    """How trials run; nothing here decides their outcome (docs/reproducibility.md).

    Attributes:
        steps_per_iteration: upper bound for steps in one compiled call; a divisor is taken.
        checkpoint_every_n: upper bound for steps between checkpoints.
        checkpoint_max_to_keep: checkpoints kept a trial.
        tpu_name, num_workers: as the OD API's flags.
        record_summaries: images into the events, too.
        fresh_start: what earlier attempts left is set aside, and nothing goes on from it.
    """

    steps_per_iteration: int
    checkpoint_every_n: int
    checkpoint_max_to_keep: int
    tpu_name: str | None = None
    num_workers: int = 1
    record_summaries: bool = False
    fresh_start: bool = False


class LocalExecutor:
    """One trial at a time, each in a process of its own.

    Args:
        store: where trials live.
        runtime: how they run.
        worker: the command that runs a job; the job's path is appended.
        runtime_for: how one trial runs, given how they run.
    """

    def __init__(
        self,
        store: TrialStore,
        runtime: Runtime,
        *,
        worker: tuple[str, ...] = (sys.executable, "-m", "odapi_repro.trials.worker"),
        runtime_for: Callable[[Trial, Runtime], Runtime] = lambda trial, runtime: runtime,
    ) -> None:
        self.store = store
        self.runtime = runtime
        self.worker = worker
        self._runtime_for = runtime_for

    def run(self, trial: Trial, on_event: OnEvent[Trial]) -> TrialState:
        """Runs a trial and gives the state it ended in.

        What becomes of an attempt that was killed is `TrialStore.prepare`'s to say.

        Raises:
            TrialBusy: another process runs it.
            EnvironmentMissing: the disk is full; the trial is left `interrupted`.
            KeyboardInterrupt: the user's; the child has ended, the trial is `interrupted`.
        """
        with self.store.locked(trial.trial_id):
            # Another process may have ended it since it was looked at.
            state = self.store.state(trial.trial_id)
            if state.state in FINISHED:
                return state
            attempt = self.store.prepare(trial, fresh_start=self.runtime.fresh_start)
            for note in attempt.notes:
                on_event(trial, {"event": "note", "text": note})
            self.store.set_state(trial.trial_id, TrialState("running"))
            try:
                write_job(self._job(trial, attempt), attempt.folder / "job.json")
                edits = _make_records(trial)
                state, provenance = self._watch(trial, attempt.folder, on_event)
            except BaseException as error:
                with contextlib.suppress(UserError):
                    self.store.set_state(
                        trial.trial_id, TrialState("interrupted", _why_interrupted(error))
                    )
                raise
            if trial.data:
                provenance["data"] = dict(trial.data)
            if edits is not None:
                provenance["record_edits"] = edits
            with held():
                self.store.write_provenance(trial.trial_id, attempt, provenance)
                self.store.set_state(trial.trial_id, state)
        if state.kind == "disk_full":
            raise EnvironmentMissing(
                "no space left on the disk while a trial ran",
                expected="room for checkpoints, detections and tables",
                mend="free some space and give the same command again; finished trials are kept",
                where=str(attempt.folder),
            )
        return state

    def _job(self, trial: Trial, attempt: Attempt) -> Job:
        spec, folder = trial.spec, attempt.folder
        runtime = self._runtime_for(trial, self.runtime)
        # `train_loop` counts blocks from where it goes on: those of the first attempt where they
        # fit, so that losses are of the same steps.
        left = trial.num_steps - attempt.from_step or trial.num_steps
        block = _largest_divisor(trial.num_steps, runtime.steps_per_iteration)
        if left % block:
            block = _largest_divisor(left, runtime.steps_per_iteration)
        return Job(
            pipeline_path=str(folder / "pipeline.config"),
            model_dir=str(folder),
            num_steps=trial.num_steps,
            steps_per_iteration=block,
            # At whole blocks; the last step is saved in any case.
            checkpoint_every_n=block * max(1, runtime.checkpoint_every_n // block),
            checkpoint_max_to_keep=runtime.checkpoint_max_to_keep,
            seed=spec.seed,
            deterministic=spec.deterministic,
            device=spec.device,
            num_replicas=spec.num_replicas,
            use_tpu=spec.device == "tpu",
            tpu_name=runtime.tpu_name,
            num_workers=runtime.num_workers,
            record_summaries=runtime.record_summaries,
            # A function of the spec, because it decides which random numbers are drawn.
            fast_tracing="proxy_backbone" in spec.extensions,
            with_masks=trial.with_masks,
            results_path=str(folder / DETECTIONS),
            extensions=spec.extensions,
            train=attempt.train,
        )

    def _watch(
        self, trial: Trial, folder: Path, on_event: OnEvent[Trial]
    ) -> tuple[TrialState, dict[str, Any]]:
        provenance: dict[str, Any] = {"host_cpus": os.cpu_count()}
        step = 0

        def listen(event: dict[str, Any]) -> None:
            nonlocal step
            step = int(event.get("step", step))
            _note(provenance, event)
            on_event(trial, event)

        end = run_child([*self.worker, str(folder / "job.json")], folder / "train.log", listen)
        provenance["began_unix"] = end.began_unix
        provenance["wall_seconds"] = end.wall_seconds
        return self._state(trial, end, step), provenance

    def _state(self, trial: Trial, end: ChildEnd, step: int) -> TrialState:
        outcome = end.outcome
        if outcome.get("event") == "done":
            if not is_chief(self.runtime.num_workers):
                return TrialState("succeeded", "the chief evaluates", step, TRAINED_ONLY)
            return TrialState("succeeded", step=step or trial.num_steps)
        if outcome.get("event") == "diverged":
            first, last = int(outcome["step"]), int(outcome.get("last_step", outcome["step"]))
            when = f"at step {first}" if first == last else f"between steps {first} and {last}"
            message = f"loss {outcome['loss']} {when} of {trial.num_steps}"
            return TrialState("diverged", message, int(outcome["step"]))
        kind, message = end.failure
        if kind == "disk_full":
            return TrialState("interrupted", "no space left on the disk", step, kind)
        if kind == "interrupted":
            return TrialState("interrupted", message, step)
        if kind == "out_of_memory":
            message = f"{message}\n{memory_advice(self.store, trial)}"
        return TrialState("failed", message, step, kind)


def _why_interrupted(error: BaseException) -> str:
    if isinstance(error, Ended):
        return str(error)
    return "interrupted by the user" if isinstance(error, KeyboardInterrupt) else str(error)


def _make_records(trial: Trial) -> dict[str, Any] | None:
    """Makes the records that the trial trains on, where they are made from others."""
    records = trial.edited_records
    if records is None:
        return None
    return {"edits": records.edits.text, **asdict(make_edited_records(records))}


def _note(provenance: dict[str, Any], event: Mapping[str, Any]) -> None:
    name = event["event"]
    if name == "imported":
        provenance["tensorflow"] = event["tensorflow"]
        provenance["compat_patches"] = event["patches"]
    elif name == "trained":
        provenance["replicas"] = event["replicas"]
    elif name == "done":
        # An evaluation from kept detections knows of no device.
        for field in ("timings", "final_loss", "peak_memory_mib", "devices"):
            if field in event:
                provenance[field] = event[field]


def _largest_divisor(number: int, bound: int) -> int:
    """Gives the largest divisor of `number` that is at most `bound`."""
    best = 1
    for candidate in range(1, math.isqrt(number) + 1):
        if number % candidate == 0:
            for divisor in (candidate, number // candidate):
                if best < divisor <= bound:
                    best = divisor
    return best


def check_worker_environment(what: str = "training") -> None:
    """Raises `EnvironmentMissing` when what `what` needs, TensorFlow or the OD API, is not here."""
    import importlib.util

    hidden = object_detection_problem()
    if hidden is not None:
        raise hidden
    missing = [
        name
        for name in ("tensorflow", "tf_keras", "object_detection", "official", "tf_slim")
        if importlib.util.find_spec(name) is None
    ]
    if "tf_keras" in missing and (installed_version("keras") or "").startswith("2."):
        # TF 2.15 has Keras 2 as `keras`.
        missing.remove("tf_keras")
    if missing:
        raise EnvironmentMissing(
            f"{what} needs packages that are not installed: {', '.join(missing)}",
            expected="the packages of requirements.lock",
            mend="make setup, or pip install --no-deps -r requirements.lock; "
            "then see odapi-repro doctor",
        )
