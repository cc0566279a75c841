"""Evaluations and logs of a run, from its events and from what lies beside them.

Each reader gives what it finds and nothing where there is none; what is there and cannot be read
goes to `damage`.

Evaluations of a run: COCO's metrics by their own names, in points, and how much was evaluated.

The OD API logs COCO's metrics as shares under names of its own (metrics/coco_evaluation.py), -1
where there was nothing to score.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from odapi_repro.diagnosis.finished_run.event_files import EventFile, Restart
from odapi_repro.errors import DamagedFile, UserError
from odapi_repro.files.trial_files import Metrics, read_losses
from odapi_repro.pipeline import load_pipeline

# --- What lies beside the events: logs, and the losses, state and metrics of our own trials ---


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


# --- Evaluations of a run: COCO's metrics by their own names, in points, and how much was evaluated
# ---


_METRICS = {
    "Precision/mAP": "AP",
    "Precision/mAP@.50IOU": "AP50",
    "Precision/mAP@.75IOU": "AP75",
    "Precision/mAP (small)": "APs",
    "Precision/mAP (medium)": "APm",
    "Precision/mAP (large)": "APl",
    "Recall/AR@1": "AR1",
    "Recall/AR@10": "AR10",
    "Recall/AR@100": "AR100",
    "Recall/AR@100 (small)": "ARs",
    "Recall/AR@100 (medium)": "ARm",
    "Recall/AR@100 (large)": "ARl",
}
_COCO_TAGS = {
    f"{kind}_{tag}": prefix + name
    for kind, prefix in (("DetectionBoxes", ""), ("DetectionMasks", "mask_"))
    for tag, name in _METRICS.items()
}
# COCO's, and those of Pascal VOC, Open Images and keypoints.
_METRIC_TAGS = (
    "DetectionBoxes_", "DetectionMasks_", "PascalBoxes_", "WeightedPascalBoxes_", "PascalMasks_",
    "WeightedPascalMasks_", "OpenImages", "Keypoints_", "LVIS",
)  # fmt: skip
_LOSS = "Loss/"


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one checkpoint.

    Attributes:
        step: training step of the checkpoint.
        metrics: COCO's, in points: `AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl`, and the
            same with `mask_`. One with nothing to score is left out.
        losses: by tag without `Loss/`, means over the images.
        other_metrics: whatever else was logged, as it was logged, e.g. Pascal VOC's.
        reader: name of the eval_input_reader's folder; empty for one without a name, and for
            `metrics.json` of a trial.
        wall_time: seconds since the epoch when it was logged; None for a trial.
    """

    step: int
    metrics: Mapping[str, float]
    losses: Mapping[str, float]
    other_metrics: Mapping[str, float]
    reader: str = ""
    wall_time: float | None = None


def is_evaluation_tag(tag: str) -> bool:
    """Whether only an evaluation logs this tag."""
    return tag.startswith(_METRIC_TAGS)


def evaluations_of(
    files: Sequence[tuple[str, EventFile]],
    restarts: Sequence[Restart],
    trial: Metrics | None,
    *,
    trial_step: int,
) -> tuple[Evaluation, ...]:
    """Gives the evaluations by step and reader; of one step and reader the last.

    An evaluation that was logged before a restart from an earlier step is of weights that are
    gone, and is left out.

    Args:
        files: event files of evaluations with their readers' names.
        restarts: of the training.
        trial: metrics of a trial of ours.
        trial_step: of the checkpoint that they are of.
    """
    found: dict[tuple[int, str], Evaluation] = {}
    for reader, file in sorted(files, key=lambda one: (one[0], one[1].started, one[1].path.name)):
        by_step: dict[int, dict[str, float]] = {}
        times: dict[int, float] = {}
        for scalar in file.scalars:
            by_step.setdefault(scalar.step, {})[scalar.tag] = scalar.value
            times[scalar.step] = scalar.wall_time
        for at, values in by_step.items():
            if any(times[at] < restart.started and at >= restart.step for restart in restarts):
                continue
            found[at, reader] = _evaluation(at, values, reader, times[at])
    if trial is not None:
        told = ((name, -1 if ap is None else ap) for name, ap in trial.metrics.items())
        scored = {name: ap for name, ap in told if ap >= 0}
        found[trial_step, ""] = Evaluation(trial_step, scored, {}, {})
    return tuple(found[key] for key in sorted(found))


def images_bounds(
    exact: int | None, logs: Sequence[EvaluationLog], config_path: Path | None
) -> tuple[int, int | None] | None:
    """Gives how many images the last evaluation saw, at least and at most.

    Args:
        exact: where a trial of ours counted them.
        logs: evaluations told by logs, which count batches.
        config_path: where the batch size is looked up; without it only the first is known.
    """
    if exact is not None:
        return exact, exact
    if not logs:
        return None
    try:
        if config_path is None:
            return logs[-1].batches_at_least, None
        batch_size = max(1, load_pipeline(config_path).proto.eval_config.batch_size)
    except UserError:
        return logs[-1].batches_at_least, None
    return logs[-1].batches_at_least * batch_size, logs[-1].batches_at_most * batch_size


def _evaluation(step: int, values: Mapping[str, float], reader: str, time: float) -> Evaluation:
    coco = {name: values[tag] for tag, name in _COCO_TAGS.items() if tag in values}
    return Evaluation(
        step=step,
        metrics={name: 100.0 * value for name, value in coco.items() if value >= 0},
        losses={
            tag.removeprefix(_LOSS): value for tag, value in values.items() if tag.startswith(_LOSS)
        },
        other_metrics={
            tag: value
            for tag, value in values.items()
            if tag not in _COCO_TAGS and not tag.startswith(_LOSS)
        },
        reader=reader,
        wall_time=time,
    )
