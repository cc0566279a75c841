"""What a study will take, from what trials of the same model took here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from odapi_repro.page.numbers import count_of
from odapi_repro.pipeline import derive_quantities, parse_pipeline
from odapi_repro.trials.trial import Trial

# Measured at proxy scale on two cores (docs/scales.md): seconds before the first step and for
# evaluation together, seconds an image, seconds a step. Only used until a trial has run here.
_TWO_CORES = {"ssd": (100.0, 0.04, 0.07), "faster_rcnn": (140.0, 0.05, 0.1)}

_PROXY_SIDE: Final = 192
_LONG_DAYS: Final = 7
_LONG_PASSES: Final = 1000


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


def rough_on_cpu(trials: Sequence[Trial], *, cores: int) -> CostEstimate:
    """Gives the time of trials on a CPU on which none of their model has run, by their pixels.

    Each costs what it costs a proxy: too little for a larger network.
    """
    least = min(per_image for _, per_image, _ in _TWO_CORES.values())
    pixels = sum(trial.images_seen * _pixels(trial) for trial in trials)
    seconds = least * pixels / _PROXY_SIDE**2 * 2 / cores
    return CostEstimate(seconds, "at a proxy's cost a pixel; a larger network takes longer")


def long_on_cpu(trials: Sequence[Trial], cost: CostEstimate, *, cores: int) -> str:
    """Says what trials on a CPU come to that take more than a week; else gives an empty text.

    What has not run here yet is taken to cost what a proxy costs for each pixel.

    Args:
        trials: still to run.
        cost: expected of them.
        cores: of this machine.
    """
    if cost.seconds is None:
        cost = rough_on_cpu(trials, cores=cores)
    days = (cost.seconds or 0) / 86_400
    if days <= _LONG_DAYS:
        return ""
    time = f"{days / 365.25:,.1f} years" if days > 365 else f"{days:,.0f} days"
    return f"{_seen(trials)}, about {time} on {count_of(cores, 'core')} ({cost.source})"


def long_on_few_images(trials: Sequence[Trial], *, images: int) -> str:
    """Says how often trials see each of a few images, where it is more than 1,000 times.

    Args:
        trials: still to run.
        images: that they train on.
    """
    passes = max((trial.images_seen for trial in trials), default=0) // max(1, images)
    if passes <= _LONG_PASSES:
        return ""
    return f"{_seen(trials)}, each of the {images:,} training images up to {passes:,} times"


def _seen(trials: Sequence[Trial]) -> str:
    verb = "sees" if len(trials) == 1 else "see"
    return f"{count_of(len(trials), 'trial')} {verb} {sum(t.images_seen for t in trials):,} images"


def _pixels(trial: Trial) -> int:
    """Gives the pixels that the network sees of an image; a proxy's where the config has none."""
    known = derive_quantities(parse_pipeline(trial.pipeline_text, trial.trial_id))
    return (known.input_height or _PROXY_SIDE) * (known.input_width or _PROXY_SIDE)
