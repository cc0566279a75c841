"""What a sweep runs: the forward passes that are missing, then cells, which are scored."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from odapi_repro.analysis.level_effects import ImageEffect, judge_image_effects
from odapi_repro.evaluation.coco_data import Detections, read_detections
from odapi_repro.evaluation.post_processing import (
    box_voting,
    concatenate,
    consensus,
    keep_best,
    soft_nms,
    union,
    weighted_boxes,
)
from odapi_repro.evaluation.scoring.detection_matching import IouType, match
from odapi_repro.evaluation.scoring.metrics import score
from odapi_repro.evaluation.uncertainty.bootstrap import Resampled, intervals_of, resample
from odapi_repro.features.sweep.sweep_cells import PostHocCell, Source
from odapi_repro.features.sweep.sweep_plan import CellResult, CellStore, Sweep, checkpoint_label
from odapi_repro.features.sweep.sweep_record import SweepRecord
from odapi_repro.files.trial_files import TrialState
from odapi_repro.trials.evaluations.checkpoint_evaluation import (
    EvaluationProgress,
    EvaluationResult,
    evaluate_checkpoint,
)
from odapi_repro.trials.evaluations.evaluation_spec import WORKER
from odapi_repro.trials.trial_loop import OnEvent

RESAMPLES = 1000
_SEED = 0
# Of `inference.PassTimings`.
_PARTS = ("build_seconds", "restore_seconds", "first_batch_seconds", "rest_seconds")
_PREFIXES: Mapping[IouType, str] = {"bbox": "", "segm": "mask_"}


Load = Callable[[Source], Detections]


def detections_of_cell(
    cell: PostHocCell, load: Load, ap_of: Callable[[Detections], float]
) -> Detections:
    """Gives what a cell found, by image and falling score where a step made it.

    Args:
        cell: how its detections are made.
        load: gives the detections of a variant of a pass.
        ap_of: the AP of a set of detections, for the step that takes the best member.
    """
    members = [load(source) for source in cell.members]
    step = cell.step
    if step is None:
        return members[0]
    if step.method == "best":
        return members[best_member(members, ap_of)]
    if step.method == "box_voting":
        # It moves the boxes that NMS kept: nothing to cap again.
        assert cell.candidates is not None
        return box_voting(members[0], load(cell.candidates), _iou(cell))
    if step.method == "soft_union":
        fused = soft_nms(concatenate(members), method="gaussian", min_score=cell.min_score)
    elif step.method == "weighted_boxes":
        fused = weighted_boxes(members, _iou(cell))
    elif step.method == "consensus":
        fused = consensus(members, _iou(cell), step.num_agreeing)
    else:
        fused = union(members, _iou(cell), class_agnostic=cell.class_agnostic)
    return keep_best(fused, per_class=cell.per_class, per_image=cell.per_image)


def best_member(members: Sequence[Detections], ap_of: Callable[[Detections], float]) -> int:
    """Gives the index of the member with the highest AP, the last of equals."""
    scores = [ap_of(dataclasses.replace(one, masks=None)) for one in members]
    return max(range(len(members)), key=lambda index: (scores[index], index))


def _iou(cell: PostHocCell) -> float:
    assert cell.step is not None
    assert cell.step.iou_threshold is not None
    return cell.step.iou_threshold


@dataclass(frozen=True)
class Found:
    """What inference has left.

    Attributes:
        detections: (pass, variant) -> file.
        seconds: pass -> what it took, whichever command ran it.
        ran: names of the passes that this command ran, or a part of.
    """

    detections: Mapping[tuple[str, str], Path]
    seconds: Mapping[str, float]
    ran: frozenset[str]


def detect(
    sweep: Sweep,
    on_event: Callable[[dict[str, Any]], None],
    *,
    worker: Sequence[str] = WORKER,
) -> Found:
    """Runs the forward passes that no earlier command has run, in one child process.

    Args:
        sweep: the plan and what it is run on.
        on_event: hears the child's events.
        worker: the command of the child.
    """
    result = evaluate_checkpoint(sweep.request(worker), on_event)
    made = {key[0] for key in result.detections if key not in result.read_back}
    return Found(result.detections, _seconds(result), frozenset(made))


def _seconds(result: EvaluationResult) -> dict[str, float]:
    """Gives what each pass took; its variants may have been made in several runs of it."""
    runs: dict[str, set[float]] = {}
    for (name, _), provenance in result.provenance.items():
        took = (float(provenance.get(part, 0.0)) for part in _PARTS)
        runs.setdefault(name, set()).add(math.fsum(took))
    return {name: math.fsum(seconds) for name, seconds in runs.items()}


@dataclass(frozen=True)
class SweepCell:
    """A cell as the loop runs it."""

    trial_id: str
    cell: PostHocCell


def cells_to_run(sweep: Sweep) -> tuple[SweepCell, ...]:
    """Gives the cells of a sweep, the reference first."""
    return tuple(SweepCell(sweep.cell_id(cell), cell) for cell in sweep.plan.cells)


class CellScores:
    """Scores cells and keeps what they score; says which are scored already.

    Args:
        sweep: the plan and what it is run on.
        found: its detections.
        store: keeps the results.
        resamples: of the images, for intervals.
    """

    def __init__(
        self, sweep: Sweep, found: Found, store: CellStore, *, resamples: int = RESAMPLES
    ) -> None:
        self._compared = (sweep.cell_id(sweep.reference), resamples)
        self._scorer = _Scorer(sweep, found, resamples)
        self._store = store

    def state(self, trial_id: str) -> TrialState:
        """Says whether a cell was scored against this sweep's reference."""
        known = self._store.read(trial_id)
        scored = known is not None and (known.reference, known.resamples) == self._compared
        return TrialState("succeeded" if scored else "planned")

    def is_free(self, trial_id: str) -> bool:
        """Whoever comes may score a cell: all come to the same."""
        del trial_id
        return True

    def run(self, unit: SweepCell, on_event: OnEvent[SweepCell]) -> TrialState:
        """Scores a cell."""
        del on_event
        self._store.write(unit.trial_id, self._scorer.result(unit.cell))
        return TrialState("succeeded")


