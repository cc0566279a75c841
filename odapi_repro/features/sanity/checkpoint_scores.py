"""AP of checkpoints on a set of images: evaluated once, read back after that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.datasets.records import RecordManifest
from odapi_repro.evaluation.checkpoint import CheckpointSource, check_classes, find_checkpoint
from odapi_repro.evaluation.coco_data import read_detections
from odapi_repro.evaluation.eval_data import EvalData, data_of_records
from odapi_repro.evaluation.inference.job import PLAIN, Pass
from odapi_repro.evaluation.scoring.matching import match
from odapi_repro.evaluation.scoring.metrics import score
from odapi_repro.evaluation.uncertainty.bootstrap import difference, interval
from odapi_repro.features.sanity.outcome import Change, Score
from odapi_repro.pipeline import Pipeline
from odapi_repro.trials.evaluations.checkpoint_evaluation import evaluate_checkpoint
from odapi_repro.trials.evaluations.evaluation_spec import WORKER, EvaluationRequest
from odapi_repro.trials.study_data import StudyData

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
