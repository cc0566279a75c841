"""The files of a trial's folder: their names, what they hold, and how each is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from odapi_repro.files.own_json import damaged, read_json, read_record, typed

STATE, SPEC, METRICS = "state.json", "trial.json", "metrics.json"
PROVENANCE, CONFIG = "provenance.json", "pipeline.config"
LOSSES, DETECTIONS = "losses.csv", "detections.json.gz"
MENDS: Final = {
    STATE: "bring the file back, or delete it: the trial then counts as interrupted and goes on "
    "from what its folder holds",
    SPEC: "delete the file: the trial is run by the studies that need it, no other looks at it",
    METRICS: "delete the file: it is made again from the detections beside it",
    PROVENANCE: "delete the file: what the trial took and where it ran is lost, it does not run "
    "again",
}
_T = TypeVar("_T")

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


def read_state(folder: Path) -> StateFile | None:
    """Reads state.json; None where there is none.

    Raises:
        DamagedFile: it does not read, is not what was written, or names no state.
    """
    try:
        held = read_record(folder / STATE, StateFile, version=STATE_VERSION, mend=MENDS[STATE])
    except FileNotFoundError:
        return None
    if held.state not in STATES:
        raise damaged(folder / STATE, f"no trial is '{held.state}'", MENDS[STATE])
    return held


def read_metrics(folder: Path) -> Metrics | None:
    """Reads metrics.json; None where there is none.

    Raises:
        DamagedFile: it does not read.
    """
    return _read(folder / METRICS, Metrics)


def read_provenance(folder: Path) -> Provenance | None:
    """Reads provenance.json; None where there is none.

    Raises:
        DamagedFile: it does not read.
    """
    return _read(folder / PROVENANCE, Provenance)


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return typed(read_json(path, mend=MENDS[path.name]), kind)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise damaged(path, str(error), MENDS[path.name]) from error
