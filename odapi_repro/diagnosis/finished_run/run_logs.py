"""What lies beside the events: logs, and the losses, state and metrics of our own trials.

Each reader gives what it finds and nothing where there is none; what is there and cannot be read
goes to `damage`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from odapi_repro.errors import DamagedFile
from odapi_repro.files.losses_csv import read_losses

_MOST_LOG_BYTES = 64 << 20
_LONGEST_LINE = 1 << 16
# model_lib_v2.py: eager_eval_loop; the first number counts batches from 0, every hundredth.
_EVAL_STEP = re.compile(rb"Finished eval step (\d{1,12})\b")
_EVAL_DONE = re.compile(rb"Eval metrics at step (\d{1,12})\b")
_EXCEPTION = re.compile(rb"Encountered (.{1,200})")
_EVAL_STOPPED = b"A replica probably exhausted all examples"
_STEPS_A_LOG_LINE = 100
_T = TypeVar("_T")


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


def undamaged(read: Callable[[Path], _T | None], folder: Path, damage: list[str]) -> _T | None:
    """Reads a file of a trial's folder; None where there is none, or it is damaged."""
    try:
        return read(folder)
    except DamagedFile as error:
        damage.append(error.found)
        return None


def _lines(path: Path) -> Iterator[bytes]:
    """Gives the lines of the end of a log; one without an end comes in pieces."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_LOG_BYTES))
        while line := file.readline(_LONGEST_LINE):
            yield line
