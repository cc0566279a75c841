"""What trials in a runs folder took: the price of the next ones, and the batch that will fit.

A runs folder may hold thousands of trials, and every plan asks: two small files of each are read,
and of its pipeline only what is needed is looked up in the text that `Pipeline.to_text` gave.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

from odapi_repro.errors import DamagedFile
from odapi_repro.trials.cost import CostEstimate, TrialCost, estimate_cost
from odapi_repro.trials.store import TrialStore
from odapi_repro.trials.trial import Trial, TrialSpec

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
