"""What can be said when memory runs out: which batch fitted here before, and what it took."""

from __future__ import annotations

from pathlib import Path

from odapi_repro.errors import DamagedFile
from odapi_repro.execution.history import model_part, readable_specs, train_number
from odapi_repro.execution.store import TrialStore
from odapi_repro.study.trial import Trial

__all__ = ["memory_advice", "oom_kills"]

_CGROUP_EVENTS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
)


def oom_kills() -> int:
    """Gives how many processes of this control group were ended for memory; 0 if unknown."""
    for path in _CGROUP_EVENTS:
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdigit():
                return int(value)
    return 0


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
        batch = train_number(spec.pipeline_text, "batch_size")
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