class _Scorer:
    """Scores cells, and compares them with the reference, which is resampled once."""

    def __init__(self, sweep: Sweep, found: Found, resamples: int) -> None:
        self._sweep = sweep
        self._found = found
        self._resamples = resamples
        self._reference: dict[str, Resampled] = {}

    def result(self, cell: PostHocCell) -> CellResult:
        """Gives what a cell scores, and its differences from the reference."""
        if not self._reference:
            own = self._detections(self._sweep.reference)
            self._reference = {kind: self._resampled(own, kind) for kind in self._types(own)}
        detections = self._detections(cell)
        metrics: dict[str, float | None] = {}
        differences: dict[str, tuple[float | None, ...]] = {}
        for iou_type in self._types(detections):
            prefix = _PREFIXES[iou_type]
            scores = score(self._sweep.truth, detections, iou_type).metrics
            metrics.update({f"{prefix}{name}": value for name, value in scores.items()})
            # The same images are drawn for both: what makes an image hard cancels.
            ours = self._resampled(detections, iou_type)
            for name, one in intervals_of(ours.minus(self._reference[iou_type])).items():
                differences[f"{prefix}{name}"] = (one.value, one.se, one.low, one.high, one.df)
        return CellResult(
            metrics=metrics,
            num_detections=detections.num,
            reference=self._sweep.cell_id(self._sweep.reference),
            resamples=self._resamples,
            differences=differences,
            note=self._note(cell),
        )

    def _load(self, source: Source) -> Detections:
        path = self._found.detections[source.pass_name, source.variant]
        return read_detections(path, self._sweep.truth)

    def _detections(self, cell: PostHocCell) -> Detections:
        return detections_of_cell(cell, self._load, self._ap)

    def _ap(self, detections: Detections) -> float:
        ap = score(self._sweep.truth, detections, "bbox").metrics["AP"]
        return -1.0 if ap is None else ap

    def _types(self, found: Detections) -> tuple[IouType, ...]:
        masks = self._sweep.with_masks and found.masks is not None
        return ("bbox", "segm") if masks else ("bbox",)

    def _resampled(self, found: Detections, iou_type: IouType) -> Resampled:
        return resample(match(self._sweep.truth, found, iou_type), self._resamples, _SEED)

    def _note(self, cell: PostHocCell) -> str:
        """Says what each checkpoint scores, where the cell is the best of them."""
        if cell.step is None or cell.step.method != "best":
            return ""
        aps = [self._ap(self._load(member)) for member in cell.members]
        listed = ", ".join(
            f"{checkpoint_label(source)} {ap:.1f}"
            for source, ap in zip(self._sweep.sources, aps, strict=True)
        )
        return f"AP of each checkpoint: {listed}."


def sweep_effects(
    record: SweepRecord,
    results: Mapping[str, CellResult],
    *,
    num_images: int,
    margin: float = 0.5,
    confidence: float = 0.95,
) -> tuple[ImageEffect, ...]:
    """Gives every level against the pipeline's own, on every metric, with verdicts.

    Of a grid, the cells in which one factor alone is off the reference.
    """
    reference = record.levels(record.reference)
    effects = []
    for name, labels in record.axes.items():
        for label in labels:
            wanted = {**reference, name: label}
            found = next((one for one in record.cells if record.levels(one) == wanted), None)
            if found is None or found == record.reference or found not in results:
                continue
            for metric, values in results[found].differences.items():
                delta, se, low, high, df = (math.nan if v is None else v for v in values)
                ends = (reference[name], label)
                effects.append(
                    ImageEffect(name, *ends, metric, delta, se, low, high, num_images, df=df)
                )
    return tuple(judge_image_effects(effects, margin=margin, confidence=confidence))


class SweepProgress(EvaluationProgress):
    """Shows the events of the child that detects, then those of cells."""

    def __init__(
        self,
        sweep: Sweep,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        passes = {one.name: sweep.about(one) for one in sweep.plan.passes}
        super().__init__("", sweep.truth.num_images, passes=passes, stream=stream, clock=clock)
        self._sweep = sweep
        self._scored = 0

    def of_cell(self, unit: SweepCell, event: dict[str, Any]) -> None:
        """Takes an event of a cell."""
        own, levels = self._sweep.reference.levels, unit.cell.levels
        changed = [f"{name} {level}" for name, level in levels.items() if level != own[name]]
        label = ", ".join(changed) or "as configured"
        if event["event"] == "trial_started":
            place = f"{self._scored + 1}/{len(self._sweep.plan.cells)}"
            self.line.update(f"scoring {place}: {label}", news=True)
        elif event["event"] == "trial_ended":
            self._scored += 1
            if event["state"] != "succeeded":
                self.line.line(f"{label}: {event['state']}: {event['message']}")
