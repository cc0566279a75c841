"""The files of a trial's folder: their names, what they hold, and how each is read.

`losses.csv` of a trial: step, learning rate and every loss, a row a report; written and read.

A training that was interrupted goes on from its last checkpoint, so the file repeats the steps
since then; one that was killed may have left half a row at its end.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from odapi_repro.files import append_to
from odapi_repro.files.own_json import damaged, read_json, read_record, typed

# --- The files of a trial's folder: their names, what they hold, and how each is read ---


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


# --- `losses.csv` of a trial: step, learning rate and every loss, a row a report; written and read
# ---


TOTAL_LOSS = "total_loss"

_STEP, _LEARNING_RATE = "step", "learning_rate"
_LONGEST_ROW = 1 << 16


class LossLog:
    """Adds rows to `losses.csv`, after those of an earlier part of the training.

    Half a row that a kill left at the end goes, as its step is trained again.

    Args:
        path: of the file; made if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._header = _last_header(path)
        self._file = append_to(path)
        with open(path, "rb") as file:
            self._file.truncate(file.read().rfind(b"\n") + 1)

    def write(self, step: int, learning_rate: float, losses: Mapping[str, float]) -> None:
        """Adds a row; floats are written so that they read back to the same bits.

        Args:
            step: steps done.
            learning_rate: of the next step.
            losses: by the OD API's names, e.g. `Loss/total_loss`.
        """
        names = sorted(losses)
        header = [_STEP, _LEARNING_RATE, *(name.removeprefix("Loss/") for name in names)]
        cells = [str(step), *map(repr, (learning_rate, *(losses[name] for name in names)))]
        rows = [cells] if header == self._header else [header, cells]
        self._file.write("".join(",".join(row) + "\n" for row in rows).encode())
        self._file.flush()
        self._header = header


@dataclass(frozen=True)
class LossTable:
    """What `losses.csv` says of the training as it stands.

    Attributes:
        columns: learning rate and losses by name, each by step, ascending; not always finite.
        damaged: rows that are not a step and a number for each column; they are left out.
        is_cut: whether the file ends within a row, which is left out and not counted as damaged.
    """

    columns: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    damaged: int = 0
    is_cut: bool = False

    def series(self, name: str = TOTAL_LOSS) -> tuple[tuple[int, float], ...]:
        """Gives (step, value) of a column, by step; empty where there is none of this name."""
        return tuple(self.columns.get(name, {}).items())


def read_losses(path: str | os.PathLike[str]) -> LossTable:
    """Reads `losses.csv`; a step that goes back supersedes all rows from there on.

    Columns go by the names of the header above them, of which there may be several.

    Returns:
        An empty table where there is no such file.

    Raises:
        OSError: it cannot be read.
    """
    if not Path(path).is_file():
        return LossTable()
    steps: list[int] = []
    rows: list[dict[str, float]] = []
    damaged, is_cut = 0, False
    header: list[str] = []
    for line in _lines(path):
        cells = line.strip().removeprefix("\ufeff").split(",")
        if not line.endswith("\n"):
            is_cut = True
        elif cells[0] == _STEP:
            header = cells
        elif (row := _row(cells, header)) is None:
            damaged += bool(line.strip())
        else:
            kept = bisect.bisect_left(steps, row[0])
            steps[kept:], rows[kept:] = [row[0]], [row[1]]
    columns: dict[str, dict[int, float]] = {}
    for step, values in zip(steps, rows, strict=True):
        for name, value in values.items():
            columns.setdefault(name, {})[step] = value
    return LossTable(columns, damaged, is_cut)


def _row(cells: list[str], header: list[str]) -> tuple[int, dict[str, float]] | None:
    """Gives the step and the values by column; None for a row that is damaged."""
    try:
        step, values = int(cells[0]), map(float, cells[1:])
        return (step, dict(zip(header[1:], values, strict=True))) if step >= 0 else None
    except ValueError:
        return None


def _last_header(path: Path) -> list[str]:
    """Gives the columns that a row added now would be read by."""
    header: list[str] = []
    if path.is_file():
        for line in _lines(path):
            if line.startswith(f"{_STEP},") and line.endswith("\n"):
                header = line.strip().split(",")
    return header


def _lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """Gives the lines with their ends; of one that is far too long, pieces that are no rows."""
    with open(path, "rb") as file:
        while line := file.readline(_LONGEST_ROW):
            whole = line if len(line) < _LONGEST_ROW or line.endswith(b"\n") else line + b"\n"
            yield whole.decode("utf-8", "replace")
