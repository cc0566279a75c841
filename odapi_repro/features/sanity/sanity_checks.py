"""Runs the checks one after the other; each training is a trial, each evaluation is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from odapi_repro.datasets.records import RecordManifest
from odapi_repro.evaluation.checkpoint import CheckpointSource, check_classes, find_checkpoint
from odapi_repro.evaluation.coco_data import read_detections
from odapi_repro.evaluation.eval_data import EvalData, data_of_records
from odapi_repro.evaluation.inference.evaluation_job import PLAIN, Pass
from odapi_repro.evaluation.scoring.detection_matching import match
from odapi_repro.evaluation.scoring.metrics import score
from odapi_repro.evaluation.uncertainty.bootstrap import difference, interval
from odapi_repro.features.sanity.sanity_record import SanityJob
from odapi_repro.features.sanity.sanity_trainings import Training
from odapi_repro.features.sanity.sanity_verdict import (
    Change,
    Outcome,
    Point,
    Run,
    Score,
    needs_safe_rate,
    nothing_to_hold,
    run_of,
)
from odapi_repro.files.trial_files import DETECTIONS, FINISHED, SPEC, TrialState
from odapi_repro.pipeline import Pipeline, parse_pipeline
from odapi_repro.trials.evaluations.checkpoint_evaluation import evaluate_checkpoint
from odapi_repro.trials.evaluations.evaluation_spec import WORKER, EvaluationRequest
from odapi_repro.trials.groundwork import StudyData
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_store import TrialStore

# --- AP of checkpoints on a set of images: evaluated once, read back after that ---


_AP = "AP"
# Fewer training images than this say too little, however few the evaluation has.
_LEAST_SAMPLE = 100
RESAMPLES = 1000

OnEvent = Callable[[dict[str, Any]], None]


def eval_images(data: StudyData, *, sample_1_of_n: int = 1) -> EvalData:
    """Gives the evaluation records with their ground truth.

    Raises:
        DataError: from `data_of_records`.
    """
    return data_of_records(
        data.source.name,
        data.eval_files,
        data.label_map,
        with_masks=False,
        sample_1_of_n=sample_1_of_n,
    )


def training_sample(data: StudyData, *, wanted: int) -> EvalData:
    """Gives about as many training images as wanted, at even distances in the records.

    Only as many files are read as hold twice that many, themselves at even distances: COCO's
    118,287 images need not be decoded to look at 5,000.

    Raises:
        DataError: from `data_of_records`.
    """
    wanted = max(wanted, _LEAST_SAMPLE)
    files, images = _some_files(data.train_files, data.train, 2 * wanted)
    return data_of_records(
        f"training records of {data.source.name}",
        files,
        data.label_map,
        with_masks=False,
        sample_1_of_n=max(1, images // wanted),
    )


def _some_files(
    files: Sequence[Path], found: RecordManifest, wanted: int
) -> tuple[list[Path], int]:
    """Gives every k-th file, k as large as leaves that many images, and their number."""
    counts = {(file.name, file.bytes): file.num_examples for file in found.files}
    number = {file: counts[file.name, file.stat().st_size] for file in files}
    for every in range(max(1, len(files) // 4), 0, -1):
        chosen = list(files[::every])
        images = sum(number[file] for file in chosen)
        if images >= wanted:
            return chosen, images
    return list(files), found.num_examples


@dataclass(frozen=True, eq=False)
class CheckpointScores:
    """Evaluates checkpoints of one model; box AP only, whatever else the model predicts.

    Attributes:
        pipeline: of the model, at its scale.
        runs_dir: where evaluations are kept.
        device, deterministic: as for trials.
        on_event: hears the child.
        worker: the command that evaluates.
    """

    pipeline: Pipeline
    runs_dir: Path
    device: str
    deterministic: bool
    on_event: OnEvent
    worker: Sequence[str] = WORKER

    def detections(
        self, source: CheckpointSource, data: EvalData, prefixes: Mapping[str, str]
    ) -> Mapping[str, Path]:
        """Gives the detections of several checkpoints: name -> file of COCO results.

        Args:
            source: one of them, for what they share: the extensions of their model.
            data: the images.
            prefixes: name -> prefix.

        Raises:
            UserError: from `check_classes` and `evaluate_checkpoint`.
        """
        check_classes(self.pipeline, data.truth)
        passes = tuple(Pass(name=name, checkpoints=(one,)) for name, one in prefixes.items())
        request = EvaluationRequest(
            source=source,
            pipeline=self.pipeline,
            data=data,
            runs_dir=self.runs_dir,
            passes=passes,
            device=self.device,
            deterministic=self.deterministic,
            worker=self.worker,
        )
        found = evaluate_checkpoint(request, self.on_event).detections
        return {name: found[name, PLAIN] for name in prefixes}

    def of_source(self, source: CheckpointSource, data: EvalData) -> tuple[Score, Path]:
        """Gives AP of a checkpoint with its standard error, and its detections."""
        path = self.detections(source, data, {PLAIN: source.prefix})[PLAIN]
        matches = match(data.truth, read_detections(path, data.truth))
        ap = interval(matches, resamples=RESAMPLES)[_AP]
        return Score(ap.value or 0.0, ap.se, data.truth.num_images), path

    def of_checkpoints(
        self, folder: Path, data: EvalData, *, steps: range, most: int
    ) -> dict[int, float]:
        """Gives AP of a trial's checkpoints: step -> AP.

        Args:
            folder: of the trial.
            data: the images.
            steps: those that count.
            most: how many checkpoints at most, 2 or more: the first, the last, and between them.
        """
        sources = {}
        for index in sorted(folder.glob("ckpt-*.index")):
            source = find_checkpoint(index.with_suffix(""))
            if source.step is not None and source.step in steps:
                sources[source.step] = source
        if not sources:
            return {}
        found = sorted(sources)
        kept = {found[(len(found) - 1) * i // (most - 1)] for i in range(most)}
        sources = {step: sources[step] for step in sorted(kept)}
        names = {step: f"step_{step}" for step in sources}
        prefixes = {name: sources[step].prefix for step, name in names.items()}
        first = next(iter(sources.values()))
        files = self.detections(first, data, prefixes)
        return {step: box_ap(files[name], data) for step, name in names.items()}


def box_ap(path: Path, data: EvalData) -> float:
    """Gives AP of a results file in points; 0 where nothing was found."""
    return score(data.truth, read_detections(path, data.truth)).metrics[_AP] or 0.0


def change_of(before: Path, after: Path, data: EvalData) -> Change:
    """Gives how AP of boxes changed between two results files of the same images."""
    matches = [match(data.truth, read_detections(path, data.truth)) for path in (after, before)]
    found = difference(*matches, resamples=RESAMPLES)[_AP]
    return Change(found.value or 0.0, found.low, found.high)


# --- Runs the checks one after the other; each training is a trial, each evaluation is kept ---


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
