"""What trials took here, and what the next ones will take.

A runs folder may hold thousands of trials, and every plan asks: two small files of each are read,
and of its pipeline only what is needed is looked up in the text that `Pipeline.to_text` gave.
"""

from __future__ import annotations

import functools
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from odapi_repro.errors import DamagedFile
from odapi_repro.page.numbers import count_of
from odapi_repro.pipeline import derive_quantities, parse_pipeline
from odapi_repro.trials.trial import Trial, TrialSpec
from odapi_repro.trials.trial_store import TrialStore

# --- What a study will take, from what trials of the same model took here ---


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


# --- What trials in a runs folder took: the price of the next ones, and the batch that will fit ---


_BATCH, _STEPS = "batch_size", "num_steps"


def expected_cost(
    store: TrialStore, trials: Sequence[Trial], *, device: str, scale: str, family: str
) -> tuple[CostEstimate, tuple[str, ...]]:
    """Gives the expected wall time of trials, and what in the runs folder could not be read.

    Args:
        store: of all trials; those that succeeded on the same device are what is known.
        trials: still to run.
        device: that they run on.
        scale, family: for the measured defaults, `family` being the meta-architecture.
    """
    models = [model_part(trial.spec.pipeline_text) for trial in trials]
    damage: list[str] = []
    history = _history(store, device, frozenset(models), damage) if trials else []
    return (
        estimate_cost(trials, models, history, scale=scale, family=family),
        tuple(damage),
    )


def memory_advice(store: TrialStore, trial: Trial) -> str:
    """Says which batch would fit, from trials that succeeded here, or that it is unknown.

    Peak memory is taken as linear in the images a replica holds; two succeeded trials of the same
    model on the same device with different batches give the line.
    """
    device, wanted = trial.spec.device, trial.global_batch_size // trial.spec.num_replicas
    seen: dict[int, float] = {}
    model = model_part(trial.spec.pipeline_text)
    for trial_id, spec in readable_specs(store, []):
        if spec.device != device or model_part(spec.pipeline_text) != model:
            continue
        try:
            took = store.provenance(trial_id)
        except DamagedFile:
            continue
        batch = _train_number(spec.pipeline_text, "batch_size")
        # Only a trial that was done tells its memory.
        if batch and took is not None and took.peak_memory_mib:
            seen[batch // spec.num_replicas] = took.peak_memory_mib
    fitted = [images for images in seen if images < wanted]
    if not fitted:
        return (
            "which batch would fit is unknown: no smaller one of this model has succeeded here. "
            "Try half of it (--levels), more replicas on more devices, or a smaller input."
        )
    largest = max(fitted)
    advice = f"{largest} images a replica fitted here before ({seen[largest]:.0f} MiB)"
    smallest = min(fitted)
    if smallest < largest:
        slope = (seen[largest] - seen[smallest]) / (largest - smallest)
        needed = seen[largest] + slope * (wanted - largest)
        advice += f"; {wanted} would need about {needed:.0f} MiB"
    return advice + "."


def readable_specs(store: TrialStore, damage: list[str]) -> Iterator[tuple[str, TrialSpec]]:
    """Gives ids and specs of the trials in a runs folder; what does not read goes to `damage`."""
    for trial_id in store.trial_ids():
        try:
            spec = store.spec(trial_id)
        except DamagedFile as error:
            damage.append(f"{error.where}: {error.found}")
            continue
        if spec is not None:
            yield trial_id, spec


@functools.lru_cache(maxsize=16_384)
def model_part(pipeline_text: str) -> str:
    """Gives the lines of a pipeline's model, which are the same for the same model.

    Args:
        pipeline_text: as `Pipeline.to_text` gives it.
    """
    return _block(pipeline_text, "model")


def _train_number(pipeline_text: str, name: str) -> int:
    """Gives a whole number of `train_config`, 0 where it is not set."""
    found = re.search(rf"^  {name}: (\d+)$", _block(pipeline_text, "train_config"), re.MULTILINE)
    return int(found[1]) if found else 0


def _block(text: str, name: str) -> str:
    """Gives a message of the top level; it ends at the first brace without an indent."""
    head = f"{name} {{\n"
    start = 0 if text.startswith(head) else text.find(f"\n{head}") + 1
    if start == 0 and not text.startswith(head):
        return ""
    return text[start : text.find("\n}", start)]


def _history(
    store: TrialStore, device: str, models: frozenset[str], damage: list[str]
) -> list[TrialCost]:
    """Gives what the trials of these models took, as far as they were timed whole."""
    costs = []
    for trial_id in store.trial_ids():
        try:
            took = store.provenance(trial_id)
            # The timings of a resumed trial are those of its last attempt only.
            if took is None or took.resumed or "train_seconds" not in took.timings:
                continue
            spec = store.spec(trial_id)
        except DamagedFile as error:
            damage.append(f"{error.where}: {error.found}")
            continue
        if spec is None or spec.device != device or model_part(spec.pipeline_text) not in models:
            continue
        batch = _train_number(spec.pipeline_text, _BATCH)
        images = batch * _train_number(spec.pipeline_text, _STEPS)
        train_seconds = took.timings["train_seconds"]
        overhead = (took.wall_seconds or 0.0) - train_seconds
        if images <= 0 or train_seconds <= 0 or overhead < 0:
            continue  # a clock that was set back while it ran
        costs.append(
            TrialCost(
                model_text=model_part(spec.pipeline_text),
                images_per_replica=batch // max(1, spec.num_replicas),
                overhead_seconds=overhead,
                seconds_per_image=train_seconds / images,
            )
        )
    return costs
