"""Runs a sweep without training: the forward passes that are missing, then scores and effects."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odapi_repro.analysis.image_effects import ImageEffect, judge_image_effects
from odapi_repro.evaluation.coco_data import Detections, read_detections
from odapi_repro.evaluation.scoring.iou_types import IouType
from odapi_repro.evaluation.scoring.matching import match
from odapi_repro.evaluation.scoring.metrics import score
from odapi_repro.evaluation.uncertainty.bootstrap import intervals_of
from odapi_repro.evaluation.uncertainty.resamples import Resampled, resample
from odapi_repro.features.sweep.cell_detections import detections_of_cell
from odapi_repro.features.sweep.sweep import CellResult, CellStore, Sweep, checkpoint_label
from odapi_repro.features.sweep.sweep_cells import PostHocCell, Source
from odapi_repro.features.sweep.sweep_record import SweepRecord
from odapi_repro.trials.evaluations.checkpoint_evaluation import (
    WORKER,
    EvaluationResult,
    evaluate_checkpoint,
)

__all__ = ["RESAMPLES", "Found", "SweepEvent", "detect", "score_cells", "sweep_effects"]

RESAMPLES = 1000
_SEED = 0
# Of `inference.PassTimings`.
_PARTS = ("build_seconds", "restore_seconds", "first_batch_seconds", "rest_seconds")
_PREFIXES: Mapping[IouType, str] = {"bbox": "", "segm": "mask_"}


@dataclass(frozen=True)
class SweepEvent:
    """How far a sweep is.

    Attributes:
        stage: `starting`, `building`, `detecting` or `scoring`.
        what: the pass or the cell.
        index, total: of the passes or cells, from 1.
        images: done of the pass.
    """

    stage: str
    what: str
    index: int
    total: int
    images: int = 0


OnEvent = Callable[[SweepEvent], None]


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


def detect(sweep: Sweep, on_event: OnEvent, *, worker: Sequence[str] = WORKER) -> Found:
    """Runs the forward passes that no earlier command has run, in one child process.

    Raises:
        UserError, EnvironmentMissing: from `evaluate_checkpoint`.
    """
    names = {one.name: sweep.about(one) for one in sweep.plan.passes}
    begun: list[str] = []

    def listen(event: dict[str, Any]) -> None:
        kind, name = event["event"], str(event.get("pass", ""))
        if name and name not in begun:
            begun.append(name)
        place = (names.get(name, ""), max(1, len(begun)), len(names))
        if kind == "started":
            on_event(SweepEvent("starting", *place))
        elif kind in ("imported", "restored"):
            on_event(SweepEvent("building", *place))
        elif kind == "evaluating":
            on_event(SweepEvent("detecting", *place, images=int(event["images"])))

    result = evaluate_checkpoint(sweep.request(worker), listen)
    made = {key[0] for key in result.detections if key not in result.read_back}
    return Found(result.detections, _seconds(result), frozenset(made))


def _seconds(result: EvaluationResult) -> dict[str, float]:
    """Gives what each pass took; its variants may have been made in several runs of it."""
    runs: dict[str, set[float]] = {}
    for (name, _), provenance in result.provenance.items():
        took = (float(provenance.get(part, 0.0)) for part in _PARTS)
        runs.setdefault(name, set()).add(math.fsum(took))
    return {name: math.fsum(seconds) for name, seconds in runs.items()}


def score_cells(
    sweep: Sweep,
    found: Found,
    store: CellStore,
    on_event: OnEvent,
    *,
    resamples: int = RESAMPLES,
) -> None:
    """Scores every cell that is not scored yet and compares it with the reference.

    Args:
        resamples: of the paired bootstrap over images.
    """
    scorer = _Scorer(sweep, found, resamples)
    compared = (sweep.cell_id(sweep.reference), resamples)
    for index, cell in enumerate(sweep.plan.cells, start=1):
        cell_id = sweep.cell_id(cell)
        known = store.read(cell_id)
        if known is None or (known.reference, known.resamples) != compared:
            on_event(SweepEvent("scoring", _differing(cell, sweep), index, len(sweep.plan.cells)))
            store.write(cell_id, scorer.result(cell))


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


def _differing(cell: PostHocCell, sweep: Sweep) -> str:
    own = sweep.reference.levels
    changed = [f"{name} {level}" for name, level in cell.levels.items() if level != own[name]]
    return ", ".join(changed) or "as configured"
