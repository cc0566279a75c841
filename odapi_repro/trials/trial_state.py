"""What the JSON files of a trial hold, as far as anything reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

STATES: Final = ("planned", "running", "succeeded", "diverged", "failed", "interrupted")
# What needs no run again: a diverged trial is a result.
FINISHED: Final = frozenset({"succeeded", "diverged"})
STATE_VERSION: Final = 1
TRAINED_ONLY: Final = "trained_only"
"""Kind of a success of a worker that is not the chief: it trains, and evaluates nothing."""


@dataclass(frozen=True)
class TrialState:
    """Where a trial stands.

    Attributes:
        state: one of `STATES`.
        message: why, for `diverged`, `failed` and `interrupted`.
        step: steps done when it was written.
        kind: of a failure: `out_of_memory`, `disk_full`, `input`, `error`; `TRAINED_ONLY`.
    """

    state: str
    message: str = ""
    step: int = 0
    kind: str = ""


@dataclass(frozen=True)
class Metrics:
    """What metrics.json holds (`evaluation.evaluate.Evaluation`), as far as tables show it.

    Attributes:
        metrics: by COCO's names, in points; None where there is nothing to score.
        num_images: images scored.
    """

    metrics: Mapping[str, float | None]
    num_images: int


@dataclass(frozen=True)
class Provenance:
    """What provenance.json holds, as far as anything reads it.

    Attributes:
        wall_seconds: of all attempts.
        timings: name -> seconds, of the last attempt.
        final_loss: of the last step.
        resumed: whether the last attempt went on from an earlier one.
        peak_memory_mib: of the first device, or the process.
    """

    wall_seconds: float | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    final_loss: float | None = None
    resumed: bool = False
    peak_memory_mib: float | None = None


@dataclass(frozen=True)
class StateFile:
    """What state.json holds: a `TrialState`, and digests of the files that it rests on."""

    state: str
    message: str = ""
    step: int = 0
    kind: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
