"""What lies beside the events: logs, and the losses, state and metrics of our own trials.

Each reader gives what it finds and nothing where there is none; what is there and cannot be read
goes to `damage`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odapi_repro.diagnosis.finished_run.losses_csv import read_losses
from odapi_repro.errors import DamagedFile
from odapi_repro.files import read_json

_MOST_LOG_BYTES = 64 << 20
_LONGEST_LINE = 1 << 16
_MOST_JSON_BYTES = 16 << 20
# model_lib_v2.py: eager_eval_loop; the first number counts batches from 0, every hundredth.
_EVAL_STEP = re.compile(rb"Finished eval step (\d{1,12})\b")
_EVAL_DONE = re.compile(rb"Eval metrics at step (\d{1,12})\b")
_EXCEPTION = re.compile(rb"Encountered (.{1,200})")
_EVAL_STOPPED = b"A replica probably exhausted all examples"
_STEPS_A_LOG_LINE = 100


@dataclass(frozen=True)
class EvaluationLog:
    """What a log says of one evaluation.

    Attributes:
        step: training step of the evaluated checkpoint.
        batches_at_least: batches that were evaluated for certain.
        batches_at_most: the loop says so every 100 batches, so there may have been more.
        stopped_by: beginning of the exception that ended it early (the OD API goes on with the
            images seen so far); empty where none is logged.
    """

    step: int
    batches_at_least: int
    batches_at_most: int
    stopped_by: str = ""


@dataclass(frozen=True)
class TrialMetrics:
    """`metrics.json` of a trial: COCO metrics in points by COCO's names, and images evaluated."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    num_images: int | None = None


@dataclass(frozen=True)
class TrialState:
    """`state.json` of a trial: how it stands, and the step that was known then."""

    state: str
    step: int


def read_evaluation_logs(paths: list[Path], damage: list[str]) -> tuple[EvaluationLog, ...]:
    """Gives the evaluations of the last 64 MiB of each log, by step; of one step the last."""
    found: dict[int, EvaluationLog] = {}
    for path in sorted(paths):
        batch = -1
        exception = stopped_by = ""
        try:
            for line in _lines(path):
                if match := _EVAL_STEP.search(line):
                    if int(match.group(1)) < batch:
                        # Another evaluation; the one before never came to its metrics.
                        exception = stopped_by = ""
                    batch = int(match.group(1))
                elif match := _EXCEPTION.search(line):
                    exception = match.group(1).decode("utf-8", "replace").strip()
                elif _EVAL_STOPPED in line:
                    stopped_by = exception or "an exception"
                elif match := _EVAL_DONE.search(line):
                    if batch >= 0:
                        least, most = batch + 1, batch + _STEPS_A_LOG_LINE
                        step = int(match.group(1))
                        found[step] = EvaluationLog(step, least, most, stopped_by)
                    batch, exception, stopped_by = -1, "", ""
        except OSError as error:
            damage.append(f"{path.name}: cannot be read ({error.strerror or error})")
    return tuple(found[step] for step in sorted(found))


def read_loss_columns(path: Path, damage: list[str]) -> Mapping[str, Mapping[int, float]]:
    """Gives the columns of `losses.csv` by name, each by step; a cut last row is no damage."""
    try:
        table = read_losses(path)
    except OSError as error:
        damage.append(f"{path.name}: cannot be read ({error.strerror or error})")
        return {}
    if table.damaged:
        noun = "row is" if table.damaged == 1 else "rows are"
        damage.append(f"{path.name}: {table.damaged:,} {noun} not a step and numbers")
    return table.columns


def read_metrics(path: Path, damage: list[str]) -> TrialMetrics | None:
    """Reads `metrics.json`; metrics with nothing to score are left out."""
    fields = _json(path, damage)
    if fields is None:
        return None
    metrics = fields.get("metrics")
    numbers = {
        str(name): _number(value)
        for name, value in (metrics.items() if isinstance(metrics, dict) else ())
    }
    images = _number(fields.get("num_images"))
    return TrialMetrics(
        metrics={name: value for name, value in numbers.items() if value is not None},
        num_images=None if images is None else int(images),
    )


def read_state(path: Path, damage: list[str]) -> TrialState | None:
    """Reads `state.json`."""
    fields = _json(path, damage)
    if fields is None:
        return None
    return TrialState(str(fields.get("state", "")), int(_number(fields.get("step")) or 0))


def _number(value: Any) -> float | None:
    """Gives a finite number that is not negative, None for anything else."""
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _json(path: Path, damage: list[str]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return read_json(path, mend="")
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        damage.append(error.found)
        return None


def _lines(path: Path) -> Iterator[bytes]:
    """Gives the lines of the end of a log; one without an end comes in pieces."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_LOG_BYTES))
        while line := file.readline(_LONGEST_LINE):
            yield line
