"""Runs the checks one after the other; each training is a trial, each evaluation is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from odapi_repro.evaluation.checkpoint import CheckpointSource, find_checkpoint
from odapi_repro.evaluation.eval_data import EvalData
from odapi_repro.features.sanity.checkpoint_scores import (
    CheckpointScores,
    change_of,
    eval_images,
    training_sample,
)
from odapi_repro.features.sanity.outcome import Outcome, Point, Run, Score, run_of
from odapi_repro.features.sanity.sanity_job import SanityJob
from odapi_repro.features.sanity.trainings import Training
from odapi_repro.features.sanity.verdict import needs_safe_rate, nothing_to_hold
from odapi_repro.files.trial_files import DETECTIONS, FINISHED, SPEC, TrialState
from odapi_repro.pipeline import parse_pipeline
from odapi_repro.trials.evaluations.evaluation_spec import WORKER
from odapi_repro.trials.store import TrialStore
from odapi_repro.trials.trial import Trial

# Points of a curve between its start and its end; each takes an evaluation.
_BETWEEN = 3

_Steps = Generator[Trial, TrialState, None]


class SanityChecks:
    """The checks, as they come about; `outcome` says at any time what is known.

    Args:
        job: what is run.
        store: of trials.
        on_stage: hears what goes on between trainings.
        on_more: hears of a training that the plan did not count.
        worker: the command of the child that evaluates checkpoints.
    """

    def __init__(
        self,
        job: SanityJob,
        store: TrialStore,
        on_stage: Callable[[str], None],
        *,
        on_more: Callable[[], None] = lambda: None,
        worker: Sequence[str] = WORKER,
    ) -> None:
        self._on_more = on_more
        self._job = job
        self._store = store
        self._on_stage = on_stage
        self._worker = worker
        self._started: dict[str, tuple[Score, Path]] = {}
        conditions = job.trainings.conditions
        self._known = Outcome(scale=conditions.scale, no_hold=job.no_hold)

    def steps(self) -> _Steps:
        """Gives the trainings one after another; takes the state in which each has ended."""
        source = yield from self._source()
        if source is not None:
            self._check_labels(source)
            if nothing_to_hold(self._known):
                self._note(no_hold="the evaluation labels are not what the checkpoint knows")
            else:
                yield from self._check_hold(source)
        yield from self._check_overfit(source)

    @property
    def outcome(self) -> Outcome:
        """What is known, each training with the state of its trial now."""
        runs: dict[str, Any] = {run.name: self._as_it_ended(run) for run in self._known.runs}
        return dataclasses.replace(self._known, **runs)

    @property
    def trial_ids(self) -> list[str]:
        """The trials that have been asked for, and the reference's."""
        ids = [run.trial_id for run in self._known.runs]
        if self._job.reference_data is not None:
            reference = self._job.trainings.reference(self._job.reference_data)
            ids.insert(0, reference.trial.trial_id)
        return ids

    def _note(self, **changes: Any) -> None:
        self._known = dataclasses.replace(self._known, **changes)

    def _as_it_ended(self, run: Run) -> Run:
        """Gives a run with the state of its trial, should an error have come between."""
        state = self._store.state(run.trial_id)
        return dataclasses.replace(
            run, status=state.state, message=state.message, steps_done=state.step
        )

    def _source(self) -> Generator[Trial, TrialState, CheckpointSource | None]:
        """Gives the checkpoint to start from, trained first where it is the scale's reference."""
        job = self._job
        if job.source is not None:
            own = self._store_of(job.source).get("AP")
            self._note(checkpoint=_named(job.source), own_ap=own)
            return job.source
        if job.reference_data is None:
            return None
        training = job.trainings.reference(job.reference_data)
        state = yield training.trial
        if state.state != "succeeded":
            self._note(no_hold=f"the reference's training {state.state}: {state.message}")
            return None
        metrics = self._store.metrics(training.trial.trial_id)
        self._note(
            checkpoint=f"the {job.trainings.conditions.scale} reference, trained on "
            f"{job.reference_data.source.name} (trial {training.trial.trial_id})",
            own_ap=metrics.metrics.get("AP") if metrics else None,
        )
        return find_checkpoint(self._store.folder(training.trial.trial_id))

    @staticmethod
    def _store_of(source: CheckpointSource) -> Mapping[str, float | None]:
        """Gives the metrics of the trial whose checkpoint it is; empty for any other."""
        folder = Path(source.prefix).parent
        if not (folder / SPEC).is_file():
            return {}
        found = TrialStore(folder.parent).metrics(folder.name)
        return found.metrics if found else {}

    def _check_labels(self, source: CheckpointSource) -> None:
        """The checkpoint as it is, on the evaluation records and on training records."""
        on_eval = self._eval_data
        self._on_stage(f"evaluating the checkpoint on {on_eval.truth.num_images} evaluation images")
        self._note(on_eval=self._at_start(source, on_eval)[0])
        on_train = training_sample(self._job.data, wanted=on_eval.truth.num_images)
        self._on_stage(f"evaluating the checkpoint on {on_train.truth.num_images} training images")
        self._note(on_train=self._at_start(source, on_train)[0])

    def _check_hold(self, source: CheckpointSource) -> _Steps:
        training = self._job.trainings.hold(self._job.data, source.prefix)
        self._note(hold=run_of(training, self._store))
        yield training.trial
        self._note(hold=run_of(training, self._store))
        if self._store.state(training.trial.trial_id).state != "succeeded":
            return
        data = self._eval_data
        self._on_stage("evaluating the checkpoints of the hold")
        _, before = self._at_start(source, data)
        points = self._points(training, source, data)
        after = self._store.folder(training.trial.trial_id) / DETECTIONS
        self._note(
            hold=dataclasses.replace(run_of(training, self._store), points=points),
            hold_change=change_of(before, after, data),
        )

    def _check_overfit(self, source: CheckpointSource | None) -> _Steps:
        self._note(overfit=(yield from self._overfit(source, safe=False)))
        if needs_safe_rate(self._known):
            self._on_more()
            self._note(overfit_safe=(yield from self._overfit(source, safe=True)))

    def _overfit(
        self, source: CheckpointSource | None, *, safe: bool
    ) -> Generator[Trial, TrialState, Run]:
        prefix = source.prefix if source else None
        training = self._job.trainings.overfit(self._job.few, prefix, safe=safe)
        self._note(**{training.name: run_of(training, self._store)})
        state = yield training.trial
        run = run_of(training, self._store)
        if state.state not in FINISHED:
            return run
        self._on_stage("evaluating the checkpoints of the overfit")
        data = eval_images(self._job.few)
        if state.state == "succeeded":
            return dataclasses.replace(run, points=self._points(training, source, data))
        if source is None:
            return run
        start = self._at_start(source, data)[0].ap
        return dataclasses.replace(run, points=(Point(0, start),))

    def _points(
        self, training: Training, source: CheckpointSource | None, data: EvalData
    ) -> tuple[Point, ...]:
        """Gives AP by step: of the start, of what checkpoints are kept, and of the end."""
        trial = training.trial
        folder = self._store.folder(trial.trial_id)
        first = 0 if source is None else 1
        found = self._scores.of_checkpoints(
            folder, data, steps=range(first, trial.num_steps), most=_BETWEEN + 1 - first
        )
        if source is not None:
            found[0] = self._at_start(source, data)[0].ap
        metrics = self._store.metrics(trial.trial_id)
        found[trial.num_steps] = (metrics.metrics.get("AP") if metrics else None) or 0.0
        return tuple(Point(step, ap) for step, ap in sorted(found.items()))

    def _at_start(self, source: CheckpointSource, data: EvalData) -> tuple[Score, Path]:
        """Gives AP of the checkpoint that trainings start from, and its detections."""
        if data.digest not in self._started:
            self._started[data.digest] = self._scores.of_source(source, data)
        return self._started[data.digest]

    @cached_property
    def _eval_data(self) -> EvalData:
        # As the hold's own evaluation samples them: smoke scale takes a few only.
        hold = self._job.trainings.hold(self._job.data, None).trial
        reader = parse_pipeline(hold.pipeline_text).proto.eval_input_reader[0]
        return eval_images(self._job.data, sample_1_of_n=reader.sample_1_of_n_examples)

    @cached_property
    def _scores(self) -> CheckpointScores:
        conditions = self._job.trainings.conditions
        # The model is the same in all trainings; what only training reads is not asked for.
        training = self._job.trainings.overfit(self._job.few, None, safe=False)
        return CheckpointScores(
            pipeline=parse_pipeline(training.trial.pipeline_text),
            runs_dir=self._store.runs_dir,
            device=conditions.device,
            deterministic=conditions.deterministic,
            on_event=lambda event: None,
            worker=self._worker,
        )


def _named(source: CheckpointSource) -> str:
    step = "" if source.step is None else f", step {source.step}"
    return f"{Path(source.prefix).name} of {Path(source.prefix).parent.name}{step}"
