"""What a study will take, from what trials of the same model took here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from odapi_repro.study.trial import Trial

__all__ = ["CostEstimate", "TrialCost", "estimate_cost"]

# Measured at proxy scale on two cores (docs/scales.md): seconds before the first step and for
# evaluation together, seconds an image, seconds a step. Only used until a trial has run here.
_TWO_CORES = {"ssd": (100.0, 0.04, 0.07), "faster_rcnn": (140.0, 0.05, 0.1)}


@dataclass(frozen=True)
class TrialCost:
    """What one finished trial took.

    Attributes:
        model_text: the model part of its pipeline, in text format.
        images_per_replica: in a step.
        overhead_seconds: wall time that was no training step.
        seconds_per_image: of training.
    """

    model_text: str
    images_per_replica: int
    overhead_seconds: float
    seconds_per_image: float


@dataclass(frozen=True)
class CostEstimate:
    """Expected wall time.

    Attributes:
        seconds: None when nothing is known.
        source: where the estimate comes from, for the reader.
    """

    seconds: float | None
    source: str


def estimate_cost(
    trials: Sequence[Trial],
    model_texts: Sequence[str],
    history: Sequence[TrialCost],
    *,
    scale: str,
    family: str,
) -> CostEstimate:
    """Gives the expected wall time of `trials`, one after the other.

    Args:
        trials: still to run.
        model_texts: the model part of each one's pipeline.
        history: trials that finished in this runs folder on the same device.
        scale, family: for the measured defaults, `family` being the meta-architecture.
    """
    if not trials:
        return CostEstimate(0.0, "everything has run")
    known = {cost.model_text for cost in history}
    if all(text in known for text in model_texts):
        seconds = 0.0
        for trial, text in zip(trials, model_texts, strict=True):
            alike = [cost for cost in history if cost.model_text == text]
            images = trial.global_batch_size // trial.spec.num_replicas
            nearest = min(abs(cost.images_per_replica - images) for cost in alike)
            alike = [c for c in alike if abs(c.images_per_replica - images) == nearest]
            seconds += statistics.median(c.overhead_seconds for c in alike)
            seconds += statistics.median(c.seconds_per_image for c in alike) * trial.images_seen
        return CostEstimate(seconds, "from trials of this model that ran here")
    if scale in ("proxy", "smoke") and family in _TWO_CORES:
        overhead, per_image, per_step = _TWO_CORES[family]
        seconds = sum(
            overhead + per_image * trial.images_seen + per_step * trial.num_steps
            for trial in trials
        )
        return CostEstimate(seconds, "from the proxy's cost on two cores; none has run here yet")
    return CostEstimate(None, "no trial of this model has run here yet")
